//! Where an engine is, as `--backplane` says it.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// Where an engine is, and how it is entered: `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `rediss://..`,
/// `nats://[USER:PASSWORD@ or TOKEN@]HOST[:PORT]` or `tls://..`, several nodes separated by commas.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    /// Whose protocol it speaks.
    pub(crate) kind: EngineKind,
    /// With TLS.
    pub(crate) encrypted: bool,
    /// At least one.
    pub(crate) nodes: Vec<Node>,
    /// What it asks for at its door.
    pub(crate) credentials: Credentials,
    /// Redis: the database's number.
    pub(crate) database: i64,
    /// What follows a question mark.
    pub(crate) options: Options,
}

/// The engines there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EngineKind {
    Redis,
    Nats,
}

/// One process of an engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    /// A name or an address; IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// How a node proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Credentials {
    None,
    Password { user: Option<String>, password: Password },
    Token(Password),
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Password(pub(crate) String);

/// What an address says besides.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Options {
    /// `ca`: certificates to trust, instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// `creds`: a credentials file of NATS.
    pub(crate) creds: Option<PathBuf>,
    /// `master`: what sentinels call the master.
    pub(crate) master: Option<String>,
    /// `replicas`: copies of a stream that NATS is to keep, if it has to make one.
    pub(crate) replicas: Option<usize>,
}

/// What is wrong with an address. None of these show any of it that could be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressFault {
    #[error("it begins with redis://, rediss://, nats:// or tls://")]
    Scheme,
    #[error("all nodes have the scheme of the first, {0}://")]
    OtherScheme(&'static str),
    #[error("node {0} has no host")]
    NoHost(usize),
    #[error(
        "the host of node {0} is none; characters such as , / ? # @ in a password are written as %2C %2F %3F %23 %40"
    )]
    Host(usize),
    #[error("the port of node {0} is a number from 1 to 65535")]
    Port(usize),
    #[error("a password stands behind a colon: redis://:PASSWORD@HOST or redis://USER:PASSWORD@HOST")]
    NoPassword,
    #[error("what stands before the @ is not UTF-8 when its %XX are decoded")]
    Encoding,
    #[error("the path is the database's number, as in redis://HOST/3")]
    Database,
    #[error("{0} has no databases: nothing follows the host but ?OPTIONS")]
    Path(&'static str),
    #[error("the nodes name different {0}: one will do for all")]
    Different(&'static str),
    #[error("there is no option of that name for {0}, only {1}")]
    Option(&'static str, &'static str),
    #[error("the option {0} is empty")]
    OptionEmpty(&'static str),
    #[error("the option replicas is a number from 1 to 5")]
    Replicas,
    #[error("the option ca is for {0}://, which is encrypted")]
    CaUnused(&'static str),
    #[error("a credentials file and a user are two ways in: give one")]
    TwoCredentials,
}

/// How the scheme of an address is spelt, and what follows from it.
struct Scheme {
    name: &'static str,
    kind: EngineKind,
    encrypted: bool,
}

const SCHEMES: [Scheme; 4] = [
    Scheme { name: "redis", kind: EngineKind::Redis, encrypted: false },
    Scheme { name: "rediss", kind: EngineKind::Redis, encrypted: true },
    Scheme { name: "nats", kind: EngineKind::Nats, encrypted: false },
    Scheme { name: "tls", kind: EngineKind::Nats, encrypted: true },
];

impl EngineKind {
    /// As its makers write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Nats => "NATS",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Redis => 6379,
            Self::Nats => 4222,
        }
    }

    fn options(self) -> &'static str {
        match self {
            Self::Redis => "ca and master",
            Self::Nats => "ca, creds and replicas",
        }
    }
}

impl Address {
    /// Reads the text of the setting.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressFault> {
        let (scheme, _) = text.split_once("://").ok_or(AddressFault::Scheme)?;
        let scheme = SCHEMES.iter().find(|known| known.name == scheme).ok_or(AddressFault::Scheme)?;
        let mut draft = Draft::default();
        for (index, item) in text.split(',').enumerate() {
            let item = match item.split_once("://") {
                Some((same, rest)) if same == scheme.name => rest,
                Some(_) => return Err(AddressFault::OtherScheme(scheme.name)),
                None => item,
            };
            draft.node(item, index + 1, scheme)?;
        }
        draft.finish(scheme)
    }

    fn scheme(&self) -> &'static str {
        let scheme = SCHEMES.iter().find(|known| known.kind == self.kind && known.encrypted == self.encrypted);
        scheme.map_or("", |scheme| scheme.name)
    }
}

