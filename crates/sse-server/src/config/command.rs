//! The command line: which command, and which flags it was given.

use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command as Clap};

use super::client_command::{self, HealthArgs, PublishArgs, SubscribeArgs, TokenArgs, TopArgs};
use super::fault::{Fault, Origin};
use super::log_command::{self, LogArgs};
use super::manual;
use super::setting::{Given, Setting};
use super::settings::{Config, SETTINGS};
use super::suggest::{Layer, nearest, unknown_flag};
use super::value::{Item, Notation};

/// What the process was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Serve with these settings.
    Serve(Box<Config>),
    /// The settings are good; say so.
    CheckConfig(Box<Config>),
    /// Print the resolved settings: [`Config::to_toml`].
    PrintConfig(Box<Config>),
    /// Have the server that runs with these settings succeeded by a new process.
    Upgrade(Box<Config>),
    /// Publish to a server.
    Publish(PublishArgs),
    /// Follow a server.
    Subscribe(SubscribeArgs),
    /// Ask a server whether it is well.
    Health(HealthArgs),
    /// Make a token.
    Token(Box<TokenArgs>),
    /// Watch a server.
    Top(TopArgs),
    /// Look after a data directory.
    Log(LogArgs),
    /// Print this: help, a page of the manual, a shell's script.
    Help(String),
    /// Print this version.
    Version(String),
}

/// The commands that need the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SettingsCommand {
    Serve,
    CheckConfig,
    PrintConfig,
    Upgrade,
}

impl SettingsCommand {
    pub(super) fn with(self, config: Config) -> Command {
        let config = Box::new(config);
        match self {
            Self::Serve => Command::Serve(config),
            Self::CheckConfig => Command::CheckConfig(config),
            Self::PrintConfig => Command::PrintConfig(config),
            Self::Upgrade => Command::Upgrade(config),
        }
    }
}

pub(super) const COMMANDS: [&str; 12] = [
    "serve",
    "check-config",
    "config",
    "upgrade",
    "publish",
    "subscribe",
    "health",
    "token",
    "top",
    "log",
    "completions",
    "man",
];

