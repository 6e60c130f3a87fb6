//! The peer: a thread that calls `send` for each socket, and does nothing else.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Sends a text to all who follow.
pub(crate) struct Bare {
    pub(crate) addr: SocketAddr,
    texts: SyncSender<Vec<u8>>,
}

impl Bare {
    /// For so many followers; the thread has this name.
    pub(crate) fn start(name: &str, followers: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let addr = listener.local_addr().expect("it is bound");
        let (texts, received) = sync_channel(1);
        let run = move || serve(&listener, followers, &received);
        thread::Builder::new().name(name.to_owned()).spawn(run).expect("there is room for a thread");
        Self { addr, texts }
    }

    pub(crate) fn publish(&self, chunk: Vec<u8>) {
        self.texts.send(chunk).expect("the thread is there as long as this");
    }
}

fn serve(listener: &TcpListener, followers: usize, texts: &Receiver<Vec<u8>>) {
    let greet = |_| {
        let (mut stream, _) = listener.accept().expect("a follower comes");
        stream.set_nodelay(true).expect("it is a TCP socket");
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n4\r\n:\n\n\n\r\n").expect("it is empty yet");
        stream
    };
    let mut streams: Vec<TcpStream> = (0..followers).map(greet).collect();
    while let Ok(text) = texts.recv() {
        for stream in &mut streams {
            assert_eq!(stream.write(&text).expect("it has been read to the end"), text.len());
        }
    }
}
