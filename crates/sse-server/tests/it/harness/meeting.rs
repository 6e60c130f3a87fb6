//! Where an upgrade happens, and a successor that says what a test wants.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Launch, Server, StreamPath};

/// Where servers that succeed each other meet. Paths of such sockets are short.
pub(crate) struct Meeting(tempfile::TempDir);

impl Meeting {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> String {
        self.0.path().join("upgrade").to_str().unwrap().to_owned()
    }

    pub(crate) fn launch(&self, flags: &[&str]) -> Launch {
        Launch::new(&[&self.flags().each_ref().map(String::as_str), flags].concat())
    }

    /// A server whose streams take this path.
    pub(crate) fn start_on(&self, path: StreamPath) -> Server {
        path.start(&self.flags().each_ref().map(String::as_str))
    }

    fn flags(&self) -> [String; 4] {
        ["--upgrade-socket".to_owned(), self.path(), "--drain-window".to_owned(), "2s".to_owned()]
    }

    pub(crate) fn start(&self, flags: &[&str]) -> Server {
        self.launch(flags).start()
    }

    /// What a successor sends and gets, message by message.
    pub(crate) fn connect(&self) -> Talk {
        let socket = UnixStream::connect(self.path()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Talk(socket)
    }
}

/// One end of the link. The descriptors that come are closed.
pub(crate) struct Talk(pub(crate) UnixStream);

impl Talk {
    pub(crate) fn send(&mut self, message: &Value) {
        let text = message.to_string();
        let head = [text.len() as u32, 0, 0].map(u32::to_le_bytes).concat();
        self.0.write_all(&[&head, text.as_bytes()].concat()).unwrap();
    }

    /// The next message; nothing once the server has closed its end.
    pub(crate) fn receive(&mut self) -> Option<Value> {
        let mut head = [0; 12];
        self.0.read_exact(&mut head).ok()?;
        let length = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap()) as usize;
        let mut text = vec![0; length(0) + length(4)];
        self.0.read_exact(&mut text).ok()?;
        Some(serde_json::from_slice(&text[..length(0)]).unwrap())
    }

    /// What comes up to the first message of this name.
    #[track_caller]
    pub(crate) fn receive_through(&mut self, name: &str) -> Value {
        loop {
            let message = self.receive().unwrap_or_else(|| panic!("closed before {name}"));
            if message == json!(name) || message.get(name).is_some() {
                return message;
            }
        }
    }
}

/// A successor's greeting, which keeps its events in memory.
pub(crate) fn hello() -> Value {
    json!({"hello": {"version": 2, "keeps": "memory"}})
}
