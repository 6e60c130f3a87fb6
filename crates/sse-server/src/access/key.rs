//! Keys that check tokens' signatures.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

use crate::config::JwtAlg;

/// A key and the one algorithm it is used with, so that a token cannot choose another (RFC 8725, 3.1).
#[derive(Clone)]
pub(crate) struct VerifyKey {
    alg: Algorithm,
    key: DecodingKey,
    /// The `kid` in its set.
    id: Option<Box<str>>,
}

/// Why a text is not a key of its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// A secret's algorithm, and a public key's text.
    #[error("this is a public key, which anybody may know, and {0} needs a secret")]
    PublicAsSecret(&'static str),
    /// A private key where the public one belongs.
    #[error("this is a private key; the server needs the public one only")]
    Private,
    /// It cannot be read.
    #[error("this is not a public key for {0} in PEM")]
    Unreadable(&'static str),
}

impl VerifyKey {
    /// Reads a secret, or a public key in PEM.
    ///
    /// # Errors
    /// A [`KeyError`].
    pub(crate) fn parse(alg: JwtAlg, text: &str) -> Result<Self, KeyError> {
        let name = alg.as_str();
        let is_pem = text.contains("-----BEGIN");
        if is_pem && text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        let key = match alg {
            JwtAlg::Hs256 | JwtAlg::Hs384 | JwtAlg::Hs512 if is_pem => return Err(KeyError::PublicAsSecret(name)),
            JwtAlg::Hs256 | JwtAlg::Hs384 | JwtAlg::Hs512 => Ok(DecodingKey::from_secret(text.as_bytes())),
            JwtAlg::Rs256 | JwtAlg::Rs384 | JwtAlg::Rs512 | JwtAlg::Ps256 | JwtAlg::Ps384 | JwtAlg::Ps512 => {
                DecodingKey::from_rsa_pem(text.as_bytes())
            }
            JwtAlg::Es256 | JwtAlg::Es384 => DecodingKey::from_ec_pem(text.as_bytes()),
            JwtAlg::EdDsa => DecodingKey::from_ed_pem(text.as_bytes()),
        };
        let key = Self { alg: algorithm(alg), key: key.map_err(|_| KeyError::Unreadable(name))?, id: None };
        if key.is_usable() { Ok(key) } else { Err(KeyError::Unreadable(name)) }
    }

    /// A key of a set; `None` for one that does not check signatures here. One that does not say how it is used is used in
    /// the way of its kind, an RSA key as `rsa_alg` says.
    pub(crate) fn from_jwk(jwk: &Jwk, rsa_alg: JwtAlg) -> Option<Self> {
        let is_for_signatures = !matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature);
        let operations = &jwk.common.key_operations;
        let may_verify = operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !is_for_signatures || !may_verify {
            return None;
        }
        let fits: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &RSA,
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => &[Algorithm::ES256],
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => &[Algorithm::ES384],
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            // A secret does not belong into a public set.
            _ => return None,
        };
        let default = if fits.contains(&algorithm(rsa_alg)) { algorithm(rsa_alg) } else { *fits.first()? };
        let alg = match jwk.common.key_algorithm {
            Some(said) => fits.iter().copied().find(|alg| KeyAlgorithm::from(*alg) == said)?,
            None => default,
        };
        let id = jwk.common.key_id.as_deref().map(Into::into);
        Some(Self { alg, key: DecodingKey::from_jwk(jwk).ok()?, id }).filter(Self::is_usable)
    }

    /// Whether the key has the size of its algorithm: the library looks only when it is used, and then refuses every token.
    fn is_usable(&self) -> bool {
        /// Bytes of a modulus of 2048 bits: shorter ones are refused.
        const MODULUS_BYTES_MIN: usize = 256;
        match (self.alg, self.key.kind()) {
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => point.len() == 65,
            (Algorithm::ES384, DecodingKeyKind::SecretOrDer(point)) => point.len() == 97,
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
            (alg, DecodingKeyKind::SecretOrDer(der)) => !RSA.contains(&alg) || der.len() > MODULUS_BYTES_MIN,
            (_, DecodingKeyKind::RsaModulusExponent { n, .. }) => n.len() >= MODULUS_BYTES_MIN,
        }
    }

    /// The `kid` in its set.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether a token whose header names `alg` may be checked with it.
    pub(crate) fn is_for(&self, alg: &str) -> bool {
        alg.parse() == Ok(self.alg)
    }

    /// Whether `signature`, in base64url, is this key's under `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        !signature.is_empty()
            && matches!(jsonwebtoken::crypto::verify(signature, message, &self.key, self.alg), Ok(true))
    }
}

const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

pub(crate) fn algorithm(alg: JwtAlg) -> Algorithm {
    match alg {
        JwtAlg::Hs256 => Algorithm::HS256,
        JwtAlg::Hs384 => Algorithm::HS384,
        JwtAlg::Hs512 => Algorithm::HS512,
        JwtAlg::Rs256 => Algorithm::RS256,
        JwtAlg::Rs384 => Algorithm::RS384,
        JwtAlg::Rs512 => Algorithm::RS512,
        JwtAlg::Ps256 => Algorithm::PS256,
        JwtAlg::Ps384 => Algorithm::PS384,
        JwtAlg::Ps512 => Algorithm::PS512,
        JwtAlg::Es256 => Algorithm::ES256,
        JwtAlg::Es384 => Algorithm::ES384,
        JwtAlg::EdDsa => Algorithm::EdDSA,
    }
}

impl PartialEq for VerifyKey {
    fn eq(&self, other: &Self) -> bool {
        // The key's own form has no equality, but its parts show all of it.
        let same_key = match (self.key.kind(), other.key.kind()) {
            (DecodingKeyKind::SecretOrDer(one), DecodingKeyKind::SecretOrDer(other)) => one == other,
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: other_n, e: other_e },
            ) => n == other_n && e == other_e,
            _ => false,
        };
        same_key && self.alg == other.alg && self.id == other.id
    }
}

impl std::fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyKey({:?}, hidden)", self.alg)
    }
}
