//! What keeps a server safe unless told otherwise, and secrets secret.

use super::*;

const OFF_LOOPBACK: &str = "is not loopback and there is no publisher key, so whoever reaches it could follow every \
     topic; set --publisher-jwt-key (and --subscriber-jwt-key), or listen on 127.0.0.1:8080, or set --insecure to \
     accept that (and --open-publish on to let anyone publish as well)";

#[test]
fn off_loopback_needs_insecure() {
    for address in ["0.0.0.0:8080", "[::]:8080", "192.168.1.2:8080", "[fe80::1]:8080", "[::ffff:10.0.0.1]:8080"] {
        let refusal = format!("{address} {OFF_LOOPBACK}");
        check("", &[], &["--listen", address], &[&format!("--listen: {refusal}")]);
        check("", &[("SSE_LISTEN", address)], &[], &[&format!("SSE_LISTEN: {refusal}")]);
        check(&format!("\nlisten = '{address}'"), &[], &[], &[&format!("sse.toml:2: listen: {refusal}")]);
        // Neither way of publishing makes it safe to be followed by anyone.
        check("", &[], &["--listen", address, "--open-publish", "off"], &[&format!("--listen: {refusal}")]);
        check("", &[], &["--listen", address, "--open-publish", "on"], &[&format!("--listen: {refusal}")]);
        check("", &[], &["--listen", address, "--insecure=off"], &[&format!("--listen: {refusal}")]);
    }
}

#[test]
fn one_address_off_loopback_is_enough_to_refuse() {
    check(
        "",
        &[("SSE_LISTEN", "127.0.0.1:1,0.0.0.0:8080")],
        &[],
        &[&format!("SSE_LISTEN: 0.0.0.0:8080 {OFF_LOOPBACK}")],
    );
}

#[test]
fn loopback_is_open_to_this_machine() {
    for address in ["127.0.0.1:1", "127.8.9.10:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1"] {
        let config = config("", &[], &["--listen", address]);
        assert!(config.open_publish && config.anonymous, "{address}");
    }
}

/// Insecure alone opens following; publishing must be opened by its own word.
#[test]
fn insecure_and_open_publish() {
    let open = |args: &[&str]| {
        let config = config("", &[], &[&["--listen", "0.0.0.0:80"], args].concat());
        (config.insecure, config.open_publish)
    };
    assert_eq!(open(&["--insecure"]), (true, false));
    assert_eq!(open(&["--insecure", "--open-publish"]), (true, true));
    assert_eq!(open(&["--open-publish", "on", "--insecure", "on"]), (true, true));
    assert_eq!(open(&["--insecure", "--open-publish", "off"]), (true, false));
    let on_loopback = config("", &[], &["--open-publish", "off"]);
    assert!(!on_loopback.open_publish);
}

#[test]
fn admin_off_loopback_needs_a_token() {
    let wide = ["--admin-listen", "0.0.0.0:8081"];
    check(
        "",
        &[],
        &wide,
        &["--admin-listen: 0.0.0.0:8081 is not loopback, so --admin-token is required; or listen on 127.0.0.1, or off"],
    );
    check(
        "admin_token = 'short'",
        &[],
        &wide,
        &["sse.toml:1: admin_token: 0.0.0.0:8081 is not loopback, so the token needs at least 16 characters"],
    );
    check(
        "admin_token = '0123456789abcdef'",
        &[],
        &wide,
        &["admin_listen = \"0.0.0.0:8081\"", "# admin_token is set (hidden)"],
    );
    // A bad token is told as such, not as missing too.
    check(
        "admin_token = ''",
        &[],
        &wide,
        &[
            "sse.toml:1: admin_token: expected printable ASCII without spaces, or @FILE to read it from a file, or off, \
         got something else, not shown",
        ],
    );
}

