//! The settings read again while the server runs: what changed, what may change, and what has to wait.
//!
//! A setting that needs a restart keeps what its layers gave at the start, and the whole is checked again with that: a file
//! that would be good for a new process may be dangerous for this one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::command::Command;
use super::fault::{ConfigError, Fault};
use super::load::{Layers, Surroundings};
use super::machine::Machine;
use super::setting::{Applies, Row, Setting};
use super::settings::Config;
use super::value::Notation;
use crate::stamp::{Stamp, stamp};

/// Where the settings of the running process came from.
pub struct Reloader {
    env: BTreeMap<String, String>,
    machine: Machine,
    sockets: Vec<(&'static str, SocketAddr)>,
    /// What the running settings came to be from.
    running: Layers,
    /// The files that were named when it was last looked, as they were just before they were read.
    files: Stamps,
}

/// Settings to go on with.
pub struct Reloaded {
    /// All of them, those that need a restart as they were.
    pub config: Config,
    /// The keys of those that change.
    pub changed: Vec<&'static str>,
    /// The keys of those that would change with a restart.
    pub needs_restart: Vec<&'static str>,
    layers: Layers,
}

impl Reloader {
    pub(super) fn load(
        args: Vec<OsString>,
        env: BTreeMap<String, String>,
        machine: Machine,
        sockets: &[(&'static str, SocketAddr)],
    ) -> Result<(Command, Self), ConfigError> {
        let mut reloader =
            Self { env, machine, sockets: sockets.to_vec(), running: Layers::default(), files: Stamps::new() };
        let (command, layers) = reloader.with_surroundings(|surroundings| surroundings.load(args))?;
        reloader.files = files(&layers.rows).map(stamped).collect();
        reloader.running = layers;
        Ok((command, reloader))
    }

    /// Reads everything again; nothing changes until that is [accepted](Self::accept). `running` are the settings there are.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn reload(&mut self, running: &Config) -> Result<Reloaded, ConfigError> {
        let before = self.look();
        let mut faults = Vec::new();
        let flags = self.running.flags.clone();
        let fresh = self.with_surroundings(|surroundings| surroundings.layers(flags, &mut faults));
        // Looked at from now on, whatever is wrong with them. Those of secrets have not been read yet.
        let known =
            |path: PathBuf| before.get(&path).map(|stamp| (path.clone(), *stamp)).unwrap_or_else(|| stamped(path));
        self.files = files(&fresh.rows).map(known).collect();
        let of_new_process = checked(&fresh, faults)?;
        let layers = self.running.taking_on(fresh);
        let config = checked(&layers, Vec::new())?;
        let changed = running.differing(&config).map(Setting::key).collect();
        let waiting = running.differing(&of_new_process).filter(|setting| setting.applies == Applies::Restart);
        let topics = (running.topics != of_new_process.topics).then_some("topic");
        let needs_restart = waiting.map(Setting::key).chain(topics).collect();
        Ok(Reloaded { config, changed, needs_restart, layers })
    }

    /// The server has taken these on.
    pub fn accept(&mut self, reloaded: Reloaded) {
        self.running = reloaded.layers;
    }

    /// The files that the settings are read from, as they were when they were read: the configuration file, and those that
    /// secrets name with an `@`.
    pub(crate) fn files(&self) -> &Stamps {
        &self.files
    }

    /// The same files as they are now.
    pub(crate) fn look(&self) -> Stamps {
        self.files.keys().cloned().map(stamped).collect()
    }

    fn with_surroundings<T>(&self, read: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let env = |name: &str| self.env.get(name).cloned();
        let env_names: Vec<String> = self.env.keys().cloned().collect();
        read(&Surroundings::here(&env, &env_names, self.machine, &self.sockets))
    }
}

/// The settings, if nothing is wrong with them.
fn checked(layers: &Layers, mut faults: Vec<Fault>) -> Result<Config, ConfigError> {
    match layers.resolve(&mut faults) {
        Some(config) if faults.is_empty() => Ok(config),
        _ => Err(ConfigError::new(faults)),
    }
}

impl Layers {
    /// These, with whatever needs no restart from others.
    fn taking_on(&self, fresh: Self) -> Self {
        let newer = |(row, fresh): (&Row, Row)| match row.setting.applies {
            Applies::Restart => row.clone(),
            Applies::Reload => fresh,
        };
        let rows = self.rows.iter().zip(fresh.rows).map(newer).collect();
        Self { rows, topics: self.topics.clone(), origins: self.origins.clone(), flags: fresh.flags }
    }
}

/// Files, and what tells each one's state from another.
pub(crate) type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

fn stamped(path: PathBuf) -> (PathBuf, Option<Stamp>) {
    let stamp = stamp(&path);
    (path, stamp)
}

fn files(rows: &[Row]) -> impl Iterator<Item = PathBuf> {
    let named = rows.iter().flat_map(|row| {
        let texts = row.given.iter().flat_map(|given| &given.items).map(|item| item.text.trim());
        texts.filter_map(|text| match row.setting.kind.notation {
            Notation::Secret => text.strip_prefix('@'),
            _ if row.setting.key() == "config" => Some(text).filter(|text| *text != "off"),
            _ => None,
        })
    });
    named.map(PathBuf::from)
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The texts of the layers may be secrets.
        f.debug_struct("Reloader").field("files", &self.files).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Reloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloaded").field("changed", &self.changed).finish_non_exhaustive()
    }
}
