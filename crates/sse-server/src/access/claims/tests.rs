//! What claims make of a token, and which make none.

use serde_json::json;

use super::*;

const NOW: u64 = 1_700_000_000;

fn at(seconds: f64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

fn encoded(part: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part.to_string())
}

fn read(claims: &Value) -> Option<Claims> {
    let token = format!("{}.{}.", encoded(&json!({})), encoded(claims));
    Parts::split(&token)?.claims()
}

fn no_rules() -> ClaimRules {
    ClaimRules { require: RequiredClaims::default(), issuer: None, audience: None }
}

/// The token that these claims make.
fn made(rules: &ClaimRules, claims: &Value) -> Option<Token> {
    rules.token(read(claims)?, &SelectorCache::new())
}

fn is_taken(rules: &ClaimRules, claims: &Value) -> bool {
    made(rules, claims).is_some()
}

#[test]
fn a_token_has_three_parts_and_a_bound() {
    let parts = Parts::split("a.b.c").unwrap();
    assert_eq!((parts.header, parts.claims, parts.signed, parts.signature), ("a", "b", "a.b", "c"));
    for wrong in ["", "a", "a.b", "a.b.c.d", "a.b.c.d.e"] {
        assert!(Parts::split(wrong).is_none(), "{wrong}");
    }
    let of_len = |len: usize| format!("a.b.{}", "c".repeat(len - "a.b.".len()));
    assert!(Parts::split(&of_len(16_384)).is_some() && Parts::split(&of_len(16_385)).is_none());
}

#[test]
fn a_header_asks_for_nothing_special() {
    let is_plain = |header: Value| {
        let token = format!("{}.e30.", encoded(&header));
        Parts::split(&token).unwrap().header().is_some()
    };
    assert!(is_plain(json!({ "alg": "HS256" })) && is_plain(json!({ "alg": "HS256", "kid": "a", "typ": "JWT" })));
    for kind in ["jwt", "at+jwt", "application/jwt", "application/AT+JWT"] {
        assert!(is_plain(json!({ "alg": "HS256", "typ": kind })), "{kind}");
    }
    for kind in ["logout+jwt", "application/", "application/application/jwt", "xapplication/jwt", ""] {
        assert!(!is_plain(json!({ "alg": "HS256", "typ": kind })), "{kind}");
    }
    assert!(!is_plain(json!({ "alg": "HS256", "crit": ["b64"] })));
    assert!(!is_plain(json!({ "alg": "HS256", "crit": ["b64"], "typ": "JWT" })));
    for wrong in [json!({}), json!({ "alg": null }), json!({ "alg": "HS256", "typ": null })] {
        assert!(!is_plain(wrong.clone()), "{wrong}");
    }
}

#[test]
fn claims_become_what_the_token_says() {
    let claims = json!({
        "exp": NOW, "nbf": 1.5, "iat": 0, "sub": "me", "jti": "1",
        "mercure": { "publish": ["/b", "/a", "/b"], "subscribe": [], "payload": { "x": 1 } },
    });
    let token = made(&no_rules(), &claims).unwrap();
    assert_eq!((token.expires_at, token.not_before), (Some(at(NOW as f64)), Some(at(1.5))));
    assert_eq!((token.subject.as_deref(), token.id.as_deref()), (Some("me"), Some("1")));
    let publish: Vec<_> = token.publish.iter().flatten().map(|selector| selector.text().as_str()).collect();
    assert_eq!(publish, ["/a", "/b"]);
    assert_eq!(token.subscribe.as_deref(), Some(&[][..]));
    assert_eq!(token.payload, Some(json!({ "x": 1 })));
    let nothing = made(&no_rules(), &json!({})).unwrap();
    assert!(nothing.publish.is_none() && nothing.subscribe.is_none() && nothing.payload.is_none());
    assert!(nothing.expires_at.is_none() && nothing.not_before.is_none());
    let both = json!({ "mercure": { "publish": ["*"] }, "https://mercure.rocks/": { "subscribe": ["*"] } });
    let token = made(&no_rules(), &both).unwrap();
    assert!(token.publish.is_none() && token.subscribe.is_some(), "the namespaced claim counts alone");
}

