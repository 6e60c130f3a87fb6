//! TLS as its clients and its attackers meet it. FAILURES F.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::ClientConnection;

use crate::harness::tls::{Files, Secure, client, connect, expect_end, follow, name, read_through};
use crate::harness::{DEADLINE, Launch, Server};

/// A server with a certificate of its own.
struct TlsServer {
    server: Server,
    files: Files,
    _folder: Folder,
}

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed lies in the build's own folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl TlsServer {
    fn start(name: &str, flags: &[&str]) -> Self {
        let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{name}"));
        let files = Files::make(&folder);
        let flags = [&["--tls-cert", &files.cert, "--tls-key", &files.key], flags].concat();
        Self { server: Launch::new(&flags).start(), files, _folder: Folder(folder) }
    }

    #[track_caller]
    fn connect(&self) -> Secure {
        connect(self.server.addr(), client(&[self.files.der()], &["http/1.1"])).unwrap()
    }

    #[track_caller]
    fn follow(&self, topic: &str) -> Secure {
        let mut stream = self.connect();
        follow(&mut stream, topic);
        stream
    }

    #[track_caller]
    fn publish(&self, topic: &str, data: &str) {
        let mut connection = self.connect();
        let head =
            format!("POST /events/{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", data.len());
        connection.write_all(&[head.as_bytes(), data.as_bytes()].concat()).unwrap();
        assert!(read_through(&mut connection, "\r\n").contains("200"));
    }

    #[track_caller]
    fn expect_served(&self) {
        let mut stream = self.follow("innocent");
        self.publish("innocent", "still here");
        assert!(read_through(&mut stream, "\n\n").ends_with("data: still here\n\n"));
    }
}

#[test]
fn clients_and_server_agree_on_a_protocol() {
    let server = TlsServer::start("alpn", &[]);
    for (offered, agreed) in [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)] {
        let connection = connect(server.server.addr(), client(&[server.files.der()], offered)).unwrap();
        let alpn = connection.conn.alpn_protocol().map(|name| std::str::from_utf8(name).unwrap().to_owned());
        assert_eq!(alpn.as_deref(), agreed);
    }
    // F4: nothing in common.
    assert!(connect(server.server.addr(), client(&[server.files.der()], &["spdy/1"])).is_err());
    server.expect_served();
}

/// F3.
#[test]
fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let server = TlsServer::start("reload", &[]);
    let mut stream = server.follow("a");
    let first = server.files.der();
    server.files.renew_until(2040);
    server.server.log.wait_for("the certificate was read again", |_| true);
    server.server.wait_for_metric("sse_tls_certificate_expiration_timestamp_seconds", 2_208_988_800.0);
    assert_ne!(first, server.files.der());
    let second = server.files.der();
    // Who trusts the new one only is served, and nobody was dropped.
    server.publish("a", "on");
    assert!(read_through(&mut stream, "\n\n").ends_with("data: on\n\n"));
    fs::write(&server.files.cert, "no certificate").unwrap();
    server.server.log.wait_for("the certificate cannot be used; the one before stays", |_| true);
    server.server.wait_for_metric("sse_tls_certificate_expiration_timestamp_seconds", 2_208_988_800.0);
    assert!(server.server.metric(r#"sse_tls_reloads_total{result="failed"}"#).is_some_and(|failed| failed >= 1.0));
    let trusting = client(&[second], &["http/1.1"]);
    let mut again = connect(server.server.addr(), trusting).unwrap();
    follow(&mut again, "a");
}

#[test]
fn a_hangup_reads_the_certificate_again() {
    let server = TlsServer::start("hangup", &[]);
    server.server.signal(Signal::HUP);
    server.server.log.wait_for("the certificate was read again", |_| true);
    server.server.wait_for_metric(r#"sse_tls_reloads_total{result="ok"}"#, 1.0);
    server.expect_served();
}

/// F1: those who say nothing, or half of it, are gone in seconds.
#[test]
fn nobody_keeps_a_handshake_waiting() {
    let server = TlsServer::start("stall", &[]);
    let started = Instant::now();
    let mut sockets: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(server.server.addr()).unwrap()).collect();
    // The beginning of a ClientHello.
    sockets.iter_mut().skip(50).for_each(|socket| socket.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]).unwrap());
    sockets.iter_mut().for_each(expect_end);
    assert!(started.elapsed() < Duration::from_millis(6500), "{:?}", started.elapsed());
    server.server.wait_for_metric(r#"sse_connections_rejected_total{reason="tls_timeout"}"#, 100.0);
    assert_eq!(server.server.metric("sse_connections_total").unwrap_or_default(), 0.0);
    server.expect_served();
}

