//! The settings from outside: what a file, an environment and flags come to.

mod access;
mod any_text;
mod commands;
mod faults;
mod fuzz_tests;
mod layers;
mod reference;
mod reload;
mod sockets;
mod topics;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use super::fault::ConfigError;
use super::load::Surroundings;
use super::machine::Machine;
use super::{Command, Config};

/// A machine on which every default is known.
const MACHINE: Machine =
    Machine { memory_bytes: 4 << 30, cores: 4, descriptors_max: 20_000, stderr_is_terminal: false };

/// Names that changed, for the tests only: the real table may be empty.
const RENAMED: &[(&str, &str)] = &[("ring_size", "ring_frames_max"), ("keepalive", "heartbeat_interval")];

/// What the tests call their file.
const FILE: &str = "sse.toml";

/// Loads with a file of this text (none if empty), this environment and these arguments.
fn load(file: &str, env: &[(&str, &str)], args: &[&str]) -> Result<Command, ConfigError> {
    load_with_sockets(&[], file, env, args)
}

/// The same with sockets that are open already.
fn load_with_sockets(
    sockets: &[(&str, SocketAddr)],
    file: &str,
    env: &[(&str, &str)],
    args: &[&str],
) -> Result<Command, ConfigError> {
    let read_file = |path: &Path| match path == Path::new(FILE) {
        true => Ok(file.to_owned()),
        false => Err(format!("reading {}: not there", path.display())),
    };
    let variable = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let names: Vec<String> = env.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut all = vec!["sse-server"];
    all.extend((!file.is_empty()).then_some(["--config", FILE]).into_iter().flatten());
    all.extend(args);
    let surroundings = Surroundings {
        env: &variable,
        env_names: &names,
        machine: MACHINE,
        read_file: &read_file,
        renamed: RENAMED,
        sockets,
    };
    surroundings.load(all.into_iter().map(OsString::from).collect()).map(|(command, _)| command)
}

/// The settings to serve with.
fn config(file: &str, env: &[(&str, &str)], args: &[&str]) -> Config {
    match load(file, env, args) {
        Ok(Command::Serve(config)) => *config,
        other => panic!("expected to serve, got {other:?}"),
    }
}

/// What file, environment and arguments come to: the lines of the printed settings that are not the default's,
/// or the faults.
fn outcome(file: &str, env: &[(&str, &str)], args: &[&str]) -> Vec<String> {
    let defaults = config("", &[], &[]).to_toml();
    let lines = match load(file, env, args) {
        Ok(Command::Serve(config)) => config.to_toml(),
        Ok(other) => panic!("expected to serve, got {other:?}"),
        Err(error) => return error.to_string().lines().map(str::to_owned).collect(),
    };
    let is_new = |line: &&str| !line.is_empty() && !defaults.lines().any(|default| default == *line);
    lines.lines().filter(is_new).filter(|line| !line.starts_with("# config")).map(str::to_owned).collect()
}

#[track_caller]
fn check(file: &str, env: &[(&str, &str)], args: &[&str], expected: &[&str]) {
    assert_eq!(outcome(file, env, args), expected, "\nfile: {file}\nenvironment: {env:?}\narguments: {args:?}");
}
