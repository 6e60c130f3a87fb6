//! A server that does what a test's script says, however wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use socket2::SockRef;

use crate::command::PATIENCE;

/// A script at work; `finish` tells whether it came to its end.
pub(crate) struct Fake {
    address: SocketAddr,
    script: JoinHandle<()>,
}

impl Fake {
    pub(crate) fn start(script: impl FnOnce(&Door) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        // Bounds accepting as well.
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).expect("a socket has time-outs");
        let address = listener.local_addr().expect("it is bound");
        Self { address, script: std::thread::spawn(move || script(&Door(listener))) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/events/a", self.address)
    }

    pub(crate) fn finish(self) {
        self.script.join().expect("the script went as written");
    }
}

/// Where connections come in.
pub(crate) struct Door(TcpListener);

impl Door {
    pub(crate) fn accept(&self) -> Peer {
        let (socket, _) = self.0.accept().expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket has time-outs");
        Peer(BufReader::new(socket))
    }
}

/// One connection. Dropping it closes it.
pub(crate) struct Peer(BufReader<TcpStream>);

impl Peer {
    /// The next request: its head in lower case, and its body.
    pub(crate) fn request(&mut self) -> (String, String) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).expect("a request") > 0, "closed after {head:?}");
        }
        head.make_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
        self.0.read_exact(&mut body).expect("a body");
        (head, String::from_utf8(body).expect("text"))
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("the other side reads");
    }

    /// Sends until the other side has had enough.
    pub(crate) fn send_until_closed(&mut self, text: &str, times: usize) {
        for _ in 0..times {
            if self.0.get_mut().write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// Answers a publish with this id.
    pub(crate) fn answer(&mut self, id: &str) {
        let body = format!(r#"{{"id":"{id}","durability":"memory"}}"#);
        self.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }

    /// Takes a request to follow; its head in lower case.
    pub(crate) fn open_stream(&mut self) -> String {
        let (head, _) = self.request();
        self.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        head
    }

    pub(crate) fn chunk(&mut self, text: &str) {
        self.send(&format!("{:x}\r\n{text}\r\n", text.len()));
    }

    pub(crate) fn end_stream(&mut self) {
        self.send("0\r\n\r\n");
    }

    /// Waits until the other side closes.
    pub(crate) fn wait_closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = self.0.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{rest:?}");
    }
}
