//! ES512 (RFC 7518, 3.4), which the library of the other algorithms does not have.

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, ParsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

/// Bytes of a coordinate on P-521.
const COORDINATE_BYTES: usize = 66;
/// What begins a point of which both coordinates follow (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// A public key on P-521.
#[derive(Clone)]
pub(super) struct P521Key(ParsedPublicKey);

impl P521Key {
    pub(super) fn from_pem(text: &str) -> Option<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).ok()?;
        Self::parse(&der)
    }

    /// From the coordinates of a JWK (RFC 7518, 6.2.1).
    pub(super) fn from_coordinates(x: &str, y: &str) -> Option<Self> {
        let mut point = vec![UNCOMPRESSED];
        for coordinate in [x, y] {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(coordinate).ok()?;
            (bytes.len() == COORDINATE_BYTES).then_some(())?;
            point.extend(bytes);
        }
        Self::parse(&point)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        ParsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, bytes).ok().map(Self)
    }

    /// Whether `signature`, in base64url, is this key's under `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature);
        signature.is_ok_and(|signature| self.0.verify_sig(message, &signature).is_ok())
    }
}

impl PartialEq for P521Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}
