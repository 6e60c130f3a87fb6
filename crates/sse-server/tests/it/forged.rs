//! Tokens that somebody made up: every one is refused, all in the same words.

use std::collections::BTreeSet;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::harness::token::{
    OTHER_SECRET, P521, Pair, RSA, SECRET, base64, seconds_from_now, signed, signed_text, token,
};
use crate::harness::{Launch, Server};

/// A forgery's name and text.
type Forgery = (String, String);

fn claims() -> Value {
    json!({ "mercure": { "publish": ["*"], "subscribe": ["*"] } })
}

/// The good claims and these as well.
fn with(more: &Value) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

fn secret() -> EncodingKey {
    EncodingKey::from_secret(SECRET.as_bytes())
}

/// Signed as it should be, with whatever header.
fn with_header(header: Value) -> String {
    signed(header, &claims(), &secret(), Algorithm::HS256)
}

fn server(alg: &str, key: &str, flags: &[&str]) -> Server {
    let key = format!("--publisher-jwt-key={key}");
    let alg = format!("--publisher-jwt-alg={alg}");
    let (sub_key, sub_alg) = (key.replace("publisher", "subscriber"), alg.replace("publisher", "subscriber"));
    Launch::new(&[&[key.as_str(), &alg, &sub_key, &sub_alg, "--log-level", "error"], flags].concat()).start()
}

/// Whether the server takes it, on both sides; both must say the same.
#[track_caller]
fn is_taken(server: &Server, token: &str) -> bool {
    let publish = server.post("/events/a", "x").bearer(token).send();
    let follow = server.request("HEAD", "/events/a").bearer(token).send();
    assert_eq!(publish.status() == 200, follow.status() == 200, "{}", publish.text());
    publish.status() == 200
}

/// Every one of these must be refused, with one and the same answer.
#[track_caller]
fn refuses(server: &Server, forgeries: &[Forgery]) {
    let mut answers = BTreeSet::new();
    for (name, token) in forgeries {
        // Whatever cannot stand in a header is refused before.
        let reply = server.post("/events/a", "x").bearer(token).send();
        assert!(matches!(reply.status(), 401), "{name}: {} {}", reply.status(), reply.text());
        answers.insert((reply.field("www-authenticate").map(str::to_owned), reply.text()));
        let reply = server.follow("/events/a").bearer(token).send();
        assert_eq!(reply.status(), 401, "{name}: {}", reply.text());
        answers.insert((reply.field("www-authenticate").map(str::to_owned), reply.text()));
    }
    assert_eq!(answers.len(), 1, "the answers tell forgeries apart: {answers:?}");
    let (challenge, text) = answers.first().unwrap();
    assert_eq!(challenge.as_deref(), Some("Bearer error=\"invalid_token\""));
    assert!(text.contains("the token is not valid here"), "{text}");
    assert_eq!(server.metric("sse_events_published_total").unwrap_or(0.0), 0.0);
}

fn named<const N: usize>(forgeries: [(&str, String); N]) -> Vec<Forgery> {
    forgeries.into_iter().map(|(name, token)| (name.to_owned(), token)).collect()
}

