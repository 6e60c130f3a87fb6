//! A request, written as bytes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{Connection, Reply, Stream};

/// A request under construction.
#[derive(Clone)]
pub(crate) struct Request {
    addr: SocketAddr,
    /// The address it comes from, if that is not to be the system's choice.
    source: Option<IpAddr>,
    method: String,
    target: String,
    version: &'static str,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(addr: SocketAddr, method: &str, target: impl Into<String>) -> Self {
        let host = ("Host".to_owned(), addr.to_string());
        let (method, target) = (method.to_owned(), target.into());
        Self { addr, source: None, method, target, version: "HTTP/1.1", fields: vec![host], body: None }
    }

    /// Adds a field; a second `Host` replaces the first.
    pub(crate) fn field(mut self, name: &str, value: impl Into<String>) -> Self {
        if name == "Host" {
            self.fields.retain(|(known, _)| known != "Host");
        }
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// Comes from this address of the machine: any of 127.0.0.0/8 will do.
    pub(crate) fn from(mut self, source: &str) -> Self {
        self.source = Some(source.parse().unwrap());
        self
    }

    /// Comes with this token.
    pub(crate) fn bearer(self, token: impl AsRef<str>) -> Self {
        self.field("Authorization", format!("Bearer {}", token.as_ref()))
    }

    pub(crate) fn last_event_id(self, id: impl Into<String>) -> Self {
        self.field("Last-Event-ID", id)
    }

    pub(crate) fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    /// Adds a body and its length.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// The request's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} {}\r\n", self.method, self.target, self.version).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends it on a connection of its own, whose reply has not been read yet.
    pub(crate) fn start(&self) -> Connection {
        let mut connection = match self.source {
            Some(source) => Connection::open_from(source, self.addr),
            None => Connection::open(self.addr),
        };
        connection.send(self.bytes());
        connection
    }

    /// Sends it on a connection of its own and reads the reply.
    #[track_caller]
    pub(crate) fn send(&self) -> Reply {
        let mut connection = self.start();
        match self.method.as_str() {
            "HEAD" => Reply { head: connection.head(), body: Vec::new() },
            _ => connection.reply(),
        }
    }

    /// Sends it and expects a stream.
    #[track_caller]
    pub(crate) fn open(&self) -> Stream {
        Stream::begin(self.start())
    }

    /// The same over a connection that holds hardly anything unread.
    #[track_caller]
    pub(crate) fn open_with_tiny_buffer(&self) -> Stream {
        let mut connection = Connection::open_with_tiny_buffer(self.addr);
        connection.send(self.bytes());
        Stream::begin(connection)
    }
}

/// The first bytes, which tell one test case from another.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        f.write_str(&String::from_utf8_lossy(&bytes[..bytes.len().min(400)]))
    }
}
