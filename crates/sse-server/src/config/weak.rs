//! Secrets that anybody could guess.

use super::token::{JwtAlg, JwtKey};

/// A shorter secret can be found by trying all, away from the server (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// A secret of fewer different bytes is a pattern.
const DISTINCT_BYTES_MIN: usize = 8;

/// Secrets that stand in documentation, and so in everybody's list; compared without case and punctuation.
const SAMPLES: &[&str] = &[
    "astringsecretatleast256bitslong",
    "avalidstringsecretthatisatleast384bitslongwhichisverylong",
    "avalidstringsecretthatisatleast512bitslongwhichisverylong",
    "averysecretkey",
    "changeme",
    "changethis",
    "changethismercurehubjwtsecretkey",
    "default",
    "jwtsecret",
    "mercure",
    "mercuresecret",
    "mysecret",
    "notsosecret",
    "password",
    "replaceme",
    "secret",
    "secretkey",
    "supersecret",
    "test",
    "thisisasecret",
    "unsecurechangeme",
    "your256bitsecret",
    "your384bitsecret",
    "your512bitsecret",
    "yoursecretkey",
];

/// What is wrong with a secret, if anything.
pub(super) fn weakness(alg: JwtAlg, key: &JwtKey) -> Option<String> {
    let secret = key.reveal();
    if !alg.is_shared_secret() {
        return None;
    }
    let bare: String = secret.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    // A sample written several times over is no better.
    let is_sample = SAMPLES.iter().any(|sample| bare.replace(sample, "").is_empty());
    if is_sample {
        return Some("it stands in documentation, where everybody can read it".to_owned());
    }
    let len = secret.len();
    if len < SECRET_BYTES_MIN {
        return Some(format!("{len} bytes can be guessed, it takes {SECRET_BYTES_MIN}"));
    }
    let mut distinct = [false; 256];
    secret.bytes().for_each(|byte| distinct[usize::from(byte)] = true);
    let count = distinct.iter().filter(|seen| **seen).count();
    (count < DISTINCT_BYTES_MIN).then(|| "it is a pattern, which can be guessed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::value::Scalar;
    use super::*;

    #[test]
    fn samples_short_ones_and_patterns_are_weak() {
        let is_weak = |alg, secret: &str| weakness(alg, &JwtKey::parse(secret).unwrap()).is_some();
        for weak in [
            "!ChangeThisMercureHubJWTSecretKey!",
            "!ChangeMe!",
            "secret",
            "SECRET",
            "secretsecretsecretsecretsecretsecret",
            "your-256-bit-secret",
            "a-string-secret-at-least-256-bits-long",
            "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
            "0123456789abcdef0123456789abcde",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abababababababababababababababababababab",
            "----------------------------------------",
        ] {
            assert!(is_weak(JwtAlg::Hs256, weak), "{weak}");
        }
        assert!(!is_weak(JwtAlg::Hs256, "8f1b6c0de2a94735bb0c6d5e4f3a2b1c"));
        assert!(!is_weak(JwtAlg::Hs512, "kR7!vQ2#xL9@pW4$zT6^mN8&bY3*cF5("));
        // A public key may be known to all.
        assert!(!is_weak(JwtAlg::Es256, "secret"));
    }
}