/// What is wrong with the header, the parts or the signature.
fn misshapen() -> Vec<Forgery> {
    let good = token(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, body, signature] = parts[..] else { panic!("{good}") };
    let alg = |alg: Value| with_header(json!({ "typ": "JWT", "alg": alg }));
    let unsigned = |alg: &str| format!("{}.{body}.", base64(json!({ "typ": "JWT", "alg": alg }).to_string()));
    let flipped = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let other_alg = |name: &str, alg| signed(json!({ "typ": "JWT", "alg": name }), &claims(), &secret(), alg);
    let ed = Pair::ed25519();
    let by_itself = |field: &str, value: Value| {
        let header = json!({ "typ": "JWT", "alg": "EdDSA", field: value });
        signed(header, &claims(), &ed.private, Algorithm::EdDSA)
    };
    let mut forgeries = named([
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg NONE", unsigned("NONE")),
        ("alg nOnE", unsigned("nOnE")),
        ("alg none, signed", alg("none".into())),
        ("alg of lower case", alg("hs256".into())),
        ("alg with a space", alg("HS256 ".into())),
        ("alg empty", alg("".into())),
        ("alg null", alg(Value::Null)),
        ("alg a number", alg(256.into())),
        ("alg a list", alg(json!(["HS256"]))),
        ("alg missing", with_header(json!({ "typ": "JWT" }))),
        ("HS384 with the same secret", other_alg("HS384", Algorithm::HS384)),
        ("HS512 with the same secret", other_alg("HS512", Algorithm::HS512)),
        ("another algorithm than it says", other_alg("HS256", Algorithm::HS512)),
        ("no signature", format!("{header}.{body}.")),
        ("signature cut short", format!("{header}.{body}.{}", &signature[..signature.len() - 4])),
        ("signature with more behind it", format!("{good}AAAA")),
        ("signature's first bit flipped", format!("{header}.{body}.{}", flipped(signature, 0))),
        ("signature's middle flipped", format!("{header}.{body}.{}", flipped(signature, 20))),
        ("claims changed", format!("{header}.{}.{signature}", flipped(body, 8))),
        ("header changed", format!("{}.{body}.{signature}", base64(r#"{"alg":"HS256"}"#))),
        ("another secret", crate::harness::token::token_with(OTHER_SECRET, &claims())),
        ("an empty secret", crate::harness::token::token_with("", &claims())),
        ("the secret cut short", crate::harness::token::token_with(&SECRET[..SECRET.len() - 1], &claims())),
        ("two parts", format!("{header}.{body}")),
        ("four parts", format!("{good}.{signature}")),
        ("five parts, as if encrypted", format!("{header}.{body}.{signature}.{signature}.{signature}")),
        ("a part twice", format!("{header}.{header}.{body}.{signature}")),
        ("dots", "..".to_owned()),
        ("padding", format!("{good}=")),
        (
            "base64 of the other alphabet",
            format!("{header}.{body}.{}", signature.replace('-', "+").replace('_', "/") + "+/"),
        ),
        ("a space inside", good.replace('.', ". ")),
        ("header that is no JSON", signed_text("alg:HS256", "{}", &secret(), Algorithm::HS256)),
        ("header that is a list", signed_text("[]", &claims().to_string(), &secret(), Algorithm::HS256)),
        (
            "kid that is a path",
            signed(
                json!({ "alg": "HS256", "kid": "../../../../dev/null" }),
                &claims(),
                &EncodingKey::from_secret(b""),
                Algorithm::HS256,
            ),
        ),
        (
            "kid that is a query",
            signed(
                json!({ "alg": "HS256", "kid": "' UNION SELECT 'x" }),
                &claims(),
                &EncodingKey::from_secret(b"x"),
                Algorithm::HS256,
            ),
        ),
        ("kid that is a number", with_header(json!({ "alg": "HS256", "kid": 1 }))),
        ("jwk brings its own key", by_itself("jwk", ed.jwk.clone())),
        ("jku names its own keys", by_itself("jku", "http://127.0.0.1:1/jwks.json".into())),
        ("x5u names its own certificate", by_itself("x5u", "http://127.0.0.1:1/cert.pem".into())),
        ("x5c brings its own certificate", by_itself("x5c", json!([base64(&ed.public)]))),
        ("crit asks for what is not done", with_header(json!({ "alg": "HS256", "crit": ["exp"], "exp": 1 }))),
        ("crit with b64", with_header(json!({ "alg": "HS256", "crit": ["b64"], "b64": false }))),
        ("crit null", with_header(json!({ "alg": "HS256", "crit": null }))),
        ("typ of a token for logging out", with_header(json!({ "alg": "HS256", "typ": "logout+jwt" }))),
        ("typ that is a number", with_header(json!({ "alg": "HS256", "typ": 1 }))),
        ("17 KiB", token(&with(&json!({ "x": "x".repeat(13 * 1024) })))),
        ("not a token at all", "x".to_owned()),
    ]);
    forgeries.extend(
        (0..header.len())
            .step_by(7)
            .map(|at| (format!("header flipped at {at}"), format!("{}.{body}.{signature}", flipped(header, at)))),
    );
    forgeries
}

/// What is wrong with claims that are signed as they should be.
fn overreaching() -> Vec<Forgery> {
    let claim = |name: &str, value: Value| token(&with(&json!({ name: value })));
    let raw = |text: &str| signed_text(r#"{"alg":"HS256"}"#, text, &secret(), Algorithm::HS256);
    named([
        ("over", claim("exp", seconds_from_now(-31).into())),
        ("long over", claim("exp", 0.into())),
        ("not yet", claim("nbf", seconds_from_now(40).into())),
        ("exp a text", claim("exp", "9999999999".into())),
        ("exp null", claim("exp", Value::Null)),
        ("exp true", claim("exp", true.into())),
        ("exp a list", claim("exp", json!([9_999_999_999_u64]))),
        ("exp negative", claim("exp", (-1).into())),
        ("exp beyond numbers", raw(r#"{"exp":1e400,"mercure":{"publish":["*"],"subscribe":["*"]}}"#)),
        ("exp twice", raw(r#"{"exp":1,"exp":9999999999,"mercure":{"publish":["*"],"subscribe":["*"]}}"#)),
        ("nbf a text", claim("nbf", "0".into())),
        ("nbf null", claim("nbf", Value::Null)),
        ("nbf negative", claim("nbf", (-1).into())),
        ("iat a text", claim("iat", "now".into())),
        ("aud a number", claim("aud", 1.into())),
        ("aud with a number", claim("aud", json!(["a", 1]))),
        ("iss a list", claim("iss", json!(["a"]))),
        ("sub a number", claim("sub", 1.into())),
        ("jti a number", claim("jti", 1.into())),
        ("mercure a text", raw(r#"{"mercure":"*"}"#)),
        ("mercure a list", raw(r#"{"mercure":["*"]}"#)),
        ("publish a text", raw(r#"{"mercure":{"publish":"*","subscribe":["*"]}}"#)),
        ("a selector that is a number", raw(r#"{"mercure":{"publish":["*",1],"subscribe":["*"]}}"#)),
        ("an empty selector", raw(r#"{"mercure":{"publish":["*",""],"subscribe":["*"]}}"#)),
        ("a selector with a line break", raw(r#"{"mercure":{"publish":["*","a\nb"],"subscribe":["*"]}}"#)),
        ("the namespaced claim of the wrong type", raw(r#"{"mercure":{"publish":["*"]},"https://mercure.rocks/":1}"#)),
        ("claims that are no JSON", raw("publish=*")),
        ("claims that are a list", raw("[]")),
        ("claims that are not UTF-8", {
            let message = format!("{}.{}", base64(r#"{"alg":"HS256"}"#), base64(b"{\"sub\":\"\xff\"}"));
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret(), Algorithm::HS256).unwrap();
            format!("{message}.{signature}")
        }),
        (
            "1,001 selectors",
            token(&json!({ "mercure": { "publish": (0..1001).map(|n| n.to_string()).collect::<Vec<_>>() } })),
        ),
    ])
}

#[test]
fn forged_tokens_are_refused() {
    let server = server("HS256", SECRET, &[]);
    let forgeries: Vec<Forgery> = misshapen().into_iter().chain(overreaching()).collect();
    assert!(forgeries.len() > 80, "{}", forgeries.len());
    refuses(&server, &forgeries);
    // What is not forged is taken, so that the refusals mean something.
    for good in [
        claims(),
        with(&json!({ "exp": seconds_from_now(60), "nbf": seconds_from_now(-60), "iat": seconds_from_now(0) })),
        with(&json!({ "exp": 9_999_999_999.5, "aud": ["a", "b"], "iss": "x", "sub": "y", "jti": "z", "more": [1] })),
        with(&json!({ "exp": 1e30 })),
        // Within the leeway for clocks that are off.
        with(&json!({ "exp": seconds_from_now(-20) })),
        with(&json!({ "nbf": seconds_from_now(20) })),
        json!({ "https://mercure.rocks/": { "publish": ["*"], "subscribe": ["*"] }, "mercure": { "publish": [] } }),
    ] {
        assert!(is_taken(&server, &token(&good)), "{good}");
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        assert!(is_taken(&server, &with_header(json!({ "alg": "HS256", "typ": typ, "kid": "any" }))), "{typ}");
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let rsa = &*RSA;
    let server = server("RS256", &rsa.public, &[]);
    let hmac = |key: &[u8], name: &str| {
        signed(json!({ "alg": name }), &claims(), &EncodingKey::from_secret(key), Algorithm::HS256)
    };
    let der = pem::parse(&rsa.public).unwrap();
    let rs = |alg, name: &str| signed(json!({ "alg": name }), &claims(), &rsa.private, alg);
    refuses(
        &server,
        &named([
            ("HS256 with the public key's PEM", hmac(rsa.public.as_bytes(), "HS256")),
            ("the same without its last line's end", hmac(rsa.public.trim_end().as_bytes(), "HS256")),
            ("HS256 with the public key's DER", hmac(der.contents(), "HS256")),
            ("the same under the right name", hmac(rsa.public.as_bytes(), "RS256")),
            ("RS384 with the right key", rs(Algorithm::RS384, "RS384")),
            ("PS256 with the right key", rs(Algorithm::PS256, "PS256")),
            ("RS512 under the right name", rs(Algorithm::RS512, "RS256")),
            ("another key", Pair::rsa().token(&claims())),
            (
                "a signature of zeros",
                format!("{}.{}.{}", base64(r#"{"alg":"RS256"}"#), base64(claims().to_string()), base64([0; 256])),
            ),
            ("none", format!("{}.{}.", base64(r#"{"alg":"none"}"#), base64(claims().to_string()))),
        ]),
    );
    assert!(is_taken(&server, &rsa.token(&claims())));
}

#[test]
fn curves_take_no_trivial_signatures() {
    for (pair, alg, signature_bytes) in
        [(Pair::p256(), "ES256", 64), (Pair::p384(), "ES384", 96), (Pair::ed25519(), "EdDSA", 64)]
    {
        let server = server(alg, &pair.public, &[]);
        let with_signature = |signature: Vec<u8>| {
            let header = json!({ "alg": alg }).to_string();
            format!("{}.{}.{}", base64(header), base64(claims().to_string()), base64(signature))
        };
        let mut ones = vec![0; signature_bytes];
        (ones[signature_bytes / 2 - 1], ones[signature_bytes - 1]) = (1, 1);
        refuses(
            &server,
            &named([
                ("zeros", with_signature(vec![0; signature_bytes])),
                ("ones", with_signature(ones)),
                ("all bits", with_signature(vec![255; signature_bytes])),
                ("too long", with_signature(vec![1; signature_bytes + 1])),
                ("too short", with_signature(vec![1; signature_bytes - 1])),
                ("nothing", with_signature(Vec::new())),
                (
                    "the public key as a secret",
                    signed(
                        json!({ "alg": "HS256" }),
                        &claims(),
                        &EncodingKey::from_secret(pair.public.as_bytes()),
                        Algorithm::HS256,
                    ),
                ),
                ("another key of the kind", Pair::ed25519().token(&claims())),
            ]),
        );
        assert!(is_taken(&server, &pair.token(&claims())), "{alg}");
    }
}

#[test]
fn the_longest_curve_works_too() {
    let pair = P521::new();
    let server = server("ES512", &pair.public, &[]);
    let good = pair.token(json!({ "alg": "ES512" }), &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let with_signature = |bytes: Vec<u8>| format!("{message}.{}", base64(bytes));
    refuses(
        &server,
        &named([
            ("zeros", with_signature(vec![0; 132])),
            ("all bits", with_signature(vec![255; 132])),
            ("too short", with_signature(vec![1; 131])),
            ("nothing", with_signature(Vec::new())),
            ("cut", good[..good.len() - 4].to_owned()),
            ("another key", P521::new().token(json!({ "alg": "ES512" }), &claims())),
            (
                "another message",
                format!(
                    "{}.{signature}",
                    pair.token(json!({ "alg": "ES512", "kid": "x" }), &claims()).rsplit_once('.').unwrap().0
                ),
            ),
            ("another name", pair.token(json!({ "alg": "ES384" }), &claims())),
            ("another curve", Pair::p384().token(&claims())),
        ]),
    );
    assert!(is_taken(&server, &good));
}

#[test]
fn longer_hashes_work_too() {
    for (name, alg) in [("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)] {
        let good =
            |key: &str| signed(json!({ "alg": name }), &claims(), &EncodingKey::from_secret(key.as_bytes()), alg);
        let server = server(name, SECRET, &[]);
        assert!(is_taken(&server, &good(SECRET)) && !is_taken(&server, &good(OTHER_SECRET)), "{name}");
    }
    for (name, alg) in [("RS384", Algorithm::RS384), ("RS512", Algorithm::RS512), ("PS256", Algorithm::PS256)] {
        let server = server(name, &RSA.public, &[]);
        assert!(is_taken(&server, &signed(json!({ "alg": name }), &claims(), &RSA.private, alg)), "{name}");
        assert!(!is_taken(&server, &RSA.token(&claims())), "{name}");
    }
}

#[test]
fn required_claims_must_be_there_and_right() {
    let later = seconds_from_now(60);
    let all = json!({ "exp": later, "aud": "hub", "iss": "id" });
    let check = |flags: &[&str], expected: [bool; 5]| {
        let server = server("HS256", SECRET, flags);
        let found = [
            with(&all),
            with(&json!({ "exp": later, "aud": ["x", "hub"], "iss": "id" })),
            with(&json!({ "exp": later, "aud": "hubs", "iss": "ID" })),
            with(&json!({ "exp": later })),
            claims(),
        ]
        .map(|claims| is_taken(&server, &token(&claims)));
        assert_eq!(found, expected, "{flags:?}");
    };
    check(&[], [true; 5]);
    check(&["--jwt-require", "exp"], [true, true, true, true, false]);
    check(&["--jwt-require", "exp,aud,iss"], [true, true, true, false, false]);
    check(&["--jwt-issuer", "id"], [true, true, false, false, false]);
    check(&["--jwt-audience", "hub"], [true, true, false, false, false]);
}
