//! What keeps a server safe unless told otherwise, and secrets secret.

use super::*;

const OFF_LOOPBACK: &str = "is not loopback and there is no publisher key, so whoever reaches it could follow every \
     topic; listen on 127.0.0.1:8080, or set --insecure to accept that (and --open-publish on to let anyone publish \
     as well)";

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
