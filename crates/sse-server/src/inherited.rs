//! Listeners that the service manager has opened, and passes to the server (systemd's socket activation): the port is there
//! before the server is, and stays while another one takes its place.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{SockRef, Type};

/// What the socket unit calls the public listeners, and the admin listener.
const PUBLIC: &str = "public";
const ADMIN: &str = "admin";
/// What a descriptor is called that the unit gives no name: this, or the unit.
const UNNAMED: &str = "unknown";
const UNIT: &str = ".socket";

/// Sockets that listen already.
#[derive(Debug, Default)]
pub struct Inherited {
    public: Vec<(SocketAddr, TcpListener)>,
    admin: Option<(SocketAddr, TcpListener)>,
}

/// What was passed cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InheritError {
    /// `LISTEN_FDS` and what belongs to it do not fit the descriptors that are open.
    #[error("cannot take the sockets that LISTEN_FDS tells of")]
    Variables(#[source] io::Error),
    /// A socket that listens for nothing the server has.
    #[error("there is no listener `{0}` for a socket, FileDescriptorName= is `public` or `admin`")]
    Name(String),
    /// A pipe, a file, a socket of another kind.
    #[error("the socket `{0}` is not one of TCP that listens: it needs ListenStream= with an address")]
    NotListening(String),
    /// The admin listener is one.
    #[error("there are two sockets for the admin listener, which takes one")]
    SecondAdmin,
}

impl Inherited {
    /// Takes what was passed to this process, the first time it is called; then, and without a service manager, nothing.
    ///
    /// # Errors
    /// When something was passed that is not a listener of the server.
    pub fn take() -> Result<Self, InheritError> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let mut inherited = Self::default();
        // Names alone are left over from another process's sockets.
        let is_any = sd_notify::listen_fds().map_err(InheritError::Variables)?.len() > 0;
        if !is_any || TAKEN.swap(true, Ordering::Relaxed) {
            return Ok(inherited);
        }
        for (descriptor, name) in sd_notify::listen_fds_with_names().map_err(InheritError::Variables)? {
            inherited.add(&name, owned(descriptor))?;
        }
        Ok(inherited)
    }

    /// Those of a process that this one succeeds.
    pub(crate) fn passed_on(
        addrs: &[SocketAddr],
        public: Vec<TcpListener>,
        admin: Option<(SocketAddr, TcpListener)>,
    ) -> Self {
        Self { public: addrs.iter().copied().zip(public).collect(), admin }
    }

    /// Whether there is any.
    pub(crate) fn is_empty(&self) -> bool {
        self.public.is_empty() && self.admin.is_none()
    }

    fn add(&mut self, name: &str, descriptor: OwnedFd) -> Result<(), InheritError> {
        let addr = listening_at(&descriptor).ok_or_else(|| InheritError::NotListening(name.to_owned()))?;
        let listener = (addr, TcpListener::from(descriptor));
        match name {
            ADMIN if self.admin.is_some() => return Err(InheritError::SecondAdmin),
            ADMIN => self.admin = Some(listener),
            _ if name == PUBLIC || name == UNNAMED || name.ends_with(UNIT) => self.public.push(listener),
            _ => return Err(InheritError::Name(name.to_owned())),
        }
        Ok(())
    }

    /// Their addresses, each with the setting whose place it takes.
    pub fn settings(&self) -> Vec<(&'static str, SocketAddr)> {
        let public = self.public.iter().map(|(addr, _)| ("listen", *addr));
        public.chain(self.admin.iter().map(|(addr, _)| ("admin_listen", *addr))).collect()
    }

    /// The public listener at an address, if there is one. Port 0 is any port.
    pub(crate) fn take_public(&mut self, addr: SocketAddr) -> Option<TcpListener> {
        let is_any = |at: &SocketAddr| addr.port() == 0 && at.ip() == addr.ip();
        let exactly = self.public.iter().position(|(at, _)| *at == addr);
        let index = exactly.or_else(|| self.public.iter().position(|(at, _)| is_any(at)))?;
        Some(self.public.swap_remove(index).1)
    }

    /// The admin listener, if it is at this address.
    pub(crate) fn take_admin(&mut self, addr: SocketAddr) -> Option<TcpListener> {
        let fits = |at: &SocketAddr| *at == addr || (addr.port() == 0 && at.ip() == addr.ip());
        self.admin.take_if(|(at, _)| fits(at)).map(|(_, listener)| listener)
    }
}

/// The address of a TCP socket that listens.
fn listening_at(descriptor: &OwnedFd) -> Option<SocketAddr> {
    let socket = SockRef::from(descriptor);
    let is_listening = socket.r#type().ok()? == Type::STREAM && socket.is_listener().ok()?;
    socket.local_addr().ok().filter(|_| is_listening)?.as_socket()
}

#[expect(unsafe_code, reason = "it comes as a number")]
fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: it is open, as `listen_fds` has set a flag of it; it was passed for this process to own, and each is taken once.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    #[test]
    fn each_goes_where_its_name_says() {
        let mut inherited = Inherited::default();
        for name in ["public", "unknown", "sse-server.socket", "admin"] {
            inherited.add(name, listener()).unwrap();
        }
        let keys: Vec<&str> = inherited.settings().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["listen", "listen", "listen", "admin_listen"]);
        let (second, admin) = (inherited.settings()[1].1, inherited.settings()[3].1);
        assert_eq!(inherited.take_public(second).unwrap().local_addr().unwrap(), second);
        assert!(inherited.take_public(second).is_none() && inherited.take_admin(admin).is_some());
    }

    #[test]
    fn what_is_no_listener_of_the_server_is_refused() {
        let refusal = |name: &str, descriptor: OwnedFd| Inherited::default().add(name, descriptor).unwrap_err();
        assert!(matches!(refusal("admn", listener()), InheritError::Name(name) if name == "admn"));
        let (reader, _writer) = io::pipe().unwrap();
        let local = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let connected = std::net::TcpStream::connect(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        for other in [OwnedFd::from(reader), local.into(), datagrams.into(), connected.unwrap().into()] {
            assert!(matches!(refusal("public", other), InheritError::NotListening(_)));
        }
        let mut inherited = Inherited::default();
        inherited.add("admin", listener()).unwrap();
        assert!(matches!(inherited.add("admin", listener()), Err(InheritError::SecondAdmin)));
    }
}
