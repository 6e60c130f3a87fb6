//! A connection's first bytes, which tell what it speaks.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::app::App;
use crate::connection::{self, FIRST_BYTE_MAX};
use crate::gauge::ConnectionPermit;
use crate::http2::{self, PREFACE};
use crate::late_socket::LateSocket;
use crate::transport::{MeteredSocket, Transport};

/// Bytes read at a time: most requests come in one.
const READ_BYTES: usize = 8 * 1024;
/// From the first byte of HTTP/2's preface to its last.
const PREFACE_MAX: Duration = Duration::from_secs(3);

/// Serves a connection that was accepted.
pub(crate) async fn serve(app: Arc<App>, socket: LateSocket, remote_addr: SocketAddr, permit: ConnectionPermit) {
    let arrived = match &app.tls {
        None => first_bytes(socket).await,
        Some(tls) => tls.accept(socket).await.map(Arrived::over_tls).map_err(Some),
    };
    let Arrived { transport, first, is_http2 } = match arrived {
        Ok(arrived) => arrived,
        Err(reason) => {
            if let Some(reason) = reason {
                app.signals.connection_rejected(reason);
                tracing::debug!(%remote_addr, reason, "connection closed");
            }
            return;
        }
    };
    if is_http2 {
        // Boxed, so that it takes no room in the tasks of the others.
        Box::pin(http2::serve(app, transport, &first, remote_addr, permit)).await;
    } else {
        connection::serve(app, transport, first, remote_addr, permit).await;
    }
}

/// A connection that has said what it speaks.
struct Arrived {
    transport: Transport,
    /// What was read to find out.
    first: Vec<u8>,
    is_http2: bool,
}

impl Arrived {
    fn over_tls(stream: TlsStream<MeteredSocket>) -> Self {
        let transport = Transport::Tls(Box::new(stream));
        Self { is_http2: transport.is_http2(), transport, first: Vec::new() }
    }
}

/// As much as it takes to tell HTTP/2 from HTTP/1.1. hyper could tell as well, but then not be taken apart, and it would
/// wait for ever (TRAPS S2).
///
/// # Errors
/// When nothing came, the reason if that was ours.
async fn first_bytes(mut socket: LateSocket) -> Result<Arrived, Option<&'static str>> {
    let mut first = Vec::new();
    let len = timeout(FIRST_BYTE_MAX, read_more(&mut socket, &mut first)).await.map_err(|_| "silent")?;
    if len.is_ok_and(|len| len > 0) {
        let preface = async {
            while is_undecided(&first) && read_more(&mut socket, &mut first).await.is_ok_and(|len| len > 0) {}
        };
        timeout(PREFACE_MAX, preface).await.map_err(|_| "slow_head")?;
    }
    // Half a preface is HTTP/1.1's to refuse.
    if first.is_empty() {
        return Err(None);
    }
    Ok(Arrived { transport: Transport::Plain(socket), is_http2: first.starts_with(PREFACE), first })
}

/// Whether these may be the first bytes of the preface.
fn is_undecided(first: &[u8]) -> bool {
    first.len() < PREFACE.len() && PREFACE.starts_with(first)
}

/// Appends what comes next; how much it was.
async fn read_more(socket: &mut LateSocket, first: &mut Vec<u8>) -> io::Result<usize> {
    std::future::poll_fn(|cx| {
        let mut scratch = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut *socket).poll_read(cx, &mut buffer))?;
        first.extend_from_slice(buffer.filled());
        io::Result::Ok(buffer.filled().len()).into()
    })
    .await
}
