//! Traces that a collector gets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::Value;

use crate::harness::{Launch, Server, StreamPath, eventually, on_both_paths};

on_both_paths![publishing_and_connecting_are_traced];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A collector that takes traces by HTTP, in JSON.
#[derive(Clone)]
struct Collector {
    addr: SocketAddr,
    spans: Arc<Mutex<Vec<Value>>>,
    /// Whose they were.
    services: Arc<Mutex<Vec<Value>>>,
    is_silent: Arc<AtomicBool>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let collector = Self { addr, spans: Arc::default(), services: Arc::default(), is_silent: Arc::default() };
        let taker = collector.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let taker = taker.clone();
                std::thread::spawn(move || taker.take_requests(socket));
            }
        });
        collector
    }

    fn hub(&self, path: StreamPath, flags: &[&str]) -> Server {
        path.start(&[&["--otlp-endpoint", &format!("http://{}/", self.addr)], flags].concat())
    }

    /// Waits for a span of this name with this status.
    fn span(&self, name: &str, status: &str) -> Value {
        let is_it =
            |span: &&Value| span["name"] == name && attribute(span, "http.response.status_code")["intValue"] == status;
        eventually(&format!("{name} with {status}"), || self.spans.lock().iter().find(is_it).cloned())
    }

    /// Answers requests on one connection, until it ends.
    fn take_requests(&self, mut socket: TcpStream) {
        let mut bytes = Vec::new();
        let mut buffer = [0; 64 * 1024];
        loop {
            let Ok(count @ 1..) = socket.read(&mut buffer) else { return };
            bytes.extend_from_slice(&buffer[..count]);
            let Some(head_len) = bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4) else { continue };
            let head = String::from_utf8(bytes[..head_len].to_vec()).unwrap().to_ascii_lowercase();
            assert!(
                head.starts_with("post /v1/traces http/1.1\r\n")
                    && head.contains("\r\ncontent-type: application/json\r\n")
            );
            let length = head.split("\r\ncontent-length: ").nth(1).unwrap().split('\r').next().unwrap();
            let Some(body) = bytes.get(head_len..head_len + length.parse::<usize>().unwrap()) else { continue };
            let document: Value = serde_json::from_slice(body).unwrap();
            let of_resource = &document["resourceSpans"][0];
            self.services.lock().push(attribute(&of_resource["resource"], "service.name")["stringValue"].clone());
            self.spans.lock().extend_from_slice(of_resource["scopeSpans"][0]["spans"].as_array().unwrap());
            bytes.clear();
            if !self.is_silent.load(Ordering::SeqCst) {
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
            }
        }
    }
}

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    attributes.iter().find(|attribute| attribute["key"] == key).map_or(Value::Null, |found| found["value"].clone())
}

fn publishing_and_connecting_are_traced(path: StreamPath) {
    let collector = Collector::start();
    let server = collector.hub(path, &[]);
    let parent = |flags: &str| format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
    let post = |flags: &str, target: &str| server.post(target, "x").field("traceparent", parent(flags)).send().status();
    let stream = server.subscribe("a").open();
    assert_eq!(post("01", "/events/a"), 200);
    assert_eq!(post("01", "/events/a?nonsense"), 400);
    assert_eq!(post("00", "/events/a?retry=never"), 400);
    let published = collector.span("publish", "200");
    assert_eq!((&published["traceId"], &published["parentSpanId"]), (&TRACE.into(), &"00f067aa0ba902b7".into()));
    assert_eq!((&published["kind"], &published["status"]["code"]), (&2.into(), &0.into()));
    assert_eq!(attribute(&published, "http.request.method")["stringValue"], "POST");
    let times =
        ["startTimeUnixNano", "endTimeUnixNano"].map(|key| published[key].as_str().unwrap().parse::<u64>().unwrap());
    assert!(times[0] > 1_700_000_000_000_000_000 && times[0] <= times[1], "{times:?}");
    // It is told of as it begins, not when it ends.
    let connected = collector.span("connect", "200");
    assert_eq!(connected["parentSpanId"], Value::Null);
    assert_ne!(connected["traceId"], TRACE);
    collector.span("publish", "400");
    drop(stream);
    server.wait_for_metric("sse_trace_spans_exported_total", 3.0);
    let spans = collector.spans.lock().len();
    assert_eq!(spans, 3, "one was not to be traced");
    assert!(collector.services.lock().iter().all(|name| name == "sse-server"));
}

#[test]
fn without_a_share_only_traced_requests_are() {
    let collector = Collector::start();
    let server = collector.hub(StreamPath::Writers, &["--trace-ratio", "0"]);
    server.publish("a", "x");
    server.post("/events/a", "x").field("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01")).send();
    assert_eq!(collector.span("publish", "200")["traceId"], TRACE);
    assert_eq!(collector.spans.lock().len(), 1);
}

/// As those who give many programs their settings at once expect.
#[test]
fn variables_of_opentelemetry_name_the_collector_and_the_server() {
    let collector = Collector::start();
    let launch = Launch::new(&[]).environment("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.addr));
    let server = launch.environment("OTEL_SERVICE_NAME", "shop").start();
    server.publish("a", "x");
    collector.span("publish", "200");
    assert_eq!(*collector.services.lock(), ["shop"]);
}

/// Nobody waits for it, and what it does not take is counted.
#[test]
fn a_collector_that_does_not_answer_is_nobodys_trouble() {
    let collector = Collector::start();
    collector.is_silent.store(true, Ordering::SeqCst);
    let server = collector.hub(StreamPath::Writers, &[]);
    let mut connection = server.connect();
    let post = server.post("/events/a", "x").bytes();
    // More than may wait, and a batch that is on its way.
    for _ in 0..60 {
        connection.send(post.repeat(100));
        (0..100).for_each(|_| assert_eq!(connection.reply().status(), 200));
    }
    let dropped = |reason: &str| server.metric(&format!("sse_trace_spans_dropped_total{{reason=\"{reason}\"}}"));
    assert!(dropped("queue") > Some(0.0));
    eventually("a batch that was given up", || dropped("export").filter(|count| *count > 0.0));
    server.log.wait_for("cannot send traces to the collector", |_| true);
}
