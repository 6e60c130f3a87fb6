//! From the four layers to one configuration, or to everything that is wrong with them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::checks::settle;
use super::command::{Command, Parsed, parse};
use super::fault::{ConfigError, Fault, Origin};
use super::file::{self, Entries, FileLayer};
use super::machine::Machine;
use super::reload::Reloader;
use super::service_links::is_service_link;
use super::setting::{Given, Row, Setting};
use super::settings::{Config, RENAMED, SETTINGS};
use super::suggest::{ENVIRONMENT_PREFIX, Layer, unknown};
use super::topic::{TOPIC_SETTINGS, TopicRule};
use super::value::{Item, Scalar};

/// All that loading depends on besides the command line.
pub(super) struct Surroundings<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) env_names: &'a [String],
    pub(super) machine: Machine,
    pub(super) read_file: &'a dyn Fn(&Path) -> Result<String, String>,
    pub(super) renamed: &'a [(&'a str, &'a str)],
    /// Addresses of sockets that are open already, each with the setting whose place it takes.
    pub(super) sockets: &'a [(&'a str, SocketAddr)],
}

impl Config {
    /// Reads the command line (the program's name first), the environment and the file they name.
    ///
    /// `env_names` are the names that are set, so that a misspelt `SSE_` name is told.
    ///
    /// # Errors
    ///
    /// Everything that is wrong in any layer, at once.
    pub fn load(
        args: impl Iterator<Item = OsString>,
        env: &dyn Fn(&str) -> Option<String>,
        env_names: &[String],
    ) -> Result<Command, ConfigError> {
        Surroundings::here(env, env_names, Machine::detect(), &[]).load(args.collect()).map(|(command, _)| command)
    }

    /// [`Config::load`] of this process's own arguments and environment; and what reads them again. The addresses of `sockets`,
    /// each with the key of its setting, take the place of all that the layers say, and are checked as if they had been set.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_process(sockets: &[(&'static str, SocketAddr)]) -> Result<(Command, Reloader), ConfigError> {
        // A value that is not UTF-8 must not count as unset; made lossy, it is refused by whoever reads it.
        let lossy = |text: OsString| text.to_string_lossy().into_owned();
        let env: BTreeMap<String, String> =
            std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
        Reloader::load(std::env::args_os().collect(), env, Machine::detect(), sockets)
    }

    /// The defaults, on a machine with this much memory: for tests and for services that embed the server.
    pub fn for_memory(bytes: u64) -> Self {
        let machine = Machine { memory_bytes: bytes, ..Machine::detect() };
        let mut faults = Vec::new();
        let rows = SETTINGS.iter().map(|setting| Row::of_default(setting, &machine)).collect();
        let (config, sources) = Self::resolve(rows, &mut faults);
        let mut config =
            config.expect("every default has a good value: `defaults_are_those_of_the_interface` checks it");
        settle(&mut config, sources, &[], &mut faults);
        config
    }
}

/// What all layers gave, not looked at as a whole yet.
#[derive(Clone, Default)]
pub(super) struct Layers {
    pub(super) rows: Vec<Row>,
    pub(super) topics: Vec<TopicRule>,
    /// Where the topics' rules stand, in order.
    pub(super) origins: Vec<Origin>,
    /// What the command line gave, which stays what it is.
    pub(super) flags: Entries,
}

impl Layers {
    /// The settings that they come to. Nothing comes back only if some setting has no good value at all.
    pub(super) fn resolve(&self, faults: &mut Vec<Fault>) -> Option<Config> {
        let (config, sources) = Config::resolve(self.rows.clone(), faults);
        let mut config = config?;
        config.topics.clone_from(&self.topics);
        settle(&mut config, sources, &self.origins, faults);
        Some(config)
    }
}

