//! The server under test, and clients that speak bytes to it.

mod connection;
mod data_dir;
mod engine;
pub(crate) mod frames;
mod gateway;
pub(crate) mod gunzip;
mod log;
mod meeting;
mod publisher;
mod reply;
mod request;
mod server;
mod stream;
pub(crate) mod tls;
pub(crate) mod token;

use std::time::{Duration, Instant};

pub(crate) use connection::{Connection, End};
pub(crate) use data_dir::DataDir;
pub(crate) use engine::{Engine, EngineKind, back, with_both_engines};
pub(crate) use meeting::{Meeting, Talk, hello};
pub(crate) use publisher::ids;
pub(crate) use reply::{Head, Reply};
pub(crate) use request::Request;
pub(crate) use server::{Launch, Server, Sockets};
pub(crate) use stream::{Event, Item, Stream, event_ids};

/// How long any fact may take to come true. It is reached only by a test that fails, so it is generous: the machine may
/// be busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// How a stream's bytes get to its socket. They must not be told apart from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamPath {
    /// A writer thread owns the socket.
    Writers,
    /// hyper keeps it, and the stream is a body.
    Hyper,
    /// The same in HTTP/2. The test speaks HTTP/1.1 to a gateway.
    Http2,
    /// A writer thread owns the socket and its TLS. The test's bytes go through a gateway.
    Tls,
    /// A writer thread owns the socket, and the stream is compressed if it is one of a topic.
    Gzip,
    /// The same in HTTP/2, where hyper keeps it.
    Http2Gzip,
}

impl StreamPath {
    /// Starts a server whose streams take this path.
    pub(crate) fn start(self, flags: &[&str]) -> Server {
        match self {
            Self::Writers => Server::start(flags),
            Self::Hyper => Server::start(&[flags, &["--writers", "off"]].concat()),
            Self::Http2 => Server::start(flags).behind_http2(),
            Self::Tls => Launch::new(flags).over_tls().start(),
            Self::Gzip => compressed(flags),
            Self::Http2Gzip => compressed(flags).behind_http2(),
        }
    }
}

/// A server whose first follower is compressed already, and asks for it.
fn compressed(flags: &[&str]) -> Server {
    Launch::new(&[flags, &["--compression-followers-min", "1"]].concat()).compressed().start()
}

/// Makes two tests of each function: one for every [`StreamPath`] of HTTP/1.1.
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

/// A further test of each function, in HTTP/2.
macro_rules! also_on_http2 {
    ($($name:ident),+ $(,)?) => {
        mod on_http2 {
            $(#[test] fn $name() { super::$name(crate::harness::StreamPath::Http2) })+
        }
    };
}
pub(crate) use also_on_http2;

/// A further test of each function, over TLS.
macro_rules! also_on_tls {
    ($($name:ident),+ $(,)?) => {
        mod on_tls {
            $(#[test] fn $name() { super::$name(crate::harness::StreamPath::Tls) })+
        }
    };
}
pub(crate) use also_on_tls;

/// A further test of each function, compressed.
macro_rules! also_compressed {
    ($($name:ident),+ $(,)?) => {
        mod compressed {
            $(#[test] fn $name() { super::$name(crate::harness::StreamPath::Gzip) })+
        }
    };
}
pub(crate) use also_compressed;

/// A further test of each function, compressed in HTTP/2: where it matters what is between a stream and its body.
macro_rules! also_compressed_in_http2 {
    ($($name:ident),+ $(,)?) => {
        mod compressed_in_http2 {
            $(#[test] fn $name() { super::$name(crate::harness::StreamPath::Http2Gzip) })+
        }
    };
}
pub(crate) use also_compressed_in_http2;

/// A test of each function for every [`StreamPath`] but the one compressed in HTTP/2.
macro_rules! on_all_paths {
    ($($name:ident),+ $(,)?) => {
        crate::harness::on_both_paths![$($name),+];
        crate::harness::also_on_http2![$($name),+];
        crate::harness::also_on_tls![$($name),+];
        crate::harness::also_compressed![$($name),+];
    };
}
pub(crate) use on_all_paths;

/// The same with that one.
macro_rules! on_all_paths_and_compressed_in_http2 {
    ($($name:ident),+ $(,)?) => {
        crate::harness::on_all_paths![$($name),+];
        crate::harness::also_compressed_in_http2![$($name),+];
    };
}
pub(crate) use on_all_paths_and_compressed_in_http2;

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
