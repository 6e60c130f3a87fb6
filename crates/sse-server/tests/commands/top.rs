//! `sse-server top`.

use serde_json::Value;

use crate::command::Command;

/// A server with an admin listener: its address, and that of the admin listener.
fn server(args: &[&str]) -> (Command, String, String) {
    let own = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"];
    let command = Command::start(&[&own[..], args].concat());
    let line: Value = serde_json::from_str(&command.notice("\"listening\"")).expect("a log line is JSON");
    let address = |name: &str| line[name].as_str().expect("it names its address").to_owned();
    (command, address("listen"), address("admin"))
}

#[test]
fn one_look_is_text() {
    let (_server, listen, admin) = server(&[]);
    Command::run(&["publish", &format!("{listen}/events/orders/7"), "--data", "x"]).succeeded();
    let follower = Command::start(&["subscribe", &format!("{listen}/events/news")]);
    follower.notice("following");
    // Into a pipe it is one look too.
    for args in [&["top", &admin, "--once"][..], &["top", &admin]] {
        let outcome = Command::run(args);
        outcome.succeeded();
        let text = outcome.out.join("\n");
        for part in ["sse-server 0.1.0 at http://127.0.0.1:", "streams 1  topics 2", "orders/7", "caught_up", "news"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
        assert!(!text.contains('\x1b'), "{text}");
    }
}

#[test]
fn a_terminal_is_drawn_on_and_given_back() {
    let (_server, _, admin) = server(&[]);
    // script(1) gives it a terminal; its first key is not the one that ends it.
    let top = format!("{} top {admin} --interval 200ms", env!("CARGO_BIN_EXE_sse-server"));
    let mut script = std::process::Command::new("script");
    script.args(["--quiet", "--return", "--command", &top, "/dev/null"]).stdout(std::process::Stdio::piped());
    let mut script = Command::of(script);
    let first = script.line();
    assert!(first.starts_with("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[1msse-server "), "{first:?}");
    script.say("x");
    // The second picture begins where the first did.
    while !script.line().contains("\x1b[H") {}
    script.say("q");
    let outcome = script.finish();
    outcome.succeeded();
    assert!(outcome.out.last().is_some_and(|line| line.ends_with("\x1b[?7h\x1b[?25h\x1b[?1049l")), "{outcome:?}");
}

#[test]
fn what_cannot_be_watched_says_why() {
    let token = "an-admin-token-of-some-length";
    let (_server, listen, admin) = server(&["--admin-token", token]);
    Command::run(&["top", &admin, "--once"]).failed_with("401 Unauthorized: the admin API needs its token");
    Command::run(&["top", &admin, "--once", "--token", token]).succeeded();
    Command::run(&["top", &listen, "--once"]).failed_with("404 Not Found");
    Command::run(&["top", &admin, "--interval", "5"]).failed_with("--interval: expected a duration");
    Command::run(&["top", &admin, "--interval", "1ms"]).failed_with("--interval: 200 ms at least");
    Command::run(&["top", "https://localhost:8081"]).failed_with("https is not there yet");
}
