//! Listening: sockets with their options, and an accept loop that survives a full descriptor table.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;

use crate::app::App;
use crate::arrival;
use crate::late_socket::LateSocket;
use crate::reserve::Reserve;
use crate::upgrade::while_serving;

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Bytes of a socket's send buffer; the kernel counts it twice. It bounds what a client that reads nothing pins.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// How long sent bytes may go without an acknowledgement before the peer counts as gone.
const USER_TIMEOUT: Duration = Duration::from_secs(20);
/// Seconds for which the kernel keeps a connection to itself that has sent nothing. With its first bytes it is handed out at
/// once, so that it is looked at once.
const DEFER_SECONDS: i32 = 1;
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Pauses after a failed accept: without one a full descriptor table would spin a core.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A bound listener of the public side. Its connections are accepted without the runtime watching them.
#[derive(Debug)]
pub(crate) struct PublicListener(AsyncFd<mio::net::TcpListener>);

impl PublicListener {
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::new(bind_socket(addr)?)
    }

    /// Takes over a socket that somebody else has bound.
    ///
    /// # Errors
    /// When it does not take the options that it needs.
    pub(crate) fn adopt(listener: std::net::TcpListener) -> io::Result<Self> {
        Self::new(adopt_socket(listener)?)
    }

    fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        defer(&listener)?;
        Ok(Self(watched(mio::net::TcpListener::from_std(listener))?))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    /// Its socket once more.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.get_ref().as_fd().try_clone_to_owned()
    }

    async fn accept(&self) -> io::Result<(LateSocket, SocketAddr)> {
        let (socket, remote_addr) = self.0.async_io(Interest::READABLE, mio::net::TcpListener::accept).await?;
        Ok((LateSocket::new(socket.into()), remote_addr))
    }
}

/// Binds a listener for the admin side.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(bind_socket(addr)?)
}

/// Takes over a socket for the admin side.
///
/// # Errors
/// When it does not take the options that it needs.
pub(crate) fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    TcpListener::from_std(adopt_socket(listener)?)
}

/// Gives a bound socket what [`bind_socket`] gives one. How many may wait is up to who bound it.
fn adopt_socket(listener: std::net::TcpListener) -> io::Result<std::net::TcpListener> {
    listener.set_nonblocking(true)?;
    set_stream_options(&SockRef::from(&listener))?;
    Ok(listener)
}

/// Binds a listener whose connections inherit every option they need: none costs a call per connection.
fn bind_socket(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    set_stream_options(&SockRef::from(&socket))?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn set_stream_options(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL))?;
    Ok(())
}

/// tokio's own listener would watch each connection as it accepts it.
#[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
fn watched(listener: mio::net::TcpListener) -> io::Result<AsyncFd<mio::net::TcpListener>> {
    // SAFETY: the listener owns its descriptor, never changes it, and lives as long as the `AsyncFd` that owns it.
    unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }.map_err(Into::into)
}

/// Has the kernel keep connections until their first bytes are there.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library has a safe interface to this")]
fn defer(listener: &std::net::TcpListener) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let seconds = DEFER_SECONDS;
    let (value, len) = (&raw const seconds, size_of_val(&seconds) as libc::socklen_t);
    // SAFETY: the descriptor is open for as long as the listener is borrowed, and `value` points to the `len` bytes of `seconds`.
    let done =
        unsafe { libc::setsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, value.cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Other systems hand connections out as they come.
#[cfg(not(target_os = "linux"))]
fn defer(_listener: &std::net::TcpListener) -> io::Result<()> {
    Ok(())
}

/// Accepts until the future is dropped.
pub(crate) async fn accept_loop(app: Arc<App>, listener: PublicListener) {
    let mut phase = app.succession.watch();
    let spare = Reserve::of(1);
    let mut pause = PAUSE_MIN;
    loop {
        match while_serving(&mut phase, listener.accept()).await {
            Ok((socket, remote_addr)) => {
                pause = PAUSE_MIN;
                begin(&app, socket, remote_addr).await;
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

async fn begin(app: &Arc<App>, socket: LateSocket, remote_addr: SocketAddr) {
    match app.connections.enter(&app.limits, remote_addr.ip()) {
        // A handshake takes a while, and several may be worked out at once.
        Ok(permit) if app.tls.is_some() => drop(tokio::spawn(arrival::serve(app.clone(), socket, remote_addr, permit))),
        Ok(permit) => look_once(arrival::serve(app.clone(), socket, remote_addr, permit)).await,
        Err(reason) => app.signals.connection_rejected(reason),
    }
}

/// Polls the connection here and now; it becomes a task only if it is not done with that, as most requests for a stream are.
async fn look_once(serving: impl Future<Output = ()> + Send + 'static) {
    let mut serving = Box::pin(serving);
    // As in a task of its own: a panic ends this connection, and is logged as any other.
    let mut look = |cx: &mut std::task::Context<'_>| catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(cx)));
    if let Ok(Poll::Pending) = std::future::poll_fn(|cx| Poll::Ready(look(cx))).await {
        tokio::spawn(serving);
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
fn turn_one_away(listener: &PublicListener, spare: &Reserve) {
    spare.give();
    drop(listener.0.get_ref().accept());
    spare.refill();
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;

    use super::*;

    async fn listener() -> (PublicListener, SocketAddr) {
        let listener = PublicListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    #[tokio::test]
    async fn connections_inherit_their_options() {
        let (listener, addr) = listener().await;
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"G").unwrap();
        let (socket, remote_addr) = listener.accept().await.unwrap();
        assert_eq!(remote_addr, client.local_addr().unwrap());
        let socket = socket.into_unwatched().unwrap();
        let socket = SockRef::from(&socket);
        assert!(socket.tcp_nodelay().unwrap() && socket.nonblocking().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * SEND_BUFFER_BYTES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
    }

    #[tokio::test]
    async fn connections_of_a_socket_taken_over_inherit_them_too() {
        let bare = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = PublicListener::adopt(bare).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"G").unwrap();
        let socket = listener.accept().await.unwrap().0.into_unwatched().unwrap();
        let socket = SockRef::from(&socket);
        assert!(socket.tcp_nodelay().unwrap() && socket.nonblocking().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * SEND_BUFFER_BYTES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }

    #[tokio::test]
    async fn who_says_nothing_stays_with_the_kernel() {
        let (listener, addr) = listener().await;
        let silent = TcpStream::connect(addr).unwrap();
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"G").unwrap();
        let first = listener.accept().await.unwrap().1;
        assert_eq!(first, client.local_addr().unwrap(), "the silent one came before");
        let second = listener.accept().await.unwrap().1;
        assert_eq!(second, silent.local_addr().unwrap(), "not for ever");
    }
}
