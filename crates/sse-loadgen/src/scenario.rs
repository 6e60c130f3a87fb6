//! What a run does: how many streams to which topics, how much is published, and who misbehaves.

use std::path::PathBuf;
use std::time::Duration;

use crate::head::Encoding;
use crate::stamp::STAMP_BYTES;
use crate::target::{Target, TargetError};
use crate::template::Template;
use crate::tls::Protocol;

/// Everything a run needs to know. Make one with [`Scenario::new`] and set what should differ.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Followed by every subscriber, with `{topic}`, or `{KEY=*}` for several topics.
    pub follow_url: String,
    /// Where events are published, by `POST`.
    pub publish_url: String,
    /// The body of a publish, with `{data}` and perhaps `{topic}`.
    pub publish_body: String,
    /// Whether events carry the data within something of the server's own, as JSON, perhaps several at once.
    pub wrapped: bool,
    /// Extra header lines, `NAME: VALUE`.
    pub follow_headers: Vec<String>,
    /// Whether streams ask to be compressed.
    pub gzip: bool,
    /// Extra header lines, `NAME: VALUE`.
    pub publish_headers: Vec<String>,
    /// The certificates that are trusted, in PEM; `https://` needs them.
    pub ca_file: Option<PathBuf>,
    /// Whether streams are followed in HTTP/2. Events are published in HTTP/1.1 all the same.
    pub http2: bool,
    /// How many streams share a connection of HTTP/2.
    pub http2_streams: u32,
    /// Streams that are read and verified.
    pub subscribers: u32,
    /// Topics, named by the prefix and a number.
    pub topics: u32,
    /// How many of the topics each stream follows.
    pub topics_per_subscriber: u32,
    /// What topic names begin with; the run's own number when `None`, so that no earlier run's events are met.
    pub topic_prefix: Option<String>,
    /// Events per second over all topics, 0 for idle streams.
    pub rate: f64,
    /// How many events go out at once, to one topic.
    pub burst: u32,
    /// Bytes of data in each event.
    pub event_bytes: usize,
    /// How long is published, or waited when the rate is 0.
    pub duration: Duration,
    /// More streams, that stop reading once they are open.
    pub slow_readers: u32,
    /// How long they do not read; to the end of the run when `None`.
    pub slow_hold: Option<Duration>,
    /// More streams that come each second, and leave again.
    pub churn: f64,
    /// How long each of those stays.
    pub visit: Duration,
    /// When all streams that read are cut at once, counted from the first event; each comes back at once.
    pub storm: Option<Duration>,
    /// Whether streams that are cut, by whomever, come back with the last id they have had and must get what they missed.
    /// Publishing goes on then while the server is away.
    pub resume: bool,
    /// Threads that read.
    pub threads: usize,
    /// Publishing connections; each topic belongs to one of them.
    pub publishers: u32,
    /// How many requests one of them may have under way; a whole burst when `None`.
    pub pipeline: Option<u32>,
    /// How many streams may be opening at a time.
    pub opening_max: u32,
    /// Source addresses to spread the streams over; as many as the port range asks for when `None`.
    pub sources: Option<u32>,
    /// The server's processes, to measure what they use together.
    pub server_pids: Vec<u32>,
    /// How long nothing may happen while streams are opened.
    pub ramp_timeout: Duration,
    /// Quiet time between opening the streams and publishing, in which the idle figures are taken.
    pub settle: Duration,
    /// How long nothing may arrive, at the end, while events are still missing.
    pub drain_timeout: Duration,
    /// How long one publish may take.
    pub publish_timeout: Duration,
    /// How often the server's use is sampled.
    pub sample_interval: Duration,
}

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// A number outside its range.
    #[error("{name} is {value}, but must be {range}")]
    Range {
        /// The setting.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// Streams over several topics need a template that can name them.
    #[error("to follow several topics, the follow URL needs {{KEY=*}}, as in /events?{{topic=*}}")]
    SeveralTopics,
    /// All topics would be one.
    #[error("the {0} URL or body does not name {{topic}}")]
    NoTopic(&'static str),
    /// They would hold up their whole connection.
    #[error("slow readers, visitors and streams that come back are not to be had in HTTP/2")]
    AloneOnly,
    /// A publish without data carries no stamp.
    #[error("the publish body does not contain {{data}}")]
    NoData,
    /// A URL or header that cannot be used.
    #[error("the {0} URL or its headers cannot be used")]
    Target(&'static str, #[source] TargetError),
}

impl Scenario {
    /// Ten seconds of 100 events per second to 2,000 subscribers on ten topics.
    pub fn new(follow_url: &str, publish_url: &str) -> Self {
        Self {
            follow_url: follow_url.to_owned(),
            publish_url: publish_url.to_owned(),
            publish_body: "{data}".to_owned(),
            wrapped: false,
            follow_headers: Vec::new(),
            gzip: false,
            publish_headers: Vec::new(),
            ca_file: None,
            http2: false,
            http2_streams: 100,
            subscribers: 2_000,
            topics: 10,
            topics_per_subscriber: 1,
            topic_prefix: None,
            rate: 100.0,
            burst: 1,
            event_bytes: 200,
            duration: Duration::from_secs(10),
            slow_readers: 0,
            slow_hold: None,
            churn: 0.0,
            visit: Duration::from_secs(1),
            storm: None,
            resume: false,
            threads: 1,
            publishers: 4,
            pipeline: None,
            opening_max: 128,
            sources: None,
            server_pids: Vec::new(),
            ramp_timeout: Duration::from_secs(10),
            settle: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(5),
            publish_timeout: Duration::from_secs(10),
            sample_interval: Duration::from_secs(1),
        }
    }

    /// Checks every setting and takes the URLs apart.
    pub(crate) fn plan(&self) -> Result<Plan, ScenarioError> {
        self.check_ranges()?;
        let protocol = if self.http2 { Protocol::Http2 } else { Protocol::Http1 };
        let ca_file = self.ca_file.as_deref();
        let encoding = if self.gzip { Encoding::Gzip } else { Encoding::Identity };
        let accepted = self.gzip.then(|| "Accept-Encoding: gzip".to_owned());
        let follow_headers: Vec<String> = self.follow_headers.iter().cloned().chain(accepted).collect();
        let follow = Target::parse(&self.follow_url, &follow_headers, ca_file, protocol)
            .map_err(|source| ScenarioError::Target("follow", source))?;
        let publish = Target::parse(&self.publish_url, &self.publish_headers, ca_file, Protocol::Http1)
            .map_err(|source| ScenarioError::Target("publish", source))?;
        let body = Template::parse(&self.publish_body);
        if self.http2 && (self.slow_readers > 0 || self.churn > 0.0 || self.storm.is_some() || self.resume) {
            return Err(ScenarioError::AloneOnly);
        }
        if !self.publish_body.contains("{data}") {
            return Err(ScenarioError::NoData);
        }
        if self.topics_per_subscriber > 1 && !follow.template.takes_several() {
            return Err(ScenarioError::SeveralTopics);
        }
        if self.topics > 1 && !follow.template.takes_topic() {
            return Err(ScenarioError::NoTopic("follow"));
        }
        if self.topics > 1 && !publish.template.takes_topic() && !body.takes_topic() {
            return Err(ScenarioError::NoTopic("publish"));
        }
        let run = getrandom::u32().unwrap_or(std::process::id());
        let prefix = self.topic_prefix.clone().unwrap_or_else(|| format!("load-{run:08x}-"));
        let layout = Layout { topics: self.topics, per_subscriber: self.topics_per_subscriber };
        let publishers = self.publishers.min(self.topics);
        Ok(Plan { run, prefix, layout, follow, encoding, publish, body, publishers })
    }

    fn check_ranges(&self) -> Result<(), ScenarioError> {
        check("topics", self.topics, self.topics > 0, "at least 1")?;
        let per_subscriber = self.topics_per_subscriber;
        let fits = per_subscriber >= 1 && per_subscriber <= self.topics && per_subscriber <= 1_000;
        check("topics-per-subscriber", per_subscriber, fits, "1 to the number of topics, and 1,000 at most")?;
        check("rate", self.rate, self.rate.is_finite() && (0.0..=1e6).contains(&self.rate), "0 to 1,000,000")?;
        check("churn", self.churn, self.churn.is_finite() && (0.0..=1e5).contains(&self.churn), "0 to 100,000")?;
        check("burst", self.burst, (1..=100_000).contains(&self.burst), "1 to 100,000")?;
        let bytes = self.event_bytes;
        check("event-bytes", bytes, (STAMP_BYTES..=16 << 20).contains(&bytes), "53 bytes (the stamp) to 16 MiB")?;
        check("threads", self.threads, (1..=256).contains(&self.threads), "1 to 256")?;
        check("publishers", self.publishers, (1..=1_000).contains(&self.publishers), "1 to 1,000")?;
        let pipeline = self.pipeline();
        check("pipeline", pipeline, (1..=1_000).contains(&pipeline), "1 to 1,000")?;
        check("http2-streams", self.http2_streams, (1..=10_000).contains(&self.http2_streams), "1 to 10,000")?;
        check("opening-max", self.opening_max, self.opening_max > 0, "at least 1")?;
        let sources = self.sources.unwrap_or(1);
        check("sources", sources, (1..=250).contains(&sources), "1 to 250")?;
        check("seconds", self.duration.as_secs_f64(), !self.duration.is_zero(), "more than 0")
    }

    /// Requests that one publisher may have under way.
    pub(crate) fn pipeline(&self) -> u32 {
        self.pipeline.unwrap_or(self.burst.min(1_000))
    }

    /// The streams that are open all the time.
    pub(crate) fn streams(&self) -> u32 {
        self.subscribers.saturating_add(self.slow_readers)
    }

    /// How many streams share a connection, if they do.
    pub(crate) fn streams_per_connection(&self) -> Option<u32> {
        self.http2.then_some(self.http2_streams)
    }

    /// The most connections open at any time; visitors may take a while to leave.
    pub(crate) fn connections_max(&self) -> u64 {
        if let Some(count) = self.streams_per_connection() {
            // Each thread's last may not be full.
            return u64::from(self.streams().div_ceil(count)) + self.threads as u64;
        }
        let visitors = self.churn * (self.visit.as_secs_f64() + 1.0);
        u64::from(self.streams()) + visitors.ceil() as u64
    }
}

fn check(name: &'static str, value: impl ToString, holds: bool, range: &'static str) -> Result<(), ScenarioError> {
    if holds { Ok(()) } else { Err(ScenarioError::Range { name, value: value.to_string(), range }) }
}

/// A scenario that was checked, with its URLs taken apart and its topics named.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Tells this run's events from any other's.
    pub(crate) run: u32,
    prefix: String,
    pub(crate) layout: Layout,
    pub(crate) follow: Target,
    /// What streams ask for.
    pub(crate) encoding: Encoding,
    pub(crate) publish: Target,
    pub(crate) body: Template,
    pub(crate) publishers: u32,
}

impl Plan {
    pub(crate) fn topic_name(&self, topic: u32) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// The request of the subscriber whose first topic is `first_topic`.
    pub(crate) fn follow_request(&self, first_topic: u32) -> Vec<u8> {
        let topics: Vec<String> = self.layout.topics_of(first_topic).map(|topic| self.topic_name(topic)).collect();
        self.follow.follow(&topics)
    }

    /// The same for one that comes back and has had `last_event_id`, if it had any.
    pub(crate) fn resume_request(&self, first_topic: u32, last_event_id: &str) -> Vec<u8> {
        let mut request = self.follow_request(first_topic);
        if !last_event_id.is_empty() {
            // Before the empty line that ends the head.
            request.truncate(request.len() - 2);
            request.extend_from_slice(format!("Last-Event-ID: {last_event_id}\r\n\r\n").as_bytes());
        }
        request
    }

    /// The same in HTTP/2.
    pub(crate) fn follow_fields(&self, first_topic: u32) -> Vec<(String, String)> {
        let topics: Vec<String> = self.layout.topics_of(first_topic).map(|topic| self.topic_name(topic)).collect();
        self.follow.follow_fields(&topics)
    }
}

/// Who follows what: each subscriber a run of neighbouring topics, so that it takes no table to tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) topics: u32,
    pub(crate) per_subscriber: u32,
}

