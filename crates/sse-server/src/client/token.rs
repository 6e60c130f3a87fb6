//! `sse-server token`: a token for trying things out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};
use sse_hub::Selector;

use crate::access::algorithm;
use crate::config::{JwtAlg, JwtKey, Scalar, TokenArgs};

/// How long a token lives unless somebody says otherwise.
const LIFE: Duration = Duration::from_secs(3600);

/// The token that the arguments ask for.
pub(super) fn make(args: &TokenArgs, now: SystemTime) -> anyhow::Result<String> {
    let alg = parse::<JwtAlg>("--alg", args.alg.as_deref().unwrap_or("HS256"))?;
    let key = args.key.as_ref().context("--key is missing")?;
    let key = parse::<JwtKey>("--key", &key.0)?;
    let claims = claims(args, now)?;
    let Some(algorithm) = algorithm(alg) else { return signed_on_p521(args.kid.as_deref(), &claims, key.reveal()) };
    let header = Header { kid: args.kid.clone(), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, &claims, &signing_key(alg, key.reveal())?).context("signing")
}

fn signed_on_p521(kid: Option<&str>, claims: &Map<String, Value>, text: &str) -> anyhow::Result<String> {
    let unreadable = || not_a_key(JwtAlg::Es512);
    let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok().with_context(unreadable)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, der.secret_pkcs8_der());
    let pair = pair.ok().with_context(unreadable)?;
    let mut header = json!({ "typ": "JWT", "alg": JwtAlg::Es512.as_str() });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(&serde_json::to_vec(claims)?));
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).ok().context("signing")?;
    Ok(format!("{message}.{}", encode(signature.as_ref())))
}

fn claims(args: &TokenArgs, now: SystemTime) -> anyhow::Result<Map<String, Value>> {
    if args.publish.is_empty() && args.subscribe.is_empty() {
        bail!("a token needs --publish or --subscribe, or both");
    }
    let mut mercure = Map::new();
    for (name, selectors) in [("publish", &args.publish), ("subscribe", &args.subscribe)] {
        for selector in selectors {
            Selector::parse(selector).with_context(|| format!("--{name}"))?;
        }
        if !selectors.is_empty() {
            mercure.insert(name.to_owned(), json!(selectors));
        }
    }
    if let Some(payload) = &args.payload {
        mercure.insert("payload".to_owned(), serde_json::from_str(payload).context("--payload is not JSON")?);
    }
    let now = now.duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let life = match args.expires_in.as_deref() {
        None => Some(LIFE),
        Some("off") => None,
        Some(text) => Some(parse::<Duration>("--expires-in", text)?),
    };
    let mut claims = Map::new();
    claims.insert("mercure".to_owned(), mercure.into());
    claims.insert("iat".to_owned(), now.as_secs().into());
    claims.extend(life.map(|life| ("exp".to_owned(), now.saturating_add(life).as_secs().into())));
    let texts = [("sub", &args.subject), ("jti", &args.id), ("iss", &args.issuer), ("aud", &args.audience)];
    claims.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?.into()))));
    Ok(claims)
}

fn signing_key(alg: JwtAlg, text: &str) -> anyhow::Result<EncodingKey> {
    let key = match alg {
        JwtAlg::Hs256 | JwtAlg::Hs384 | JwtAlg::Hs512 => return Ok(EncodingKey::from_secret(text.as_bytes())),
        JwtAlg::Es256 | JwtAlg::Es384 => EncodingKey::from_ec_pem(text.as_bytes()),
        JwtAlg::EdDsa => EncodingKey::from_ed_pem(text.as_bytes()),
        _ => EncodingKey::from_rsa_pem(text.as_bytes()),
    };
    // The library's own words could quote the key.
    key.ok().with_context(|| not_a_key(alg))
}

fn not_a_key(alg: JwtAlg) -> String {
    format!("--key is not a private key for {} in PEM (PKCS #8)", alg.as_str())
}

fn parse<T: Scalar>(flag: &str, text: &str) -> anyhow::Result<T> {
    match T::parse(text) {
        Ok(value) => Ok(value),
        Err(wrong) => {
            let hint = wrong.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            bail!("{flag}: expected {}{hint}", T::EXPECTS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HiddenText;

    fn args() -> TokenArgs {
        TokenArgs { key: Some(HiddenText("secret".to_owned())), publish: vec!["a".to_owned()], ..TokenArgs::default() }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_key() {
        let made = |change: fn(&mut TokenArgs)| {
            let mut args = args();
            change(&mut args);
            make(&args, UNIX_EPOCH).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(made(|_| ()).map(|token| token.split('.').count()), Ok(3));
        for (change, expected) in [
            ((|args| args.publish.clear()) as fn(&mut TokenArgs), "a token needs --publish or --subscribe, or both"),
            (|args| args.publish.push(String::new()), "--publish: a topic's name is empty"),
            (|args| args.alg = Some("none".to_owned()), "--alg: expected one of HS256"),
            (|args| args.alg = Some("ES256".to_owned()), "--key is not a private key for ES256"),
            (|args| args.expires_in = Some("5".to_owned()), "--expires-in: expected a duration"),
            (|args| args.payload = Some("{".to_owned()), "--payload is not JSON"),
            (|args| args.key = Some(HiddenText("@/nowhere/at/all".to_owned())), "--key: expected a secret"),
        ] {
            let error = made(change).unwrap_err();
            assert!(error.starts_with(expected) && !error.contains("nowhere"), "{error}");
        }
    }
}
