//! Connections to NATS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{Context, context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

use super::super::address::{Address, Credentials};
use super::super::engine::{EngineError, PATIENCE};
use super::super::slot::{Fate, Fault};
use super::super::tls;

/// How often a connection on which nothing comes is tried. After the third time without an answer it is given up.
const PING_EVERY: Duration = Duration::from_secs(2);
/// Messages on their way to the socket, beside what is in its buffer.
const UNSENT_MAX: usize = 64;

/// A connection, until it is lost for the first time: what had been asked before is not answered after that.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    context: Context,
    lost: Lost,
}

/// Tells when a connection is lost.
#[derive(Debug, Clone)]
pub(super) struct Lost(watch::Receiver<bool>);

impl Lost {
    fn already(&self) -> bool {
        *self.0.borrow()
    }

    pub(super) async fn gone(&mut self) {
        // Without the one who would tell, it is gone as well.
        let _ = self.0.wait_for(|lost| *lost).await;
    }
}

impl Link {
    pub(super) async fn open(address: &Address) -> Result<Self, EngineError> {
        let (lose, lost) = watch::channel(false);
        let lose = Arc::new(lose);
        let options = ConnectOptions::new()
            .name("sse-server")
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .ping_interval(PING_EVERY)
            .client_capacity(UNSENT_MAX)
            // It would reconnect for as long as we hold it. One round is what connecting takes to begin with.
            .max_reconnects(address.nodes.len())
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::Closed | Event::LameDuckMode) {
                    lose.send_replace(true);
                }
                std::future::ready(())
            });
        let options = encrypted(identified(options, address).await?, address).await?;
        let client = options.connect(servers(address)?).await.map_err(unconnected)?;
        let context = context::ContextBuilder::new().timeout(PATIENCE).build(client.clone());
        Ok(Self { client, context, lost: Lost(lost) })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) async fn stream(&self, name: &str) -> Result<Stream<()>, Fault> {
        self.context.get_stream_no_info(name).await.map_err(|error| Fault::refused(error.to_string()))
    }

    pub(super) fn lost(&self) -> Lost {
        self.lost.clone()
    }

    /// What is answered before the connection is lost.
    pub(super) async fn on<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let mut lost = self.lost();
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|fault| if lost.already() { Fault { link: Fate::Gone, ..fault } } else { fault }),
            () = lost.gone() => Err(Fault::away("the connection is lost")),
        }
    }
}

fn servers(address: &Address) -> Result<Vec<ServerAddr>, EngineError> {
    let scheme = if address.encrypted { "tls" } else { "nats" };
    let server =
        |node| format!("{scheme}://{node}").parse().map_err(|error| EngineError::Refused(format!("{node}: {error}")));
    address.nodes.iter().map(server).collect()
}

async fn identified(options: ConnectOptions, address: &Address) -> Result<ConnectOptions, EngineError> {
    if let Some(path) = &address.options.creds {
        let text = credentials_file(path).await?;
        // Without the reason, which could show what is in the file.
        return options
            .credentials(&text)
            .map_err(|_| EngineError::Refused(format!("{}: no credentials", path.display())));
    }
    Ok(match &address.credentials {
        Credentials::None => options,
        Credentials::Password { user, password } => {
            options.user_and_password(user.clone().unwrap_or_default(), password.0.clone())
        }
        Credentials::Token(token) => options.token(token.0.clone()),
    })
}

async fn credentials_file(path: &Path) -> Result<String, EngineError> {
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await;
    let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    read.map_err(|error| EngineError::Refused(format!("the option creds, {}: {error}", path.display())))
}

async fn encrypted(options: ConnectOptions, address: &Address) -> Result<ConnectOptions, EngineError> {
    match address.encrypted {
        true => {
            let config = tls::client_config(address.options.ca.as_deref()).await?;
            Ok(options.require_tls(true).tls_client_config(config))
        }
        false => Ok(options),
    }
}

fn unconnected(error: async_nats::ConnectError) -> EngineError {
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::ServerParse => {
            EngineError::Refused(error.to_string())
        }
        _ => EngineError::Unavailable(error.to_string()),
    }
}