impl Layout {
    /// The first topic of the subscriber with this number.
    pub(crate) fn first_topic(self, subscriber: u32) -> u32 {
        (u64::from(subscriber) * u64::from(self.per_subscriber) % u64::from(self.topics)) as u32
    }

    pub(crate) fn topics_of(self, first_topic: u32) -> impl Iterator<Item = u32> {
        (0..self.per_subscriber).map(move |slot| (first_topic + slot) % self.topics)
    }

    /// Which of a subscriber's topics this is, if it follows it at all.
    pub(crate) fn slot(self, first_topic: u32, topic: u32) -> Option<usize> {
        let slot = if topic >= first_topic { topic - first_topic } else { topic + self.topics - first_topic };
        (topic < self.topics && slot < self.per_subscriber).then_some(slot as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_spread_evenly_and_found_again() {
        let layout = Layout { topics: 10, per_subscriber: 3 };
        let mut followers = [0; 10];
        for subscriber in 0..10 {
            let first = layout.first_topic(subscriber);
            for (slot, topic) in layout.topics_of(first).enumerate() {
                followers[topic as usize] += 1;
                assert_eq!(layout.slot(first, topic), Some(slot));
            }
        }
        assert_eq!(followers, [3; 10]);
        assert_eq!(layout.slot(8, 1), None);
        assert_eq!(layout.slot(8, 0), Some(2));
        assert_eq!(layout.slot(0, 10), None);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let base = Scenario::new("http://127.0.0.1:1/events/{topic}", "http://127.0.0.1:1/events/{topic}");
        assert!(base.plan().is_ok());
        let refused = |change: fn(&mut Scenario)| {
            let mut scenario = base.clone();
            change(&mut scenario);
            scenario.plan().unwrap_err().to_string()
        };
        assert!(refused(|s| s.topics = 0).contains("topics is 0"));
        assert!(refused(|s| s.event_bytes = 10).contains("event-bytes is 10"));
        assert!(refused(|s| s.rate = f64::NAN).contains("rate is NaN"));
        assert!(refused(|s| s.topics_per_subscriber = 2).contains("{KEY=*}"));
        assert!(refused(|s| s.publish_url = "http://127.0.0.1:1/".to_owned()).contains("publish URL or body"));
        assert!(refused(|s| s.publish_body = "x".to_owned()).contains("{data}"));
        assert!(refused(|s| (s.http2, s.churn) = (true, 1.0)).contains("not to be had in HTTP/2"));
        assert!(refused(|s| s.follow_url = "ftp://x".to_owned()).contains("follow URL"));
    }
}
