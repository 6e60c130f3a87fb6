//! Connections to one process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, Value, cmd};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::super::address::{Address, Credentials, Node};
use super::super::engine::EngineError;
use super::super::slot::Fault;
use super::super::tls;
use super::script::Script;
use super::{Store, locate, reply};

/// Bytes that are written at one go. Entries are small as a rule, and many.
const WRITE_BYTES: usize = 64 * 1024;
/// Keep-alive probes find out about machines that have vanished, beside the deadline of every command.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A connection to one process.
pub(super) struct Wire {
    connection: MultiplexedConnection,
    driver: AbortHandle,
    /// What became of the credentials: sentinels often want none.
    admitted: Result<(), Fault>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) async fn open(address: &Address, node: &Node) -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::away(format!("connecting to {node}: {error}"));
        let stream = TcpStream::connect((node.host.as_str(), node.port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive).map_err(failed)?;
        if !address.encrypted {
            return Self::over(address, stream).await;
        }
        let config = tls::client_config(address.options.ca.as_deref()).await.map_err(Fault::from)?;
        let name =
            ServerName::try_from(node.host.clone()).map_err(|_| Fault::refused(format!("{node} has no name")))?;
        Self::over(address, TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(failed)?).await
    }

    async fn over<S>(address: &Address, stream: S) -> Result<Self, Fault>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        // Every call has a deadline of its own; one for each answer would end the wait for entries.
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_write_backpressure_boundary(WRITE_BYTES);
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        let driver = tokio::spawn(driver).abort_handle();
        let mut wire = Self { connection, driver, admitted: Ok(()) };
        wire.admitted = match authentication(&address.credentials) {
            Some(command) => wire.ask(&command).await.map(drop),
            None => Ok(()),
        };
        Ok(wire)
    }

    /// Why the credentials were not taken, if they were not.
    pub(super) fn refused(&mut self) -> Option<Fault> {
        std::mem::replace(&mut self.admitted, Ok(())).err()
    }

    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Fault> {
        match self.connection.clone().send_packed_command(command).await? {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        }
    }

    /// The answers of many commands; what failed is among them.
    pub(super) async fn ask_all(&self, batch: &Pipeline) -> Result<Vec<Value>, Fault> {
        Ok(self.connection.clone().send_packed_commands(batch, 0, batch.len()).await?)
    }
}

fn authentication(credentials: &Credentials) -> Option<Cmd> {
    let (user, secret) = match credentials {
        Credentials::None => return None,
        Credentials::Password { user, password } => (user.as_deref(), password),
        Credentials::Token(password) => (None, password),
    };
    let mut command = cmd("AUTH");
    if let Some(user) = user {
        command.arg(user);
    }
    command.arg(&secret.0);
    Some(command)
}

/// A connection to where our keys are, with our scripts.
#[derive(Debug)]
pub(super) struct Link {
    wire: Wire,
    pub(super) version: Version,
    scripts: Vec<String>,
    /// The largest entry that it takes.
    pub(super) entry_bytes_max: usize,
}

/// What answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) patch: u64,
}

impl Version {
    /// Of `7.0.15`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        Some(Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? })
    }

    /// It gives out the next number of a stream by itself.
    pub(super) fn counts(self) -> bool {
        self.major >= 7
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Link {
    /// Room for a command around the entry.
    const OVERHEAD: usize = 1024;
    /// What Redis takes unless it is told otherwise.
    const BULK_BYTES_MAX: usize = 512 << 20;

    pub(super) async fn open(store: &Store) -> Result<Self, EngineError> {
        let (wire, version) = locate::find(&store.settings.address, &store.names.events).await?;
        let mut batch = Pipeline::new();
        for script in Script::ALL {
            batch.cmd("SCRIPT").arg("LOAD").arg(script.text());
        }
        batch.cmd("CONFIG").arg("GET").arg("proto-max-bulk-len");
        // For whoever looks at the list of clients.
        batch.cmd("CLIENT").arg("SETNAME").arg("sse-server");
        let answers = wire.ask_all(&batch).await?;
        let scripts = answers[..Script::ALL.len()].iter().map(reply::text).collect::<Result<_, _>>()?;
        let bulk = reply::setting(&answers[Script::ALL.len()]).and_then(|bytes| bytes.parse().ok());
        let entry_bytes_max = bulk.unwrap_or(Self::BULK_BYTES_MAX).saturating_sub(Self::OVERHEAD);
        Ok(Self { wire, version, scripts, entry_bytes_max })
    }

    /// The script, to be followed by the number of its keys.
    pub(super) fn script(&self, script: Script) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.scripts[script as usize]);
        command
    }

    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Fault> {
        self.wire.ask(command).await
    }

    pub(super) async fn ask_all(&self, batch: &Pipeline) -> Result<Vec<Value>, Fault> {
        self.wire.ask_all(batch).await
    }
}
