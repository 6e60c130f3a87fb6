//! Keys that check tokens' signatures.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

use super::p521::P521Key;
use crate::config::JwtAlg;

/// A key and the one algorithm it is used with, so that a token cannot choose another (RFC 8725, 3.1).
#[derive(Clone)]
pub(crate) struct VerifyKey {
    alg: JwtAlg,
    key: Key,
    /// The `kid` in its set.
    id: Option<Box<str>>,
}

#[derive(Clone)]
enum Key {
    /// One that the library knows how to use.
    Known(Algorithm, DecodingKey),
    P521(P521Key),
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
            JwtAlg::Es512 => {
                let key = P521Key::from_pem(text).ok_or(KeyError::Unreadable(name))?;
                return Ok(Self { alg, key: Key::P521(key), id: None });
            }
            JwtAlg::Hs256 | JwtAlg::Hs384 | JwtAlg::Hs512 if is_pem => return Err(KeyError::PublicAsSecret(name)),
            JwtAlg::Hs256 | JwtAlg::Hs384 | JwtAlg::Hs512 => Ok(DecodingKey::from_secret(text.as_bytes())),
            JwtAlg::Rs256 | JwtAlg::Rs384 | JwtAlg::Rs512 | JwtAlg::Ps256 | JwtAlg::Ps384 | JwtAlg::Ps512 => {
                DecodingKey::from_rsa_pem(text.as_bytes())
            }
            JwtAlg::Es256 | JwtAlg::Es384 => DecodingKey::from_ec_pem(text.as_bytes()),
            JwtAlg::EdDsa => DecodingKey::from_ed_pem(text.as_bytes()),
        };
        let key = key.ok().zip(algorithm(alg)).and_then(|(key, algorithm)| Key::known(algorithm, key));
        Ok(Self { alg, key: key.ok_or(KeyError::Unreadable(name))?, id: None })
    }

    /// A key of a set; `None` for one that does not check signatures here. One that does not say how it is used is used in
    /// the way of its kind, an RSA key as `rsa_alg` says. `said` is its own `alg`.
    pub(crate) fn from_jwk(jwk: &Jwk, said: Option<&str>, rsa_alg: JwtAlg) -> Option<Self> {
        let is_for_signatures = !matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature);
        let operations = &jwk.common.key_operations;
        let may_verify = operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !is_for_signatures || !may_verify {
            return None;
        }
        let fits: &[JwtAlg] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &RSA,
            AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
                EllipticCurve::P256 => &[JwtAlg::Es256],
                EllipticCurve::P384 => &[JwtAlg::Es384],
                EllipticCurve::P521 => &[JwtAlg::Es512],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[JwtAlg::EdDsa],
            // A secret does not belong into a public set.
            _ => return None,
        };
        let default = if fits.contains(&rsa_alg) { rsa_alg } else { *fits.first()? };
        let alg = match said {
            Some(said) => fits.iter().copied().find(|alg| alg.as_str() == said)?,
            None => default,
        };
        let key = match (&jwk.algorithm, algorithm(alg)) {
            (AlgorithmParameters::EllipticCurve(ec), None) => Key::P521(P521Key::from_coordinates(&ec.x, &ec.y)?),
            (_, algorithm) => Key::known(algorithm?, DecodingKey::from_jwk(jwk).ok()?)?,
        };
        Some(Self { alg, key, id: jwk.common.key_id.as_deref().map(Into::into) })
    }

    /// The `kid` in its set.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether a token whose header names `alg` may be checked with it.
    pub(crate) fn is_for(&self, alg: &str) -> bool {
        alg == self.alg.as_str()
    }

    /// Whether `signature`, in base64url, is this key's under `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        match &self.key {
            _ if signature.is_empty() => false,
            Key::Known(alg, key) => matches!(jsonwebtoken::crypto::verify(signature, message, key, *alg), Ok(true)),
            Key::P521(key) => key.verifies(message, signature),
        }
    }
}

impl Key {
    /// The key, if it has the size of its algorithm: the library looks only when it is used, and then refuses every token.
    fn known(alg: Algorithm, key: DecodingKey) -> Option<Self> {
        /// Bytes of a modulus of 2048 bits: shorter ones are refused.
        const MODULUS_BYTES_MIN: usize = 256;
        let is_usable = match (alg, key.kind()) {
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => point.len() == 65,
            (Algorithm::ES384, DecodingKeyKind::SecretOrDer(point)) => point.len() == 97,
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
            (alg, DecodingKeyKind::SecretOrDer(der)) => !is_rsa(alg) || der.len() > MODULUS_BYTES_MIN,
            (_, DecodingKeyKind::RsaModulusExponent { n, .. }) => n.len() >= MODULUS_BYTES_MIN,
        };
        is_usable.then_some(Self::Known(alg, key))
    }
}

fn is_rsa(alg: Algorithm) -> bool {
    RSA.into_iter().filter_map(algorithm).any(|rsa| rsa == alg)
}

const RSA: [JwtAlg; 6] = [JwtAlg::Rs256, JwtAlg::Rs384, JwtAlg::Rs512, JwtAlg::Ps256, JwtAlg::Ps384, JwtAlg::Ps512];

/// The library's name for it, if it knows it.
pub(crate) fn algorithm(alg: JwtAlg) -> Option<Algorithm> {
    Some(match alg {
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
        JwtAlg::Es512 => return None,
    })
}

impl PartialEq for VerifyKey {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.alg == other.alg && self.id == other.id
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = match (self, other) {
            (Self::Known(_, one), Self::Known(_, other)) => (one.kind(), other.kind()),
            (Self::P521(one), Self::P521(other)) => return one == other,
            _ => return false,
        };
        // The library's form has no equality, but its parts show all of it.
        match (one, other) {
            (DecodingKeyKind::SecretOrDer(one), DecodingKeyKind::SecretOrDer(other)) => one == other,
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: other_n, e: other_e },
            ) => n == other_n && e == other_e,
            _ => false,
        }
    }
}

impl std::fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyKey({:?}, hidden)", self.alg)
    }
}

#[cfg(test)]
mod tests;
