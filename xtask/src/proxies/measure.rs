//! What is asked of a proxy: that streams pass as if it were not there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::proxy::{Kind, Proxy};
use super::{raw, smuggling};
use crate::faults::bench::{Bench, seconds_or_over, wait_for};
use crate::faults::crowd::{Crowd, request};
use crate::faults::finding::Findings;
use crate::faults::publisher::{Publisher, numbered};
use crate::faults::server::Server;
use crate::loadtest::read;
use crate::{program, workspace};

/// The longest silence that proxies allow here: a few seconds, to see streams outlive it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// The same where it must not be what ends a stream.
const PATIENT: Duration = Duration::from_secs(60);
/// How late an event may be, publishing through the proxy included.
const DELAY_MAX: Duration = Duration::from_millis(200);
/// How late the server may learn that a client has left.
const LEFT_WITHIN: Duration = Duration::from_secs(2);
/// How long anything may take that has no gate of its own.
const WAIT: Duration = Duration::from_secs(5);
const EVENTS: u32 = 200;
const EVENT_BYTES: usize = 200;
const LARGE_BYTES: usize = 1 << 20;

/// Two heartbeats and more come before a proxy's patience ends.
const FLAGS: &[&str] =
    &["--heartbeat-interval=700ms", "--trusted-proxy=127.0.0.1/32", "--cors-origin=http://page.example"];

/// Measures everything, with two servers, each behind a proxy: one whose streams get heartbeats, and one that is silent.
pub fn through(kind: &Kind, bench: &Bench, findings: &mut Findings) -> Result<()> {
    let server = Server::start_named("speaking", bench, FLAGS)?;
    let silent = Server::start_named("silent", bench, &["--heartbeat-interval=1h"])?;
    let start =
        |name, server: &Server, idle_timeout| Proxy::start(kind, &bench.file(name), server.address(), idle_timeout);
    let proxy = start("speaking", &server, IDLE_TIMEOUT)?;
    let silent_proxy = start("silent", &silent, IDLE_TIMEOUT)?;

    delays(&proxy, findings)?;
    let mut quiet = Quiet::open(proxy.address, silent_proxy.address)?;
    resumes(&proxy, findings)?;
    large(&proxy, findings)?;
    requests(&proxy, findings)?;
    topics_in_paths(&proxy, &server, findings)?;
    mercure(&proxy, findings)?;
    compressed(&proxy, bench, findings)?;
    leaves(start("patient", &silent, PATIENT)?, &silent, findings)?;
    if kind.is_configured {
        keeps_connections(&proxy, &server, findings)?;
        tells_who_asks(&proxy, &server, findings)?;
        quiet.judge(findings)?;
    }
    if kind.logs_requests() {
        smuggling::through(&proxy, &server, findings)?;
    }
    ends(&proxy, server, findings)?;
    proxy.stop()?;
    silent_proxy.stop()?;
    silent.stop()
}

/// A stream is open before there is an event, and events come at once.
fn delays(proxy: &Proxy, findings: &mut Findings) -> Result<()> {
    let mut crowd = Crowd::new(proxy.address)?;
    let asked = Instant::now();
    crowd.follow("/events/news", None)?;
    let retried = crowd.read_until(WAIT, |crowd| crowd.members()[0].answer.retry.is_some())?;
    findings.at_most("until a stream without events is open", asked.elapsed().as_secs_f64() * 1e3, ms(DELAY_MAX), "ms");
    ensure!(retried, "the stream does not open");
    let mut publisher = Publisher::connect(proxy.address)?;
    let mut delays = Vec::new();
    for number in 0..EVENTS {
        let published = Instant::now();
        publisher.publish("news", &numbered(number, EVENT_BYTES))?;
        let has_come = |crowd: &Crowd| crowd.members()[0].answer.events.len() > number as usize;
        let came = crowd.read_until(WAIT, has_come)?;
        delays.push(published.elapsed());
        if !came {
            break;
        }
    }
    delays.sort_unstable();
    findings.at_most("an event's delay, p99", ms(delays[delays.len() * 99 / 100]), ms(DELAY_MAX), "ms");
    findings.note("delay_p50_ms", ms(delays[delays.len() / 2]));
    findings.note("delay_max_ms", ms(delays[delays.len() - 1]));
    findings.all("events", crowd.members()[0].answer.events.len(), EVENTS as usize);
    Ok(())
}

/// Who comes back with an id gets what it missed, in order.
fn resumes(proxy: &Proxy, findings: &mut Findings) -> Result<()> {
    let ids = Publisher::connect(proxy.address)?.publish_numbers("resumed", 0..EVENTS, EVENT_BYTES, 0.0)?;
    let mut crowd = Crowd::new(proxy.address)?;
    let missed = EVENTS as usize / 2;
    crowd.follow("/events/resumed", Some(&ids[missed - 1]))?;
    crowd.read_until(WAIT, |crowd| crowd.members()[0].answer.events.len() >= ids.len() - missed)?;
    let came: Vec<&str> = crowd.members()[0].answer.events.iter().map(|event| event.id.as_str()).collect();
    let right = came.iter().zip(&ids[missed..]).filter(|(came, id)| came == id).count();
    findings.all("events after a Last-Event-ID", right, ids.len() - missed);
    Ok(())
}

