//! `sse-server completions` and `sse-server man`: what a shell and a manual know of the command line.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command as Clap};
use clap_complete::Shell;
use clap_mangen::Man;

use super::command::program;

const SHELLS: [(&str, Shell); 4] =
    [("bash", Shell::Bash), ("elvish", Shell::Elvish), ("fish", Shell::Fish), ("zsh", Shell::Zsh)];

pub(super) fn commands() -> [Clap; 2] {
    let shells = PossibleValuesParser::new(SHELLS.map(|(name, _)| name));
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(shells).help("Whose script it is");
    let command = Arg::new("command").value_name("COMMAND").help("The page of this command alone");
    [
        Clap::new("completions").about("Print a script that has a shell complete this command line").arg(shell),
        Clap::new("man").about("Print a page for man(1)").arg(command),
    ]
}

/// The text that was asked for; `None` if there is no such thing.
pub(super) fn read(name: &str, matches: &ArgMatches) -> Option<String> {
    let given = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    match name {
        "completions" => completions(given("shell")?),
        _ => man(given("command")),
    }
}

fn completions(shell: &str) -> Option<String> {
    let (_, shell) = SHELLS.into_iter().find(|(name, _)| *name == shell)?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program(), "sse-server", &mut script);
    String::from_utf8(script).ok()
}

fn man(command: Option<&str>) -> Option<String> {
    let mut program = program();
    program.build();
    let page_of = match command {
        None => program,
        Some(name) => program.get_subcommands().find(|command| command.get_name() == name)?.clone(),
    };
    let title = page_of.get_display_name().unwrap_or(page_of.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(page_of).title(title).render(&mut page).ok()?;
    String::from_utf8(page).ok()
}