/// What the command line says.
pub(super) enum Parsed {
    /// A command that needs the settings, with the flags that set some.
    Settings(SettingsCommand, Vec<(&'static Setting, Given)>),
    /// A command that is complete.
    Done(Command),
    /// No telling what was meant; the faults say why.
    Unclear,
}

/// Reads the arguments, the program's name first. Arguments that cannot be understood become faults and are left out,
/// so that the rest is read all the same.
pub(super) fn parse(args: Vec<OsString>, renamed: &[(&str, &str)], faults: &mut Vec<Fault>) -> Parsed {
    let mut args = args;
    end_bare_switches(&mut args);
    loop {
        let error = match program().try_get_matches_from(&args) {
            Ok(matches) => return read(&matches, faults),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::DisplayHelp => return Parsed::Done(Command::Help(error.render().to_string())),
            ErrorKind::DisplayVersion => return Parsed::Done(Command::Version(error.render().to_string())),
            _ => {}
        }
        let culprit = culprit(&error);
        faults.push(explain(&error, culprit.as_deref(), renamed));
        // Every round takes an argument away or ends the reading.
        let Some(position) = culprit.and_then(|culprit| position_of(&args, &culprit)) else {
            return Parsed::Unclear;
        };
        remove(&mut args, position);
    }
}

/// The argument that clap stumbled over, without its value.
fn culprit(error: &clap::Error) -> Option<String> {
    let text = context(error, ContextKind::InvalidSubcommand).or(context(error, ContextKind::InvalidArg))?;
    let text = text.split(' ').next().unwrap_or(text);
    Some(if text.starts_with("--") { text.split('=').next().unwrap_or(text) } else { text }.to_owned())
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

fn explain(error: &clap::Error, culprit: Option<&str>, renamed: &[(&str, &str)]) -> Fault {
    match (error.kind(), culprit) {
        (ErrorKind::UnknownArgument, Some(flag)) if flag.starts_with("--") => {
            let meant = context(error, ContextKind::SuggestedArg);
            Fault::new(Origin::Flag(flag.to_owned()), unknown_flag(flag, meant, renamed))
        }
        (ErrorKind::InvalidSubcommand, Some(word)) => {
            let hint = nearest(word, COMMANDS.into_iter()).map_or_else(
                || format!("commands are {}", COMMANDS.join(", ")),
                |meant| format!("did you mean `{meant}`?"),
            );
            Fault::new(Origin::CommandLine, format!("unknown command `{}`, {hint}", word.escape_debug()))
        }
        (ErrorKind::UnknownArgument, Some(word)) => Fault::new(
            Origin::CommandLine,
            format!("unexpected `{}`, `--help` lists all that may be given", word.escape_debug()),
        ),
        (ErrorKind::InvalidValue, Some(flag)) => match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(values)) if !values.is_empty() => {
                Fault::new(Origin::CommandLine, format!("{flag} is one of {}", values.join(", ")))
            }
            _ => Fault::new(Origin::Flag(flag.to_owned()), "a value must follow"),
        },
        _ => {
            let text = error.render().to_string();
            let words = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect::<Vec<_>>();
            Fault::new(Origin::CommandLine, words.join(" ").trim_start_matches("error: ").to_owned())
        }
    }
}

fn position_of(args: &[OsString], culprit: &str) -> Option<usize> {
    let is_culprit = |arg: &OsString| {
        let arg = arg.to_string_lossy();
        arg == culprit || arg.strip_prefix(culprit).is_some_and(|rest| rest.starts_with('='))
    };
    Some(1 + args.get(1..)?.iter().position(is_culprit)?)
}

/// Removes an argument, and its value if it is a flag that one follows.
fn remove(args: &mut Vec<OsString>, position: usize) {
    let removed = args.remove(position).into_encoded_bytes();
    let takes_value = removed.starts_with(b"--") && !removed.contains(&b'=');
    let is_value = |arg: &OsString| !arg.as_encoded_bytes().starts_with(b"-") && !is_command(arg);
    if takes_value && args.get(position).is_some_and(is_value) {
        args.remove(position);
    }
}

/// A switch may stand without a value; a command that follows is not its value.
fn end_bare_switches(args: &mut [OsString]) {
    let switches: Vec<String> = SETTINGS
        .iter()
        .filter(|setting| setting.kind.notation == Notation::Switch)
        .map(|setting| Layer::Flag.spell(setting.key()))
        .collect();
    for index in 1..args.len() {
        let (before, after) = args.split_at_mut(index);
        if let ([.., switch], [word, ..]) = (before, after)
            && is_command(word)
            && switches.iter().any(|name| *switch == **name)
        {
            switch.push("=on");
        }
    }
}

fn is_command(arg: &OsString) -> bool {
    COMMANDS.iter().any(|command| arg == command)
}

pub(super) fn program() -> Clap {
    let settings = || SETTINGS.iter().map(flag);
    Clap::new("sse-server")
        .bin_name("sse-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Publishes Server-Sent Events to whoever follows a topic. Without a command it serves.")
        .after_help(
            "Each setting is also an environment variable (--ring-frames-max is SSE_RING_FRAMES_MAX) and a key of the \
             TOML file (ring_frames_max).\nLater layers win: default, file, environment, flag.",
        )
        .next_line_help(true)
        .args(settings())
        .subcommand(Clap::new("serve").about("Serve, as without a command").next_line_help(true).args(settings()))
        .subcommand(
            Clap::new("check-config")
                .about("Check the settings and list every fault")
                .next_line_help(true)
                .args(settings()),
        )
        .subcommand(
            Clap::new("config")
                .about("Print the resolved settings as TOML, without secrets")
                .next_line_help(true)
                .args(settings()),
        )
        .subcommand(
            Clap::new("upgrade")
                .about("Have the server at the upgrade socket start a new process, and hand everything over to it")
                .next_line_help(true)
                .args(settings()),
        )
        .subcommands(client_command::commands())
        .subcommand(log_command::command())
        .subcommands(manual::commands())
}

fn flag(setting: &'static Setting) -> Arg {
    let doc: Vec<&str> = setting.doc_lines().collect();
    let mut notes = vec![format!("default: {}", setting.default_shown())];
    notes.extend(setting.kind.list.then(|| "repeatable".to_owned()));
    let long = setting.key().replace('_', "-");
    let arg = Arg::new(setting.key())
        .long(long)
        .value_name(setting.kind.name)
        .action(ArgAction::Append)
        .value_parser(ValueParser::os_string())
        .allow_negative_numbers(true)
        .help(format!("{} [{}]", doc.join("\n"), notes.join("; ")))
        .help_heading(setting.group);
    match setting.kind.notation {
        Notation::Switch => arg.num_args(0..=1).default_missing_value("on"),
        // PEM begins with hyphens, and a secret may; taken for a flag it would be told as an unknown one.
        Notation::Secret => arg.allow_hyphen_values(true),
        _ => arg,
    }
}

fn read(matches: &ArgMatches, faults: &mut Vec<Fault>) -> Parsed {
    let (name, of_command) = matches.subcommand().unwrap_or(("serve", matches));
    let command = match name {
        "publish" | "subscribe" | "health" | "token" | "top" => Err(client_command::read(name, of_command)),
        "log" => match log_command::read(of_command) {
            Some(args) => Err(Command::Log(args)),
            None => return Parsed::Unclear,
        },
        "completions" | "man" => match manual::read(name, of_command) {
            Some(text) => Err(Command::Help(text)),
            None => {
                let problem = format!("`{name}` has no page of that, commands are {}", COMMANDS.join(", "));
                faults.push(Fault::new(Origin::CommandLine, problem));
                return Parsed::Unclear;
            }
        },
        "check-config" => Ok(SettingsCommand::CheckConfig),
        "config" => Ok(SettingsCommand::PrintConfig),
        "upgrade" => Ok(SettingsCommand::Upgrade),
        _ => Ok(SettingsCommand::Serve),
    };
    let mut levels = vec![matches];
    levels.extend(matches.subcommand().map(|(_, of_command)| of_command));
    match command {
        Ok(command) => Parsed::Settings(command, flags(&levels, faults)),
        Err(done) => {
            for (setting, _) in flags(&[matches], faults) {
                let problem = format!("is no flag of `{name}`");
                faults.push(Fault::new(Origin::Flag(Layer::Flag.spell(setting.key())), problem));
            }
            Parsed::Done(done)
        }
    }
}

/// What was given before and after the command word.
fn flags(levels: &[&ArgMatches], faults: &mut Vec<Fault>) -> Vec<(&'static Setting, Given)> {
    let mut given = Vec::new();
    for setting in SETTINGS {
        let origin = Origin::Flag(Layer::Flag.spell(setting.key()));
        let values = levels.iter().filter_map(|matches| matches.get_many::<OsString>(setting.key())).flatten();
        let mut items = Vec::new();
        for value in values {
            match value.to_str() {
                Some(text) => items.push(Item { text: text.to_owned(), origin: origin.clone() }),
                None => faults.push(Fault::new(origin.clone(), "the value is not UTF-8")),
            }
        }
        if !items.is_empty() {
            given.push((setting, Given { origin, items }));
        }
    }
    given
}
