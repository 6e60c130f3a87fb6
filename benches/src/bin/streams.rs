//! Streams that the load generator does not open: several on a connection of HTTP/2, or over TLS. Says what the server's process
//! takes for each idle one and for each delivery, and how much was lost.
//!
//! `streams ADDR PID (plain|tls|http2) CONNECTIONS STREAMS RATE SECONDS [CA_FILE]`: so many streams on each connection, which are
//! one where it is not HTTP/2, and so many events of 200 bytes in a second, to all of them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A reading thread needs little.
const STACK_BYTES: usize = 128 * 1024;
/// How long streams may take to open, and to rest before they are measured.
const OPENING_MAX: Duration = Duration::from_secs(60);
const RESTING: Duration = Duration::from_secs(5);
/// How long the last events have to arrive.
const ARRIVING: Duration = Duration::from_secs(3);
/// A client acknowledges once it has read a quarter of its window.
const ACKNOWLEDGED_BYTES: u32 = 16_000;
/// Clock ticks in a second, as `/proc` counts them.
const TICKS: f64 = 100.0;

#[derive(Clone)]
struct Counts {
    opened: Arc<AtomicU64>,
    events: Arc<AtomicU64>,
}

type Connection = Box<dyn ReadWrite>;

trait ReadWrite: Read + Write + Send {}

impl<T: Read + Write + Send> ReadWrite for T {}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [addr, pid, protocol, connections, streams, rate, seconds, ca @ ..] = &args[..] else {
        return Err(invalid("ADDR PID (plain|tls|http2) CONNECTIONS STREAMS RATE SECONDS [CA_FILE]"));
    };
    let number = |text: &str| text.parse::<u32>().map_err(|error| invalid(&format!("{text}: {error}")));
    let (connections, rate, seconds) = (number(connections)?, number(rate)?, number(seconds)?);
    let streams = if protocol == "http2" { number(streams)? } else { 1 };
    let tls = if protocol == "tls" { Some(tls_config(ca.first().map_or("", String::as_str))?) } else { None };
    let counts = Counts { opened: Arc::default(), events: Arc::default() };
    let before = Usage::of(pid)?;
    for _ in 0..connections {
        let (connection, counts) = (connect(addr, tls.as_ref())?, counts.clone());
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        match protocol.as_str() {
            "http2" => thread.spawn(move || follow_in_frames(connection, streams, &counts))?,
            _ => thread.spawn(move || follow(connection, &counts))?,
        };
    }
    let total = u64::from(connections) * u64::from(streams);
    let began = Instant::now();
    while counts.opened.load(Ordering::Relaxed) < total && began.elapsed() < OPENING_MAX {
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("opened {} of {total}", counts.opened.load(Ordering::Relaxed));
    std::thread::sleep(RESTING);
    let idle = Usage::of(pid)?;
    let kib = idle.resident_kib.saturating_sub(before.resident_kib) as f64 / total as f64;
    println!("idle: {} to {} KiB, {kib:.2} KiB a stream", before.resident_kib, idle.resident_kib);
    let sent = publish(connect(addr, tls.as_ref())?, rate, Duration::from_secs(seconds.into()))?;
    std::thread::sleep(ARRIVING);
    let (after, events) = (Usage::of(pid)?, counts.events.load(Ordering::Relaxed));
    let cpu = after.seconds - idle.seconds;
    println!("sent {sent}: {events} of {} delivered, {} KiB", sent * total, after.resident_kib);
    println!("{cpu:.2} s of CPU, {:.2} us a delivery", cpu * 1e6 / events.max(1) as f64);
    Ok(())
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn tls_config(ca_file: &str) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(ca_file).map_err(io::Error::other)?;
    roots.add(certificate).map_err(io::Error::other)?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

fn connect(addr: &str, tls: Option<&Arc<ClientConfig>>) -> io::Result<Connection> {
    let socket = TcpStream::connect(addr)?;
    socket.set_nodelay(true)?;
    let Some(config) = tls else { return Ok(Box::new(socket)) };
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(connection, socket)))
}

