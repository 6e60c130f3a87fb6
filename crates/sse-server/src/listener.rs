//! Listening: sockets with their options, and an accept loop that survives a full descriptor table.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::app::App;
use crate::connection;
use crate::reserve::Reserve;

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Bytes of a socket's send buffer; the kernel counts it twice. It bounds what a client that reads nothing pins.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// How long sent bytes may go without an acknowledgement before the peer counts as gone.
const USER_TIMEOUT: Duration = Duration::from_secs(20);
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Pauses after a failed accept: without one a full descriptor table would spin a core.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Binds a listener whose connections inherit every option they need: none costs a call per connection.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    set_stream_options(&SockRef::from(&socket))?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn set_stream_options(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL))?;
    Ok(())
}

/// Accepts until the future is dropped.
pub(crate) async fn accept_loop(app: Arc<App>, listener: TcpListener) {
    let spare = Reserve::of(1);
    let mut pause = PAUSE_MIN;
    loop {
        match listener.accept().await {
            Ok((socket, remote_addr)) => {
                pause = PAUSE_MIN;
                begin(&app, socket, remote_addr);
            }
            Err(error) => {
                app.signals.connection_rejected(reason(&error));
                if is_descriptor_shortage(&error) {
                    turn_one_away(&listener, &spare);
                }
                if pause == PAUSE_MIN {
                    tracing::warn!(%error, "cannot accept connections");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

fn begin(app: &Arc<App>, socket: TcpStream, remote_addr: SocketAddr) {
    match app.connections.enter(&app.limits, remote_addr.ip()) {
        Ok(permit) => {
            tokio::spawn(connection::serve(app.clone(), socket, remote_addr, permit));
        }
        Err(reason) => app.signals.connection_rejected(reason),
    }
}

/// Whether the process, or the system, has no descriptor left.
pub(crate) fn is_descriptor_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::MFILE.raw_os_error() || code == rustix::io::Errno::NFILE.raw_os_error())
}

fn reason(error: &io::Error) -> &'static str {
    if is_descriptor_shortage(error) { "descriptors" } else { "accept" }
}

/// The first of those who wait is accepted on the spare descriptor and closed, so that it learns of its luck at once.
fn turn_one_away(listener: &TcpListener, spare: &Reserve) {
    spare.give();
    drop(SockRef::from(listener).accept());
    spare.refill();
}
