//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use sse_loadgen::Scenario;

/// Measures a server of event streams and verifies every stream.
///
/// Opens streams, publishes at a fixed rate, and checks for every subscriber that nothing is lost, repeated or out of
/// order. Exits 0 when everything arrived as it should, 2 when not, 1 when there was nothing to measure.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// What to follow: {topic} is the topic, {KEY=*} all topics of a stream as KEY=a&KEY=b
    #[arg(long, default_value = "http://127.0.0.1:8080/events/{topic}")]
    follow_url: String,
    /// Where to POST events; the follow URL unless given
    #[arg(long)]
    publish_url: Option<String>,
    /// The body of a publish, with {data} and perhaps {topic}
    #[arg(long, default_value = "{data}")]
    publish_body: String,
    /// Events carry the data within something of the server's own, as JSON, perhaps several at once
    #[arg(long)]
    wrapped: bool,
    /// Header for every stream, 'NAME: VALUE' (repeatable)
    #[arg(long)]
    follow_header: Vec<String>,
    /// Ask for compressed streams, and decode them
    #[arg(long)]
    gzip: bool,
    /// Header for every publish, 'NAME: VALUE' (repeatable)
    #[arg(long)]
    publish_header: Vec<String>,
    /// The certificates to trust, in PEM, for a URL that begins with https://
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Follow in HTTP/2, many streams on each connection
    #[arg(long)]
    http2: bool,
    /// How many
    #[arg(long, default_value_t = 100, requires = "http2")]
    http2_streams: u32,
    /// Streams that are read and verified
    #[arg(long, default_value_t = 2_000)]
    subscribers: u32,
    /// Topics in all
    #[arg(long, default_value_t = 10)]
    topics: u32,
    /// Topics on each stream
    #[arg(long, default_value_t = 1)]
    topics_per_subscriber: u32,
    /// What topic names begin with; by default something new for each run
    #[arg(long)]
    topic_prefix: Option<String>,
    /// Events per second over all topics; 0 leaves the streams idle
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Events that go out at once, to one topic
    #[arg(long, default_value_t = 1)]
    burst: u32,
    /// Bytes of data in each event
    #[arg(long, default_value_t = 200)]
    event_bytes: usize,
    /// How long to publish
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// More streams, that stop reading once they are open
    #[arg(long, default_value_t = 0)]
    slow_readers: u32,
    /// Seconds after which a slow reader reads again for a moment; by default only at the end
    #[arg(long)]
    slow_hold: Option<f64>,
    /// More streams that come each second, and leave
    #[arg(long, default_value_t = 0.0)]
    churn: f64,
    /// Seconds that each of those stays
    #[arg(long, default_value_t = 1.0)]
    visit: f64,
    /// Seconds after the first event at which all streams are cut at once, and come back
    #[arg(long)]
    storm: Option<f64>,
    /// Streams that are cut come back with their last id and must get what they missed; publishing outlives an outage
    #[arg(long)]
    resume: bool,
    /// Threads that read
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Publishing connections
    #[arg(long, default_value_t = 4)]
    publishers: u32,
    /// Requests that one of them may have under way; by default a burst
    #[arg(long)]
    pipeline: Option<u32>,
    /// Streams that may be opening at a time
    #[arg(long, default_value_t = 128)]
    opening_max: u32,
    /// Source addresses, 127.0.0.1 and on; by default as many as the port range asks for
    #[arg(long)]
    sources: Option<u32>,
    /// The server's process, to measure what it uses; all of them together (repeatable)
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    /// Seconds of quiet between opening the streams and publishing
    #[arg(long, default_value_t = 1.0)]
    settle: f64,
    /// Seconds without an arrival after which missing events are lost
    #[arg(long, default_value_t = 5.0)]
    drain_timeout: f64,
    /// Seconds between two samples of the server
    #[arg(long, default_value_t = 1.0)]
    sample_interval: f64,
    /// Write the report here, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Print no table
    #[arg(long)]
    pub(crate) quiet: bool,
}

impl Args {
    pub(crate) fn scenario(&self) -> Scenario {
        let publish_url = self.publish_url.as_ref().unwrap_or(&self.follow_url);
        Scenario {
            publish_body: self.publish_body.clone(),
            wrapped: self.wrapped,
            follow_headers: self.follow_header.clone(),
            gzip: self.gzip,
            publish_headers: self.publish_header.clone(),
            ca_file: self.ca_file.clone(),
            http2: self.http2,
            http2_streams: self.http2_streams,
            subscribers: self.subscribers,
            topics: self.topics,
            topics_per_subscriber: self.topics_per_subscriber,
            topic_prefix: self.topic_prefix.clone(),
            rate: self.rate,
            burst: self.burst,
            event_bytes: self.event_bytes,
            duration: seconds(self.seconds),
            slow_readers: self.slow_readers,
            slow_hold: self.slow_hold.map(seconds),
            churn: self.churn,
            visit: seconds(self.visit),
            storm: self.storm.map(seconds),
            resume: self.resume,
            threads: self.threads,
            publishers: self.publishers,
            pipeline: self.pipeline,
            opening_max: self.opening_max,
            sources: self.sources,
            server_pids: self.server_pid.clone(),
            settle: seconds(self.settle),
            drain_timeout: seconds(self.drain_timeout),
            sample_interval: seconds(self.sample_interval),
            ..Scenario::new(&self.follow_url, publish_url)
        }
    }
}

/// Negative and absurd numbers become 0, which the scenario refuses where it matters.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
