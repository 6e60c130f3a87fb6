//! The server under test, and clients that speak bytes to it.

mod connection;
mod log;
mod publisher;
mod reply;
mod request;
mod server;
mod stream;
pub(crate) mod token;

use std::time::{Duration, Instant};

pub(crate) use connection::{Connection, End};
pub(crate) use publisher::ids;
pub(crate) use reply::{Head, Reply};
pub(crate) use request::Request;
pub(crate) use server::{Launch, Server};
pub(crate) use stream::{Event, Item, Stream};

/// How long any fact may take to come true. It is reached only by a test that fails, so it is generous: the machine may
/// be busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// How a stream's bytes get to its socket. The two must not be told apart from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamPath {
    /// A writer thread owns the socket.
    Writers,
    /// hyper keeps it, and the stream is a body.
    Hyper,
}

impl StreamPath {
    /// Starts a server whose streams take this path.
    pub(crate) fn start(self, flags: &[&str]) -> Server {
        let mut all: Vec<&str> = flags.to_vec();
        if self == Self::Hyper {
            all.extend(["--writers", "off"]);
        }
        Server::start(&all)
    }
}

/// Makes two tests of each function: one for every [`StreamPath`].
macro_rules! on_both_paths {
    ($($name:ident),+ $(,)?) => {
        mod on_writers {
            $(#[test] fn $name() { super::$name(crate::harness::StreamPath::Writers) })+
        }
        mod on_hyper {
            $(#[test] fn $name() { super::$name(crate::harness::StreamPath::Hyper) })+
        }
    };
}
pub(crate) use on_both_paths;

/// Waits until `fact` has a value.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, fact: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, fact)
}

/// Waits until `fact` has a value, and no longer than `deadline`.
#[track_caller]
pub(crate) fn within<T>(deadline: Duration, what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = fact() {
            return value;
        }
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        // Between two looks at the fact.
        std::thread::park_timeout(Duration::from_millis(3));
    }
}