/// The largest event there may be goes through.
fn large(proxy: &Proxy, findings: &mut Findings) -> Result<()> {
    let mut crowd = Crowd::new(proxy.address)?;
    crowd.follow("/events/large", None)?;
    crowd.read_until(WAIT, |crowd| crowd.following() == 1)?;
    let data = numbered(1, LARGE_BYTES);
    Publisher::connect(proxy.address)?.publish("large", &data)?;
    crowd.read_until(WAIT, |crowd| !crowd.members()[0].answer.events.is_empty())?;
    findings.is_so("an event of 1 MiB is whole", crowd.members()[0].answer.data().next() == Some(data.as_str()));
    Ok(())
}

/// What is not a stream: a head alone, and a browser's question before it follows.
fn requests(proxy: &Proxy, findings: &mut Findings) -> Result<()> {
    let head = raw::exchange(
        proxy.address,
        b"HEAD /events/news HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n",
    )?
    .to_ascii_lowercase();
    let is_head = head.starts_with("http/1.1 200") && head.contains("content-type: text/event-stream");
    findings.is_so("HEAD gets the head alone", is_head && head.ends_with("\r\n\r\n"));
    let preflight = raw::exchange(
        proxy.address,
        b"OPTIONS /events/news HTTP/1.1\r\nHost: localhost\r\nOrigin: http://page.example\r\n\
          Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: last-event-id\r\nConnection: close\r\n\r\n",
    )?
    .to_ascii_lowercase();
    let allows = preflight.contains("access-control-allow-origin: http://page.example");
    findings.is_so("OPTIONS allows what the server allows", preflight.starts_with("http/1.1 204") && allows);
    Ok(())
}

/// A topic that is a URL stays as it is in the path, slashes and percent signs.
fn topics_in_paths(proxy: &Proxy, server: &Server, findings: &mut Findings) -> Result<()> {
    const PATHS: &[&str] = &["https%3A%2F%2Fexample.com%2Fa", "https://example.com/a"];
    let mut crowd = Crowd::new(proxy.address)?;
    for path in PATHS {
        crowd.follow(&format!("/events/{path}"), None)?;
    }
    crowd.read_until(WAIT, |crowd| crowd.following() == PATHS.len())?;
    Publisher::connect(server.address())?.publish(PATHS[0], "to a URL")?;
    let got = |crowd: &Crowd| crowd.members().iter().filter(|member| !member.answer.events.is_empty()).count();
    crowd.read_until(Duration::from_secs(1), |crowd| got(crowd) == PATHS.len())?;
    findings.all("URLs in a path as topics", got(&crowd), PATHS.len());
    Ok(())
}

fn mercure(proxy: &Proxy, findings: &mut Findings) -> Result<()> {
    let mut crowd = Crowd::new(proxy.address)?;
    crowd.follow("/.well-known/mercure?topic=https%3A%2F%2Fexample.com%2Fbooks%2F%7Bid%7D", None)?;
    crowd.read_until(WAIT, |crowd| crowd.following() == 1)?;
    let form = "topic=https%3A%2F%2Fexample.com%2Fbooks%2F1&data=a+book";
    let publish = format!(
        "POST /.well-known/mercure HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{form}",
        form.len()
    );
    let answer = raw::exchange(proxy.address, publish.as_bytes())?;
    crowd.read_until(WAIT, |crowd| !crowd.members()[0].answer.events.is_empty())?;
    let came = crowd.members()[0].answer.events.first();
    findings.is_so("a Mercure hub", came.is_some_and(|event| event.data == "a book" && answer.contains(&event.id)));
    Ok(())
}