/// So many handshakes are worked out at a time. Whose time is over before it is their turn is told apart.
#[test]
fn handshakes_wait_for_their_turn_and_not_for_ever() {
    const AT_A_TIME: usize = 256;
    let server = TlsServer::start("busy", &[]);
    let mut hello = Vec::new();
    let config = Arc::new(client(&[server.files.der()], &["http/1.1"]));
    ClientConnection::new(config, name()).unwrap().write_tls(&mut hello).unwrap();
    let begin = |len: usize| {
        let mut socket = TcpStream::connect(server.server.addr()).unwrap();
        socket.write_all(&hello[..len]).unwrap();
        socket
    };
    // Those who are in time, but say what they want only when all turns are taken.
    let mut late: Vec<TcpStream> = (0..20).map(|_| begin(11)).collect();
    server.expect_served();
    let mut taken: Vec<TcpStream> = (0..AT_A_TIME).map(|_| begin(hello.len())).collect();
    for socket in &mut taken {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.read_exact(&mut [0]).unwrap();
    }
    late.iter_mut().for_each(|socket| socket.write_all(&hello[11..]).unwrap());
    for socket in &mut late {
        let mut answer = Vec::new();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.is_empty(), "it was not its turn");
    }
    server.server.wait_for_metric(r#"sse_connections_rejected_total{reason="tls_busy"}"#, late.len() as f64);
    taken.iter_mut().for_each(expect_end);
    server.server.wait_for_metric(r#"sse_connections_rejected_total{reason="tls_timeout"}"#, AT_A_TIME as f64);
    server.expect_served();
}

/// F2 and F4: what is no TLS gets an alert or nothing, and the log says so once.
#[test]
fn what_is_no_tls_is_closed_on() {
    let server = TlsServer::start("junk", &[]);
    let junk: [&[u8]; 5] = [
        b"GET /events/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 64],
        &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        // SSL 2.
        &[0x80, 0x2E, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10],
    ];
    for _ in 0..20 {
        for bytes in junk {
            let mut socket = TcpStream::connect(server.server.addr()).unwrap();
            socket.write_all(bytes).unwrap();
            let mut answer = Vec::new();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket.read_to_end(&mut answer).unwrap();
            // A record with an alert, or nothing.
            assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
        }
    }
    server.server.wait_for_metric(r#"sse_connections_rejected_total{reason="tls_handshake"}"#, 100.0);
    let told = server.server.log.lines().iter().filter(|line| line["message"] == "TLS handshakes failed").count();
    assert!((1..=3).contains(&told), "{told} lines");
    server.expect_served();
}

/// F6: new keys and empty records without end, while a writer has the stream and before a request has come.
#[test]
fn tls_without_content_is_not_taken_for_ever() {
    let server = TlsServer::start("flood", &[]);
    for is_stream in [true, false] {
        for is_update in [true, false] {
            let mut connection = if is_stream { server.follow("a") } else { server.connect() };
            let started = Instant::now();
            let is_cut = loop {
                if is_update {
                    connection.conn.refresh_traffic_keys().unwrap();
                } else {
                    // A record that holds a byte is the least that the library writes.
                    connection.conn.writer().write_all(b"\r").unwrap();
                }
                // By time and not by number: the kernel takes megabytes before it says that nobody reads them.
                if started.elapsed() > DEADLINE {
                    break false;
                }
                if connection.conn.write_tls(&mut connection.sock).is_err() {
                    break true;
                }
            };
            assert!(is_cut, "a stream: {is_stream}, new keys: {is_update}");
        }
    }
    server.expect_served();
}

/// The bytes are whole, whatever their size and whoever is slow.
#[test]
fn large_events_come_whole() {
    let server = TlsServer::start("large", &["--lag-grace", "1m"]);
    let mut stream = server.follow("a");
    let events: Vec<String> = (0..12).map(|n| format!("{n} {}", "x".repeat(n * 30_000))).collect();
    events.iter().for_each(|event| server.publish("a", event));
    for event in &events {
        let text = read_through(&mut stream, "\n\n");
        assert!(text.ends_with(&format!("data: {event}\n\n")));
    }
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let folder = Folder(std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tls-settings"));
    let files = Files::make(&folder.0);
    let other = Files::make(&folder.0.join("other"));
    for (flags, problem) in [
        (&["--tls-cert", &files.cert][..], "--tls-cert: the certificate needs its key"),
        (&["--tls-key", &files.key], "--tls-key: the key needs its certificate"),
        (&["--tls-cert", "/nowhere", "--tls-key", &files.key], "--tls-cert: cannot read /nowhere"),
        (&["--tls-cert", &files.key, "--tls-key", &files.key], "holds no certificate"),
        (&["--tls-cert", &files.cert, "--tls-key", &files.cert], "holds no private key"),
        (&["--tls-cert", &files.cert, "--tls-key", &other.key], "do not belong together"),
    ] {
        let output = Launch::new(flags).finish();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(problem), "{problem}: {said}");
    }
}