/// What a process takes.
struct Usage {
    resident_kib: u64,
    seconds: f64,
}

impl Usage {
    fn of(pid: &str) -> io::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name, in parentheses, may hold spaces; user and system time are the 12th and 13th field behind it.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        let resident_kib = resident.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        Ok(Self { resident_kib, seconds: ticks / TICKS })
    }
}

/// Publishes at this rate and tells how many.
fn publish(mut connection: Connection, rate: u32, time: Duration) -> io::Result<u64> {
    let began = Instant::now();
    let request =
        format!("POST /events/bench HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200\r\n\r\n{}", "x".repeat(200));
    let (mut sent, mut answer) = (0, [0; 4096]);
    while began.elapsed() < time {
        connection.write_all(request.as_bytes())?;
        let _ = connection.read(&mut answer)?;
        sent += 1;
        let due = Duration::from_secs_f64(sent as f64 / f64::from(rate));
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    Ok(sent)
}

/// Reads one stream of HTTP/1.1.
fn follow(mut connection: Connection, counts: &Counts) {
    let asked = connection.write_all(b"GET /events/bench HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut buffer = [0; 16 * 1024];
    let (mut has_begun, mut events) = (false, EventCount::default());
    while let (true, Ok(len @ 1..)) = (asked.is_ok(), connection.read(&mut buffer)) {
        if !std::mem::replace(&mut has_begun, true) {
            counts.opened.fetch_add(1, Ordering::Relaxed);
        }
        counts.events.fetch_add(events.take(&buffer[..len]), Ordering::Relaxed);
    }
    println!("a connection has ended");
}

/// Counts the data lines of a stream, however it is cut.
#[derive(Default)]
struct EventCount {
    matched: usize,
}

impl EventCount {
    fn take(&mut self, bytes: &[u8]) -> u64 {
        const LINE: &[u8] = b"\ndata:";
        let mut count = 0;
        for byte in bytes {
            self.matched = if *byte == LINE[self.matched] { self.matched + 1 } else { usize::from(*byte == LINE[0]) };
            if self.matched == LINE.len() {
                (self.matched, count) = (0, count + 1);
            }
        }
        count
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 5;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A GET, each field a literal that is not indexed (RFC 7541, 6.2.2).
fn request() -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/events/bench")];
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// Reads so many streams of one HTTP/2 connection.
fn follow_in_frames(mut connection: Connection, streams: u32, counts: &Counts) {
    let mut out = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    (0..streams).for_each(|n| out.extend(frame(HEADERS, END_STREAM_AND_HEADERS, 2 * n + 1, &request())));
    // What was read and not acknowledged: of the connection at 0, of each stream at its own number.
    let mut unread = vec![0_u32; 2 * streams as usize];
    let (mut buffer, mut received) = ([0; 64 * 1024], Vec::new());
    while let (Ok(()), Ok(len @ 1..)) = (connection.write_all(&out), connection.read(&mut buffer)) {
        out.clear();
        received.extend_from_slice(&buffer[..len]);
        let mut taken = 0;
        while let Some((header, rest)) = received[taken..].split_first_chunk::<9>() {
            let len = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let Some(payload) = rest.get(..len as usize) else { break };
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            match (header[3], header[4] & ACK) {
                (DATA, _) => {
                    counts.events.fetch_add(EventCount::default().take(payload), Ordering::Relaxed);
                    for stream in [0, stream] {
                        let Some(unread) = unread.get_mut(stream as usize) else { continue };
                        *unread += len;
                        if *unread >= ACKNOWLEDGED_BYTES {
                            out.extend(frame(WINDOW_UPDATE, 0, stream, &std::mem::take(unread).to_be_bytes()));
                        }
                    }
                }
                (HEADERS, _) => drop(counts.opened.fetch_add(1, Ordering::Relaxed)),
                (SETTINGS, 0) => out.extend(frame(SETTINGS, ACK, 0, &[])),
                (PING, 0) => out.extend(frame(PING, ACK, 0, payload)),
                _ => (),
            }
            taken += 9 + len as usize;
        }
        received.drain(..taken);
    }
    println!("a connection has ended");
}
