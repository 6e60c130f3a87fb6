//! Which command the arguments name.

use super::super::client_command::{PublishArgs, SubscribeArgs};
use super::*;

/// The command's name and the retry it was given.
fn command(args: &[&str]) -> String {
    match load("", &[], args) {
        Ok(Command::Serve(config)) => format!("serve {}", config.retry.as_secs()),
        Ok(Command::CheckConfig(config)) => format!("check-config {}", config.retry.as_secs()),
        Ok(Command::PrintConfig(config)) => format!("config {}", config.retry.as_secs()),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn settings_stand_before_and_after_the_word() {
    assert_eq!(command(&[]), "serve 3");
    assert_eq!(command(&["--retry", "5s"]), "serve 5");
    assert_eq!(command(&["serve"]), "serve 3");
    assert_eq!(command(&["serve", "--retry", "5s"]), "serve 5");
    assert_eq!(command(&["--retry=5s", "serve"]), "serve 5");
    assert_eq!(command(&["--retry", "5s", "serve", "--retry", "6s"]), "serve 6");
    assert_eq!(command(&["check-config", "--retry", "5s"]), "check-config 5");
    assert_eq!(command(&["--retry", "5s", "config"]), "config 5");
    // A bare switch does not take the word for its value.
    assert_eq!(command(&["--insecure", "check-config"]), "check-config 3");
    assert_eq!(command(&["--insecure", "--open-publish", "--retry", "5s"]), "serve 5");
}

#[test]
fn lists_are_joined_across_the_word() {
    let config = config("", &[], &["--host", "a", "serve", "--host", "b"]);
    let hosts: Vec<&str> = config.host.iter().map(|host| host.as_str()).collect();
    assert_eq!(hosts, ["a", "b"]);
}

#[test]
fn publish_and_subscribe() {
    let url = "http://127.0.0.1:8080/events/a";
    let publish = |data: Option<&str>, event_type: Option<&str>, id: Option<&str>| {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Command::Publish(PublishArgs {
            url: url.to_owned(),
            data: owned(data),
            event_type: owned(event_type),
            id: owned(id),
            token: None,
        }))
    };
    assert_eq!(load("", &[], &["publish", url]), publish(None, None, None));
    assert_eq!(
        load("", &[], &["publish", "--data", "-1", url, "--type=t", "--id", ""]),
        publish(Some("-1"), Some("t"), Some(""))
    );
    let subscribe = |last: Option<&str>| {
        let last_event_id = last.map(str::to_owned);
        Ok(Command::Subscribe(SubscribeArgs { url: url.to_owned(), last_event_id, token: None }))
    };
    assert_eq!(load("", &[], &["subscribe", url]), subscribe(None));
    assert_eq!(load("", &[], &["subscribe", url, "--last-event-id", "earliest"]), subscribe(Some("earliest")));
    // They need no settings, so a bad environment does not stop them.
    assert_eq!(load("", &[("SSE_RETRY", "bad")], &["subscribe", url]), subscribe(None));
}

#[test]
fn publish_and_subscribe_misused() {
    assert_eq!(command(&["publish"]), "command line: the following required arguments were not provided: <URL>");
    assert_eq!(command(&["publish", "u", "--dta", "x"]), "--dta: unknown flag, did you mean `--data`?");
    assert_eq!(command(&["--retry", "5s", "publish", "u"]), "--retry: is no flag of `publish`");
    assert_eq!(command(&["publish", "u", "--retry", "5s"]), "--retry: unknown flag, `--help` lists them all");
}

#[test]
fn help_and_version() {
    let help = |args: &[&str]| match load("", &[("SSE_RETRY", "bad")], args) {
        Ok(Command::Help(text)) => text,
        other => panic!("expected help, got {other:?}"),
    };
    for args in [&["--help"][..], &["-h"], &["help"], &["serve", "--help"], &["--retry", "bad", "config", "-h"]] {
        let text = help(args);
        for setting in super::super::settings::SETTINGS {
            let flag = super::super::suggest::Layer::Flag.spell(setting.key());
            assert!(text.contains(&format!("{flag} ")), "{args:?} says nothing of {flag}:\n{text}");
            assert!(text.contains(setting.default_shown()), "{args:?} says no default of {flag}:\n{text}");
        }
        assert!(text.contains("Usage: sse-server"), "{text}");
    }
    assert!(help(&["publish", "--help"]).contains("--data"));
    let version = Ok(Command::Version(concat!("sse-server ", env!("CARGO_PKG_VERSION"), "\n").to_owned()));
    assert_eq!(load("", &[], &["--version"]), version);
    assert_eq!(load("", &[], &["-V"]), version);
}

#[test]
fn words_that_are_no_command() {
    assert_eq!(command(&["serv"]), "command line: unknown command `serv`, did you mean `serve`?");
    assert_eq!(
        command(&["frobnicate", "--retry", "bad"]),
        "--retry: expected a duration such as 100ms, 25s, 5m or 24h, got `bad`\n\
         command line: unknown command `frobnicate`, commands are serve, check-config, config, upgrade, publish, subscribe, health, token, top, log, completions, man"
    );
    for args in [["-x", "serve"], ["serve", "serve"], ["serve", "-x"]] {
        let word = if args.contains(&"-x") { "-x" } else { "serve" };
        let refusal = format!("command line: unexpected `{word}`, `--help` lists all that may be given");
        assert_eq!(command(&args), refusal, "{args:?}");
    }
}

/// What follows an unknown flag is its value, unless it is something else by itself.
#[test]
fn unknown_flags_take_their_value_along() {
    let unknown = "--q: unknown flag, `--help` lists them all";
    let retry = "--retr: unknown flag, did you mean `--retry`?";
    assert_eq!(command(&["--q", "value"]), unknown);
    assert_eq!(command(&["--q", "--retr=3s"]), format!("{unknown}\n{retry}"));
    let missing = "command line: the following required arguments were not provided: <URL>";
    assert_eq!(command(&["--q", "publish"]), format!("{unknown}\n{missing}"));
    let word = "command line: unknown command `frobnicate`, commands are serve, check-config, config, upgrade, publish, subscribe, health, token, top, log, completions, man";
    assert_eq!(command(&["--q=1", "frobnicate"]), format!("{unknown}\n{word}"));
}

/// Whoever is called like a command can be named all the same.
#[test]
fn values_that_look_like_commands() {
    for word in ["publish", "serve"] {
        assert_eq!(config("", &[], &["--host", word]).host[0].as_str(), word);
    }
    assert_eq!(command(&["--ready-file", "config", "config"]), "config 3");
}

#[test]
fn every_command_is_declared_and_known() {
    let program = super::super::command::program();
    program.clone().debug_assert();
    let names: Vec<&str> = program.get_subcommands().map(|command| command.get_name()).collect();
    assert_eq!(names, super::super::command::COMMANDS);
}
