//! TLS: how connections shake hands, and with which certificate.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Config;
use crate::late_socket::LateSocket;
use crate::signals::Signals;
use crate::transport::{MeteredSocket, linger};

mod certificate;

use certificate::ReloadingCertificate;
pub(crate) use certificate::check as check_certificate;

/// From the first byte to the last of a handshake.
const HANDSHAKE_MAX: Duration = Duration::from_millis(3_500);
/// Handshakes in which the client has made itself heard, and waits for keys to be worked out. Others wait their turn.
const HANDSHAKES_MAX: usize = 256;
/// A ticket lets a client that comes back skip half of the work.
const TICKETS: usize = 1;
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much who spoke no TLS may still send.
const LINGER_BYTES_MAX: u64 = 64 * 1024;
/// Failed handshakes are anybody's to make: they are told of together.
const FAILURES_EVERY: Duration = Duration::from_secs(10);

/// What handshakes need.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    certificate: Arc<ReloadingCertificate>,
    turns: Semaphore,
    signals: Signals,
    failures: Mutex<Failures>,
    /// From the start, as it would end the process otherwise.
    hangup: Mutex<Option<Signal>>,
}

#[derive(Debug, Default)]
struct Failures {
    count: u64,
    told_at: Option<Instant>,
}

impl Tls {
    /// `None` unless a certificate is set.
    ///
    /// # Errors
    /// When the certificate cannot be used, or the system lets nobody watch for SIGHUP.
    pub(crate) fn new(config: &Config, signals: &Signals) -> io::Result<Option<Self>> {
        let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
        let certificate = ReloadingCertificate::load(cert.clone(), key.clone()).map_err(io::Error::other)?;
        let certificate = Arc::new(certificate);
        signals.certificate_valid_until(certificate.valid_until());
        let config = server_config(certificate.clone()).map_err(io::Error::other)?;
        Ok(Some(Self {
            config: Arc::new(config),
            certificate,
            turns: Semaphore::new(HANDSHAKES_MAX),
            signals: signals.clone(),
            failures: Mutex::default(),
            hangup: Mutex::new(Some(signal(SignalKind::hangup())?)),
        }))
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// The word for metrics.
    pub(crate) async fn accept(&self, socket: LateSocket) -> Result<TlsStream<MeteredSocket>, &'static str> {
        let mut reason = "tls_timeout";
        let shaken = timeout(HANDSHAKE_MAX, self.shake(socket, &mut reason)).await;
        match shaken {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                reason = "tls_handshake";
                self.failed(&error);
            }
            Err(_) => (),
        }
        Err(reason)
    }

    async fn shake(&self, socket: LateSocket, reason: &mut &'static str) -> io::Result<TlsStream<MeteredSocket>> {
        let mut acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), MeteredSocket::new(socket));
        // Whoever says nothing takes nobody's turn.
        let hello = match (&mut acceptor).await {
            Ok(hello) => hello,
            Err(error) => {
                if let Some(socket) = acceptor.take_io() {
                    linger(socket.into_inner(), LINGER_BYTES_MAX).await;
                }
                return Err(error);
            }
        };
        *reason = "tls_busy";
        let _turn = self.turns.acquire().await.map_err(io::Error::other)?;
        *reason = "tls_timeout";
        hello.into_stream(self.config.clone()).await
    }

    fn failed(&self, error: &io::Error) {
        tracing::debug!(%error, "a TLS handshake failed");
        let mut failures = self.failures.lock();
        failures.count += 1;
        if failures.told_at.is_some_and(|at| at.elapsed() < FAILURES_EVERY) {
            return;
        }
        let count = std::mem::take(&mut failures.count);
        failures.told_at = Some(Instant::now());
        drop(failures);
        tracing::warn!(count, last = %error, "TLS handshakes failed");
    }

    /// Reads the files again whenever they have changed, or at once on SIGHUP. What cannot be used leaves what is there.
    pub(crate) async fn keep_fresh(&self) {
        let mut hangup = self.hangup.lock().take();
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let is_asked = tokio::select! {
                _ = look.tick() => false,
                Some(()) = async { hangup.as_mut()?.recv().await } => true,
            };
            match self.certificate.reload(is_asked) {
                Ok(false) => (),
                Ok(true) => {
                    self.signals.certificate_reloaded("ok");
                    self.signals.certificate_valid_until(self.certificate.valid_until());
                    tracing::info!("the certificate was read again");
                }
                Err(error) => {
                    self.signals.certificate_reloaded("failed");
                    tracing::error!(%error, "the certificate cannot be used; the one before stays");
                }
            }
        }
    }
}

fn server_config(certificate: Arc<ReloadingCertificate>) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // What a client needs to come back quickly is in its ticket, and takes no memory here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = TICKETS;
    Ok(config)
}