/// For logs: without credentials and options.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme())?;
        for (index, node) in self.nodes.iter().enumerate() {
            write!(f, "{}{node}", if index == 0 { "" } else { "," })?;
        }
        match self.database {
            0 => Ok(()),
            database => write!(f, "/{database}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// What the nodes read so far have said.
#[derive(Default)]
struct Draft {
    nodes: Vec<Node>,
    credentials: Option<Credentials>,
    database: Option<i64>,
    options: Options,
}

impl Draft {
    /// Reads `[user[:password]@]host[:port][/path][?options]`.
    fn node(&mut self, item: &str, number: usize, scheme: &Scheme) -> Result<(), AddressFault> {
        let (item, options) = item.split_once('?').unwrap_or((item, ""));
        let (item, path) = item.split_once('/').unwrap_or((item, ""));
        let (user, place) = match item.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, item),
        };
        if let Some(user) = user {
            once(&mut self.credentials, credentials(user, scheme.kind)?, "users or passwords")?;
        }
        self.nodes.push(node(place, number, scheme.kind)?);
        if !path.is_empty() {
            once(&mut self.database, database(path, scheme.kind)?, "databases")?;
        }
        for (name, value) in url::form_urlencoded::parse(options.as_bytes()) {
            self.option(&name, &value, scheme.kind)?;
        }
        Ok(())
    }

    fn option(&mut self, name: &str, value: &str, kind: EngineKind) -> Result<(), AddressFault> {
        let filled = |name| if value.is_empty() { Err(AddressFault::OptionEmpty(name)) } else { Ok(value.to_owned()) };
        let options = &mut self.options;
        match (name, kind) {
            ("ca", _) => once(&mut options.ca, filled("ca")?.into(), "certificates"),
            ("creds", EngineKind::Nats) => once(&mut options.creds, filled("creds")?.into(), "credentials files"),
            ("master", EngineKind::Redis) => once(&mut options.master, filled("master")?, "masters"),
            ("replicas", EngineKind::Nats) => {
                let replicas = value.parse().ok().filter(|replicas| (1..=5).contains(replicas));
                once(&mut options.replicas, replicas.ok_or(AddressFault::Replicas)?, "numbers of replicas")
            }
            _ => Err(AddressFault::Option(kind.name(), kind.options())),
        }
    }

    fn finish(self, scheme: &Scheme) -> Result<Address, AddressFault> {
        let Self { nodes, credentials, database, options } = self;
        if options.ca.is_some() && !scheme.encrypted {
            return Err(AddressFault::CaUnused(if scheme.kind == EngineKind::Redis { "rediss" } else { "tls" }));
        }
        if options.creds.is_some() && credentials.is_some() {
            return Err(AddressFault::TwoCredentials);
        }
        let credentials = credentials.unwrap_or(Credentials::None);
        let database = database.unwrap_or(0);
        Ok(Address { kind: scheme.kind, encrypted: scheme.encrypted, nodes, credentials, database, options })
    }
}

/// What several nodes may say, but not differently.
fn once<T: PartialEq>(slot: &mut Option<T>, value: T, what: &'static str) -> Result<(), AddressFault> {
    match slot {
        Some(known) if *known != value => Err(AddressFault::Different(what)),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

fn credentials(text: &str, kind: EngineKind) -> Result<Credentials, AddressFault> {
    let decoded = |text| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| AddressFault::Encoding);
    match (text.split_once(':'), kind) {
        (Some((user, password)), _) => {
            let user = Some(decoded(user)?).filter(|user| !user.is_empty());
            Ok(Credentials::Password { user, password: Password(decoded(password)?) })
        }
        (None, EngineKind::Nats) => Ok(Credentials::Token(Password(decoded(text)?))),
        (None, EngineKind::Redis) => Err(AddressFault::NoPassword),
    }
}

fn node(place: &str, number: usize, kind: EngineKind) -> Result<Node, AddressFault> {
    let (host, port) = match place.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, port))) => (host, port),
        Some(None) => return Err(AddressFault::Host(number)),
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    if host.is_empty() {
        return Err(AddressFault::NoHost(number));
    }
    let host = url::Host::parse(&match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    });
    let host = host.map_err(|_| AddressFault::Host(number))?.to_string();
    // Some characters stand for several others, among which are commas.
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)) {
        return Err(AddressFault::Host(number));
    }
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port != 0).ok_or(AddressFault::Port(number))?,
        None if port.is_empty() => kind.port(),
        None => return Err(AddressFault::Host(number)),
    };
    Ok(Node { host: host.trim_matches(['[', ']']).to_owned(), port })
}

fn database(path: &str, kind: EngineKind) -> Result<i64, AddressFault> {
    match kind {
        EngineKind::Nats => Err(AddressFault::Path(kind.name())),
        EngineKind::Redis if path.len() <= 6 && path.bytes().all(|byte| byte.is_ascii_digit()) => {
            path.parse().map_err(|_| AddressFault::Database)
        }
        EngineKind::Redis => Err(AddressFault::Database),
    }
}

#[cfg(test)]
mod tests;
