//! A handler that panics ends its connection and nothing else (FAILURES K8).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{Command, Config, Server};

/// Whoever answers a request for this panics, in tests.
pub(super) const PATH: &str = "/panic";
const DEADLINE: Duration = Duration::from_secs(20);

/// Reads until `text` has come.
async fn read_until(socket: &mut TcpStream, text: &str) -> String {
    let (mut seen, mut piece) = (String::new(), [0; 4096]);
    while !seen.contains(text) {
        let read = timeout(DEADLINE, socket.read(&mut piece)).await.expect("it answers in time").unwrap();
        assert!(read > 0, "closed after {seen:?}, before {text:?}");
        seen += &String::from_utf8_lossy(&piece[..read]);
    }
    seen
}

async fn ends_its_connection_only(flags: &[&str]) {
    let args = [&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "off"], flags].concat();
    let Ok(Command::Serve(config)) = Config::load(args.into_iter().map(Into::into), &|_| None, &[]) else {
        panic!("these are settings");
    };
    let server = Server::bind(*config, None).unwrap();
    let addr = server.addresses().unwrap().listen[0];
    let running = tokio::spawn(server.run(std::future::pending()));
    let connect = |request: &'static str| async move {
        let mut socket = TcpStream::connect(addr).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    };
    let mut stream = connect("GET /events/a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    read_until(&mut stream, "id: ").await;
    let mut kept = connect("POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\none").await;
    read_until(&mut kept, "durability").await;
    read_until(&mut stream, "data: one\n\n").await;
    for _ in 0..10 {
        let mut panicking = connect("GET /panic HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let mut rest = Vec::new();
        let ended = timeout(DEADLINE, panicking.read_to_end(&mut rest)).await.expect("it is closed in time");
        assert!(ended.map_or(true, |_| rest.is_empty()), "{rest:?}");
    }
    kept.write_all(b"POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\ntwo").await.unwrap();
    read_until(&mut kept, "durability").await;
    read_until(&mut stream, "data: two\n\n").await;
    assert!(!running.is_finished(), "the server goes on");
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_beside_writers_ends_its_connection_only() {
    ends_its_connection_only(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_beside_streams_of_hyper_ends_its_connection_only() {
    ends_its_connection_only(&["--writers", "off"]).await;
}