impl<'a> Surroundings<'a> {
    /// With the files of this machine.
    pub(super) fn here(
        env: &'a dyn Fn(&str) -> Option<String>,
        env_names: &'a [String],
        machine: Machine,
        sockets: &'a [(&'a str, SocketAddr)],
    ) -> Self {
        Self { env, env_names, machine, read_file: &file::read, renamed: RENAMED, sockets }
    }

    pub(super) fn load(&self, args: Vec<OsString>) -> Result<(Command, Layers), ConfigError> {
        let mut faults = Vec::new();
        let (command, flags) = match parse(args, self.renamed, &mut faults) {
            Parsed::Done(done) if faults.is_empty() => return Ok((done, Layers::default())),
            Parsed::Done(_) | Parsed::Unclear => return Err(ConfigError::new(faults)),
            Parsed::Settings(command, flags) => (command, flags),
        };
        let layers = self.layers(flags, &mut faults);
        match layers.resolve(&mut faults) {
            Some(config) if faults.is_empty() => Ok((command.with(config), layers)),
            _ => Err(ConfigError::new(faults)),
        }
    }

    /// What all layers give, with these flags.
    pub(super) fn layers(&self, flags: Entries, faults: &mut Vec<Fault>) -> Layers {
        let environment = self.environment(faults);
        let file = self.file(&[&environment, &flags], faults);
        let rows = self.rows(SETTINGS, [self.others(), file.settings, environment, flags.clone(), self.sockets()]);
        let (topics, origins) = self.topics(file.topics, faults);
        Layers { rows, topics, origins, flags }
    }

    fn sockets(&self) -> Entries {
        let item = |addr: &SocketAddr| Item { text: addr.to_string(), origin: Origin::Socket };
        let given = |setting: &'static Setting| {
            let of_setting = self.sockets.iter().filter(|(key, _)| *key == setting.key());
            let items: Vec<Item> = of_setting.map(|(_, addr)| item(addr)).collect();
            (!items.is_empty()).then_some((setting, Given { origin: Origin::Socket, items }))
        };
        SETTINGS.iter().filter_map(given).collect()
    }

    fn environment(&self, faults: &mut Vec<Fault>) -> Entries {
        let known = || SETTINGS.iter().map(Setting::key);
        for name in self.env_names.iter().filter(|name| name.starts_with(ENVIRONMENT_PREFIX)) {
            let is_link = || (self.env)(name).is_some_and(|value| is_service_link(name, &value));
            if !known().any(|key| Layer::Environment.spell(key) == *name) && !is_link() {
                let problem = unknown(Layer::Environment, name, known(), self.renamed);
                faults.push(Fault::new(Origin::Environment(name.clone()), problem));
            }
        }
        SETTINGS.iter().filter_map(|setting| Some((setting, self.variable(setting)?))).collect()
    }

    /// What variables say that are not this server's own. An empty one counts as unset, as their specifications have it.
    fn others(&self) -> Entries {
        let given = |setting: &'static Setting| {
            let name = setting.rules.or_variable?;
            let text = (self.env)(name).filter(|text| !text.trim().is_empty())?;
            let origin = Origin::Environment(name.to_owned());
            Some((setting, Given { items: vec![Item { text, origin: origin.clone() }], origin }))
        };
        SETTINGS.iter().filter_map(given).collect()
    }

    fn variable(&self, setting: &Setting) -> Option<Given> {
        let name = Layer::Environment.spell(setting.key());
        let text = (self.env)(&name)?;
        let origin = Origin::Environment(name);
        let item = |text: &str| Item { text: text.to_owned(), origin: origin.clone() };
        let items = match setting.kind.list {
            // An empty list takes back what the file gave; a comma too many is a mistake.
            true if text.trim().is_empty() => Vec::new(),
            true => text.split(',').map(item).collect(),
            false => vec![item(&text)],
        };
        Some(Given { origin, items })
    }

    /// Reads the file that the later of the layers names.
    fn file(&self, layers: &[&Entries], faults: &mut Vec<Fault>) -> FileLayer {
        let named = layers.iter().flat_map(|layer| layer.iter()).filter(|(setting, _)| setting.key() == "config");
        let Some(item) = named.filter_map(|(_, given)| given.items.last()).next_back() else {
            return FileLayer::default();
        };
        // A bad name is told when the setting itself is read.
        let Some(path) = PathBuf::parse(item.text.trim()).ok().filter(|path| path.as_os_str() != "off") else {
            return FileLayer::default();
        };
        match (self.read_file)(&path) {
            Ok(text) => file::parse(&path, &text, self.renamed, faults),
            Err(problem) => {
                faults.push(Fault::new(item.origin.clone(), problem));
                FileLayer::default()
            }
        }
    }

    fn rows<const LAYERS: usize>(&self, table: &'static [Setting], layers: [Entries; LAYERS]) -> Vec<Row> {
        let mut rows: Vec<Row> = table.iter().map(|setting| Row::of_default(setting, &self.machine)).collect();
        for (setting, given) in layers.into_iter().flatten() {
            if let Some(row) = rows.iter_mut().find(|row| row.setting.key() == setting.key()) {
                row.given.push(given);
            }
        }
        rows
    }

    fn topics(&self, tables: Vec<(Origin, Entries)>, faults: &mut Vec<Fault>) -> (Vec<TopicRule>, Vec<Origin>) {
        let mut rules = Vec::new();
        for (origin, entries) in tables {
            let mut found = Vec::new();
            let (rule, _) = TopicRule::resolve(self.rows(TOPIC_SETTINGS, [entries]), &mut found);
            faults.extend(found.into_iter().map(|fault| at_table(fault, &origin)));
            rules.extend(rule.map(|rule| (rule, origin)));
        }
        rules.into_iter().unzip()
    }
}

/// What is missing from a table is told at the table, not at a default.
fn at_table(fault: Fault, table: &Origin) -> Fault {
    match fault.origin {
        Origin::Default(_) => Fault { origin: table.clone(), ..fault },
        _ => fault,
    }
}