#[test]
fn a_claim_of_another_type_makes_the_whole_unreadable() {
    for name in ["exp", "nbf", "iat"] {
        for wrong in [json!(null), json!("1"), json!(-1), json!([1]), json!(true)] {
            assert!(read(&json!({ name: wrong })).is_none(), "{name} {wrong}");
        }
        assert!(read(&json!({ name: 0 })).is_some(), "{name}");
    }
    for name in ["iss", "sub", "jti", "aud"] {
        for wrong in [json!(null), json!(1), json!({})] {
            assert!(read(&json!({ name: wrong })).is_none(), "{name} {wrong}");
        }
    }
    for wrong in [json!("*"), json!({ "publish": "*" }), json!({ "subscribe": [1] }), json!({ "publish": [""] })] {
        assert!(!is_taken(&no_rules(), &json!({ "mercure": wrong })), "{wrong}");
    }
}

#[test]
fn no_time_is_beyond_what_clocks_can_say() {
    let far = made(&no_rules(), &json!({ "exp": 1e300 })).unwrap();
    assert_eq!(far.expires_at, Some(at(1e11)));
    assert!(far.is_current(at(NOW as f64)));
}

#[test]
fn a_required_claim_must_be_there() {
    let all = json!({ "exp": NOW, "aud": "a", "iss": "i" });
    for name in ["exp", "aud", "iss"] {
        let require = RequiredClaims { exp: name == "exp", aud: name == "aud", iss: name == "iss" };
        let rules = ClaimRules { require, ..no_rules() };
        let mut without = all.clone();
        without.as_object_mut().unwrap().remove(name);
        assert!(is_taken(&rules, &all) && !is_taken(&rules, &without), "{name}");
        assert!(is_taken(&no_rules(), &without), "{name}");
    }
}

#[test]
fn issuer_and_audience_are_those_that_are_wanted() {
    let rules = ClaimRules { issuer: Some("i".to_owned()), ..no_rules() };
    assert!(is_taken(&rules, &json!({ "iss": "i" })) && is_taken(&no_rules(), &json!({ "iss": "i" })));
    assert!(!is_taken(&rules, &json!({ "iss": "I" })) && !is_taken(&rules, &json!({})));
    let rules = ClaimRules { audience: Some("a".to_owned()), ..no_rules() };
    for mine in [json!("a"), json!(["a"]), json!(["b", "a"])] {
        assert!(is_taken(&rules, &json!({ "aud": mine })) && is_taken(&no_rules(), &json!({ "aud": mine })), "{mine}");
    }
    for others in [json!("b"), json!(["b"]), json!([]), json!("ab")] {
        assert!(!is_taken(&rules, &json!({ "aud": others })), "{others}");
    }
    assert!(!is_taken(&rules, &json!({})));
}

#[test]
fn selectors_are_bounded_together() {
    let some = |count: usize| (0..count).map(|n| format!("/{n}")).collect::<Vec<_>>();
    let claims = |publish, subscribe| json!({ "mercure": { "publish": some(publish), "subscribe": some(subscribe) } });
    for (publish, subscribe) in [(1000, 0), (0, 1000), (500, 500)] {
        assert!(is_taken(&no_rules(), &claims(publish, subscribe)), "{publish} {subscribe}");
    }
    for (publish, subscribe) in [(1001, 0), (0, 1001), (501, 500)] {
        assert!(!is_taken(&no_rules(), &claims(publish, subscribe)), "{publish} {subscribe}");
    }
    assert!(is_taken(&no_rules(), &json!({ "mercure": { "publish": some(1000) } })));
    assert!(!is_taken(&no_rules(), &json!({ "mercure": { "publish": some(1001) } })));
}

#[test]
fn a_token_counts_between_its_times_and_half_a_minute_around() {
    let now = NOW as f64;
    let is_current = |claims: Value| made(&no_rules(), &claims).unwrap().is_current(at(now));
    assert!(is_current(json!({})));
    for (exp, counts) in [(now + 1.0, true), (now - 29.5, true), (now - 30.0, false), (now - 31.0, false)] {
        assert_eq!(is_current(json!({ "exp": exp })), counts, "exp {exp}");
    }
    for (nbf, counts) in [(now - 1.0, true), (now + 30.0, true), (now + 30.5, false), (now + 60.0, false)] {
        assert_eq!(is_current(json!({ "nbf": nbf })), counts, "nbf {nbf}");
    }
    assert!(!is_current(json!({ "exp": now + 100.0, "nbf": now + 100.0 })), "each counts by itself");
    assert!(!is_current(json!({ "exp": now - 100.0, "nbf": now - 100.0 })));
}