/// What the server compresses arrives as it is, at once: the load generator decodes and verifies each stream.
fn compressed(proxy: &Proxy, bench: &Bench, findings: &mut Findings) -> Result<()> {
    /// Uncompressed they have half as many again, and their ids.
    const BYTES_MAX: f64 = 200.0;
    let (url, report) = (format!("http://{}/events/{{topic}}", proxy.address), bench.file("compressed.json"));
    let mut command = Command::new(workspace::built("sse-loadgen"));
    command.args(["--follow-url", &url, "--publish-url", &url, "--subscribers=20", "--topics=1", "--rate=100"]);
    command.args(["--seconds=1", "--event-bytes=300", "--gzip", "--quiet", "--json"]).arg(&report);
    program::run(&mut command)?;
    let report = read(&report)?;
    let delivery = &report["delivery"];
    let figure = |name: &str| delivery.pointer(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
    findings.at_most("compressed: an event's delay, p90", figure("/latency/p90_ms"), ms(DELAY_MAX), "ms");
    findings.at_most("compressed: bytes of an event of 300", figure("/bytes") / figure("/delivered"), BYTES_MAX, "");
    findings.is_so("compressed: every stream is whole", report["whole"] == true);
    Ok(())
}

/// A client that leaves is gone on the server's side too, although nothing is sent that would show it.
fn leaves(proxy: Proxy, silent: &Server, findings: &mut Findings) -> Result<()> {
    let says = |what: &str| {
        let is_it = |line: &String| line.contains(what) && line.contains("a-client-that-leaves");
        Ok::<_, anyhow::Error>(silent.log_lines()?.iter().any(is_it))
    };
    let mut socket = raw::connect_from(IpAddr::V4(Ipv4Addr::LOCALHOST), proxy.address)?;
    std::io::Write::write_all(&mut socket, &request("/events/a-client-that-leaves", None))?;
    raw::read_all(&mut socket, WAIT, |text| text.contains("retry:"))?;
    ensure!(wait_for(WAIT, || says("\"connected\""))?.is_some(), "the server tells of no stream");
    drop(socket);
    let gone = wait_for(LEFT_WITHIN * 2, || says("\"disconnected\""))?;
    let took = seconds_or_over(gone, LEFT_WITHIN);
    findings.at_most("until a client that left is gone", took, LEFT_WITHIN.as_secs_f64(), "s");
    proxy.stop()
}

/// Publishing does not take a connection to the server for each event.
fn keeps_connections(proxy: &Proxy, server: &Server, findings: &mut Findings) -> Result<()> {
    const PUBLISHES: u32 = 100;
    let opened = || Ok::<_, anyhow::Error>(server.metrics()?.sum("sse_connections_total"));
    let before = opened()?;
    Publisher::connect(proxy.address)?.publish_numbers("kept", 0..PUBLISHES, EVENT_BYTES, 0.0)?;
    findings.at_most("connections to the server for 100 publishes", opened()? - before, 2.0, "");
    Ok(())
}

/// The server learns a client's address from the proxy, and not from the client.
fn tells_who_asks(proxy: &Proxy, server: &Server, findings: &mut Findings) -> Result<()> {
    const HERE: &str = "127.0.0.9";
    const PRETENDED: &str = "203.0.113.7";
    let mut socket = raw::connect_from(HERE.parse().context("an address")?, proxy.address)?;
    let ask = format!(
        "GET /events/asked HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
         X-Forwarded-For: {PRETENDED}\r\nForwarded: for={PRETENDED}\r\n\r\n"
    );
    std::io::Write::write_all(&mut socket, ask.as_bytes())?;
    raw::read_all(&mut socket, WAIT, |text| text.contains("retry:"))?;
    let says = |what: &str| Ok::<_, anyhow::Error>(server.log_lines()?.iter().any(|line| line.contains(what)));
    let told = wait_for(WAIT, || says(HERE))?.is_some();
    findings.is_so("the client's address reaches the server", told && !says(PRETENDED)?);
    Ok(())
}

/// The end of the server ends its streams.
fn ends(proxy: &Proxy, server: Server, findings: &mut Findings) -> Result<()> {
    let mut crowd = Crowd::new(proxy.address)?;
    crowd.follow("/events/ended", None)?;
    ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == 1)?, "the stream does not open");
    server.kill();
    let killed = Instant::now();
    crowd.read_until(LEFT_WITHIN * 2, |crowd| crowd.following() == 0)?;
    let took = killed.elapsed().as_secs_f64();
    findings.at_most("until streams of a killed server end", took, LEFT_WITHIN.as_secs_f64(), "s");
    Ok(())
}

/// Two streams without events: one has heartbeats, the other has nothing.
struct Quiet {
    opened: Instant,
    alive: Crowd,
    dead: Crowd,
}

impl Quiet {
    fn open(alive: SocketAddr, dead: SocketAddr) -> Result<Self> {
        let [mut alive, mut dead] = [Crowd::new(alive)?, Crowd::new(dead)?];
        for crowd in [&mut alive, &mut dead] {
            crowd.follow("/events/quiet", None)?;
            ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == 1)?, "a quiet stream does not open");
        }
        Ok(Self { opened: Instant::now(), alive, dead })
    }

    /// Heartbeats kept the one open for twice the proxy's patience; that ended the other, so there was one to outlast.
    fn judge(&mut self, findings: &mut Findings) -> Result<()> {
        let wait = (IDLE_TIMEOUT * 5 / 2).saturating_sub(self.opened.elapsed());
        self.alive.read_for(wait)?;
        self.dead.read_until(IDLE_TIMEOUT * 2, |dead| dead.following() == 0)?;
        let idle_timeouts = self.opened.elapsed().as_secs_f64() / IDLE_TIMEOUT.as_secs_f64();
        let open_for = if self.alive.following() == 1 { idle_timeouts } else { 0.0 };
        findings.at_least("idle with heartbeats, open for so many idle timeouts", open_for, 2.0, "");
        findings.is_so("idle without heartbeats, the proxy ends it", self.dead.following() == 0);
        Ok(())
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