#[test]
fn tokens_come_from_files_too() {
    let fixture = concat!("@", env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config/admin-token");
    let config = config("", &[], &["--admin-token", fixture]);
    let token = config.admin_token.expect("it was given");
    assert_eq!(token.reveal(), "fixture-of-an-admin-token");
    assert_eq!(format!("{token:?}"), "Secret(hidden)");
    check(
        "",
        &[],
        &["--admin-token=@/dev/null/none"],
        &[
            "--admin-token: expected printable ASCII without spaces, or @FILE to read it from a file, or off, got something \
         else, not shown (reading the file it names: Not a directory (os error 20))",
        ],
    );
    // Endless, but not read to the end.
    let endless = outcome("", &[], &["--admin-token=@/dev/zero"]);
    assert!(endless[0].starts_with("--admin-token: expected"), "{endless:?}");
}

/// A secret that nobody could guess, and samples that everybody can.
const STRONG: &str = "8f1b6c0de2a94735bb0c6d5e4f3a2b1c";

#[test]
fn a_publisher_key_opens_the_listener() {
    let wide = ["--listen", "0.0.0.0:8080", "--publisher-jwt-key", STRONG];
    let keyed = config("", &[], &wide);
    assert!(!keyed.open_publish && keyed.anonymous && keyed.dangers().is_empty());
    let both = config("", &[], &[&wide[..], &["--subscriber-jwt-key", STRONG]].concat());
    assert!(!both.open_publish && !both.anonymous);
    let set = config("", &[], &["--listen", "0.0.0.0:8080", "--publisher-jwks-url", "https://id.example/jwks.json"]);
    assert!(!set.open_publish);
    // A key for followers alone does not keep others from publishing.
    let refused = outcome("", &[], &["--listen", "0.0.0.0:8080", "--subscriber-jwt-key", STRONG]);
    assert!(refused[0].contains("there is no publisher key"), "{refused:?}");
    // On loopback a key closes publishing too.
    assert!(!config("", &[], &["--publisher-jwt-key", "x"]).open_publish);
}

#[test]
fn open_publish_off_loopback_needs_insecure_even_with_a_key() {
    let wide = ["--listen", "0.0.0.0:1", "--publisher-jwt-key", STRONG, "--open-publish"];
    let refused = outcome("", &[], &wide);
    assert!(refused.len() == 1 && refused[0].starts_with("--open-publish: whoever reaches"), "{refused:?}");
    let allowed = config("", &[], &[&wide[..], &["--insecure"]].concat());
    assert!(allowed.open_publish && allowed.dangers().len() == 1, "{:?}", allowed.dangers());
}

#[test]
fn weak_secrets_are_refused_off_loopback() {
    for weak in ["!ChangeThisMercureHubJWTSecretKey!", "secret", "0123456789abcdef"] {
        for setting in ["--publisher-jwt-key", "--subscriber-jwt-key"] {
            let flag = format!("{setting}={weak}");
            let other = format!("--publisher-jwt-key={STRONG}");
            let wide = ["--listen", "0.0.0.0:1", other.as_str(), flag.as_str()];
            let refused = outcome("", &[], &wide);
            assert!(
                refused.len() == 1 && refused[0].starts_with(&format!("{setting}: the secret is weak")),
                "{refused:?}"
            );
            let allowed = config("", &[], &[&wide[..], &["--insecure"]].concat());
            assert_eq!(allowed.dangers().len(), 1, "{:?}", allowed.dangers());
            assert!(config("", &[], &[flag.as_str()]).dangers()[0].contains("is weak"));
        }
    }
}

#[test]
fn keys_must_be_keys_of_their_algorithm() {
    let refused = |alg: &str, key: &str| {
        let args = [format!("--publisher-jwt-key={key}"), format!("--publisher-jwt-alg={alg}")];
        outcome("", &[], &[&args[0], &args[1]])
    };
    let pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    for (alg, key, expected) in [
        ("RS256", STRONG, "this is not a public key for RS256 in PEM"),
        ("ES256", pem, "this is not a public key for ES256 in PEM"),
        ("HS256", pem, "this is a public key, which anybody may know, and HS256 needs a secret"),
        ("RS256", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "this is a private key"),
    ] {
        let found = refused(alg, key);
        assert!(found.len() == 1 && found[0].starts_with(&format!("--publisher-jwt-key: {expected}")), "{found:?}");
    }
    let unknown = outcome("", &[], &["--publisher-jwt-alg", "none"]);
    assert!(unknown[0].starts_with("--publisher-jwt-alg: expected one of HS256"), "{unknown:?}");
}

#[test]
fn required_claims_and_addresses_are_read() {
    check("", &[], &["--jwt-require", "iss, exp"], &["jwt_require = \"exp,iss\""]);
    check("", &[("SSE_JWT_REQUIRE", "aud")], &[], &["jwt_require = \"aud\""]);
    check(
        "",
        &[],
        &["--publisher-jwks-url", "file:///a.json"],
        &["publisher_jwks_url = \"file:///a.json\"", "open_publish = \"off\""],
    );
    for wrong in ["ftp://a", "https://", "id.example/jwks", "https://user:pass@id.example/", "file://a"] {
        assert!(outcome("", &[], &["--publisher-jwks-url", wrong])[0].starts_with("--publisher-jwks-url: expected"));
    }
    assert!(outcome("", &[], &["--cookie-name", "a b"])[0].starts_with("--cookie-name: expected"));
    assert!(outcome("", &[], &["--jwt-require", "sub"])[0].starts_with("--jwt-require: expected"));
}

const CANARY: &str = "canary-9f31";

#[test]
fn secrets_are_never_shown() {
    let tokens = [CANARY.to_owned(), format!("{CANARY} with space"), format!("@{CANARY}"), format!("{CANARY}\n")];
    for token in &tokens {
        let flag = format!("--admin-token={token}");
        let quoted = toml::Value::from(token.as_str());
        let files = [
            format!("admin_token = {quoted}"),
            format!("admin_token = [{quoted}]"),
            format!("admin_token = {{ value = {quoted} }}"),
            format!("admin_token = {quoted} {quoted}"),
            format!("admin_tokn = {quoted}"),
            format!("admin_token = \"{CANARY}"),
        ];
        let wide = ["--admin-listen", "0.0.0.0:1"];
        let mut found = vec![
            load("", &[], &[&flag]),
            load("", &[], &["--admin-token", token, "--shards=0"]),
            load("", &[], &[&[flag.as_str()], wide.as_slice()].concat()),
            load("", &[], &["--admin-tokn", token]),
            load("", &[], &[&format!("--admin-tokn={token}")]),
            load("", &[("SSE_ADMIN_TOKEN", token)], &[]),
            load("", &[("SSE_ADMIN_TOKEN", token)], &wide),
            load("", &[("SSE_ADMIN_TOKN", token)], &[]),
        ];
        found.extend(files.iter().map(|file| load(file, &[], &[])));
        for setting in ["publisher", "subscriber"] {
            let flag = format!("--{setting}-jwt-key={token}");
            found.push(load("", &[], &[&flag]));
            found.push(load("", &[], &[&flag, "--listen", "0.0.0.0:1"]));
            found.push(load("", &[], &[&format!("--{setting}-jwt-key"), &format!("-{token}")]));
            found.push(load("", &[], &[&flag, &format!("--{setting}-jwt-alg=ES256")]));
            found.push(load(&format!("{setting}_jwt_key = {quoted}"), &[], &["--shards=0"]));
        }
        for found in found {
            let printed = match &found {
                Ok(Command::Serve(config)) => config.to_toml(),
                Ok(other) => panic!("expected to serve, got {other:?}"),
                Err(error) => error.to_string(),
            };
            assert!(!printed.contains(CANARY) && !format!("{found:?}").contains(CANARY), "{found:?}");
        }
    }
}
