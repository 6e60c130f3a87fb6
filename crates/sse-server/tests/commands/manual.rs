//! What a shell and man(1) are told of the command line.

use std::process;

use crate::command::Command;

/// What bash would complete the words to.
fn completed(words: &[&str]) -> String {
    let script = Command::run(&["completions", "bash"]);
    script.succeeded();
    let (last, before) = words.split_last().expect("a word to complete");
    let ask = format!(
        "{}\nCOMP_WORDS=(sse-server {}); COMP_CWORD={}\n$(complete -p sse-server | sed 's/.*-F \\([^ ]*\\).*/\\1/') sse-server {last} {}\necho \"${{COMPREPLY[@]}}\"",
        script.out.join("\n"),
        words.join(" "),
        words.len(),
        before.last().unwrap_or(&"sse-server"),
    );
    let output = process::Command::new("bash").args(["-c", &ask]).output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is text").trim().to_owned()
}

#[test]
fn bash_completes_commands_and_flags() {
    assert_eq!(completed(&["pu"]), "publish");
    assert_eq!(completed(&["serve", "--ring-frames"]), "--ring-frames-max");
    assert_eq!(completed(&["log", "ver"]), "verify");
}

#[test]
fn every_shell_has_its_script() {
    for shell in ["bash", "elvish", "fish", "zsh"] {
        let script = Command::run(&["completions", shell]);
        script.succeeded();
        assert!(script.out.iter().any(|line| line.contains("check-config")), "{shell}");
    }
    let unknown = Command::run(&["completions", "tcsh"]);
    assert_eq!((unknown.code, &*unknown.err[0]), (Some(64), "command line: <SHELL> is one of bash, elvish, fish, zsh"));
}

#[test]
fn there_is_a_page_of_everything_and_one_of_each_command() {
    let page = Command::run(&["man"]);
    page.succeeded();
    assert!(page.out.iter().any(|line| line.starts_with(".TH sse-server 1")), "{:?}", &page.out[..5]);
    assert!(page.out.iter().any(|line| line.contains("ring\\-frames\\-max")));
    let page = Command::run(&["man", "publish"]);
    page.succeeded();
    assert!(page.out.iter().any(|line| line.starts_with(".TH sse-server-publish 1")), "{:?}", &page.out[..5]);
    let unknown = Command::run(&["man", "frobnicate"]);
    assert_eq!(unknown.code, Some(64));
    assert!(unknown.err[0].contains("commands are serve, "), "{:?}", unknown.err);
}
