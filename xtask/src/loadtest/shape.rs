//! The shape of a load: how many streams to how many topics, how much is published, and what happens to them. Presets are
//! shapes with a name: of what happens (a storm, a restart), or of what a server is used for (scores, tokens).

use std::process::Command;

use anyhow::{Result, bail};

/// The flags that shape a load. What is not given comes from the preset.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Wanted {
    /// Streams that are read and verified [default: 2000]
    #[arg(long)]
    subscribers: Option<u32>,
    /// Topics in all [default: 10]
    #[arg(long)]
    topics: Option<u32>,
    /// Topics on each stream [default: 1]
    #[arg(long)]
    topics_per_subscriber: Option<u32>,
    /// Events per second over all topics; 0 leaves the streams idle [default: 100]
    #[arg(long)]
    rate: Option<f64>,
    /// Events that go out at once, to one topic [default: 1]
    #[arg(long)]
    burst: Option<u32>,
    /// Bytes of data in each event [default: 200]
    #[arg(long)]
    event_bytes: Option<usize>,
    /// How long to publish [default: 10]
    #[arg(long)]
    seconds: Option<f64>,
    /// More streams, that stop reading once they are open [default: 0]
    #[arg(long)]
    slow_readers: Option<u32>,
    /// More streams that come each second, and leave [default: 0]
    #[arg(long)]
    churn: Option<f64>,
    /// What happens, or what it is like: one of `--preset list`
    #[arg(long)]
    pub preset: Option<String>,
}

/// A load, with nothing left open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    subscribers: u32,
    topics: u32,
    pub topics_per_subscriber: u32,
    pub rate: f64,
    burst: u32,
    event_bytes: usize,
    seconds: f64,
    slow_readers: u32,
    churn: f64,
    what: What,
}

/// What happens beside publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Nothing,
    /// All streams are cut halfway, and begin anew.
    Reconnect,
    /// All streams are cut halfway, and get what they missed.
    Resume,
    /// The server is killed halfway and started again on its log.
    Restart,
}

/// A shape with a name.
struct Preset {
    name: &'static str,
    about: &'static str,
    shape: Shape,
}

const STEADY: Shape = Shape {
    subscribers: 2_000,
    topics: 10,
    topics_per_subscriber: 1,
    rate: 100.0,
    burst: 1,
    event_bytes: 200,
    seconds: 10.0,
    slow_readers: 0,
    churn: 0.0,
    what: What::Nothing,
};

/// 53 bytes is the least that can be verified.
#[rustfmt::skip]
const PRESETS: [Preset; 14] = [
    Preset { name: "steady", about: "even load on a few topics", shape: STEADY },
    Preset { name: "ramp", about: "ten thousand streams opened as fast as they are taken, then quiet", shape: Shape { subscribers: 10_000, rate: 0.0, seconds: 3.0, ..STEADY } },
    Preset { name: "burst", about: "bursts of 25 to a thousand on one topic", shape: Shape { subscribers: 1_000, topics: 1, rate: 50.0, burst: 25, ..STEADY } },
    Preset { name: "churn", about: "200 visitors a second beside those who stay", shape: Shape { subscribers: 1_000, churn: 200.0, ..STEADY } },
    Preset { name: "slow-readers", about: "100 streams that nobody reads beside those who do", shape: Shape { subscribers: 1_000, slow_readers: 100, event_bytes: 2_000, ..STEADY } },
    Preset { name: "many-topics", about: "streams over 20 of 20,000 topics each", shape: Shape { subscribers: 1_000, topics: 20_000, topics_per_subscriber: 20, rate: 1_000.0, ..STEADY } },
    Preset { name: "reconnect-storm", about: "all streams are cut at once, and begin anew", shape: Shape { what: What::Reconnect, ..STEADY } },
    Preset { name: "resume-storm", about: "all streams are cut at once, and get what they missed", shape: Shape { what: What::Resume, ..STEADY } },
    Preset { name: "restart", about: "the server is killed and started again on its log; streams get what they missed", shape: Shape { subscribers: 1_000, what: What::Restart, ..STEADY } },
    Preset { name: "scores", about: "scores to a crowd: one topic, everybody follows it", shape: Shape { subscribers: 10_000, topics: 1, rate: 4.0, event_bytes: 300, ..STEADY } },
    Preset { name: "ticks", about: "market ticks: streams over 10 of 100 symbols each, small and fast events", shape: Shape { subscribers: 500, topics: 100, topics_per_subscriber: 10, rate: 500.0, event_bytes: 120, ..STEADY } },
    Preset { name: "notifications", about: "notifications: a topic for each user, and few events", shape: Shape { subscribers: 5_000, topics: 5_000, rate: 200.0, event_bytes: 400, ..STEADY } },
    Preset { name: "tokens", about: "answers of language models: a topic for each, 20 tokens a second on each", shape: Shape { subscribers: 100, topics: 100, rate: 2_000.0, event_bytes: 60, ..STEADY } },
    Preset { name: "dashboards", about: "dashboards: streams over 8 of 40 panels each, large events", shape: Shape { subscribers: 500, topics: 40, topics_per_subscriber: 8, rate: 100.0, event_bytes: 1_500, ..STEADY } },
];

impl Wanted {
    /// The preset, with what was given in its place.
    pub fn shape(&self) -> Result<Shape> {
        let preset = match &self.preset {
            None => STEADY,
            Some(name) => match PRESETS.iter().find(|preset| preset.name == name) {
                Some(preset) => preset.shape,
                None => bail!("there is no preset {name}; there are:\n{}", list()),
            },
        };
        Ok(Shape {
            subscribers: self.subscribers.unwrap_or(preset.subscribers),
            topics: self.topics.unwrap_or(preset.topics),
            topics_per_subscriber: self.topics_per_subscriber.unwrap_or(preset.topics_per_subscriber),
            rate: self.rate.unwrap_or(preset.rate),
            burst: self.burst.unwrap_or(preset.burst),
            event_bytes: self.event_bytes.unwrap_or(preset.event_bytes),
            seconds: self.seconds.unwrap_or(preset.seconds),
            slow_readers: self.slow_readers.unwrap_or(preset.slow_readers),
            churn: self.churn.unwrap_or(preset.churn),
            what: preset.what,
        })
    }

    /// Whether the presets are only to be listed.
    pub fn lists(&self) -> bool {
        self.preset.as_deref() == Some("list")
    }
}

/// The presets, a line each.
pub fn list() -> String {
    PRESETS.iter().map(|preset| format!("{:<16} {}\n", preset.name, preset.about)).collect()
}

impl Shape {
    /// When a server that is to be killed is killed, in seconds after the load generator has started to publish.
    pub fn kill_after(&self) -> Option<f64> {
        (self.what == What::Restart).then_some(self.seconds / 2.0)
    }

    /// The load generator's flags.
    pub fn pass_on(&self, command: &mut Command) {
        let flags = [
            ("--subscribers", self.subscribers.to_string()),
            ("--topics", self.topics.to_string()),
            ("--topics-per-subscriber", self.topics_per_subscriber.to_string()),
            ("--rate", self.rate.to_string()),
            ("--burst", self.burst.to_string()),
            ("--event-bytes", self.event_bytes.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--slow-readers", self.slow_readers.to_string()),
            ("--churn", self.churn.to_string()),
        ];
        for (flag, value) in flags {
            command.arg(flag).arg(value);
        }
        if matches!(self.what, What::Reconnect | What::Resume) {
            command.args(["--storm", &(self.seconds / 2.0).to_string()]);
        }
        if matches!(self.what, What::Resume | What::Restart) {
            command.arg("--resume");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(wanted: &Wanted) -> String {
        let mut command = Command::new("loadgen");
        wanted.shape().unwrap().pass_on(&mut command);
        crate::program::shown(&command)
    }

    #[test]
    fn what_is_given_goes_before_the_preset() {
        let preset = |name: &str| Wanted { preset: Some(name.to_owned()), ..Wanted::default() };
        assert!(flags(&Wanted::default()).contains("--subscribers 2000 --topics 10"));
        assert!(flags(&preset("burst")).contains("--burst 25"));
        let fewer = Wanted { subscribers: Some(7), ..preset("resume-storm") };
        let shown = flags(&fewer);
        assert!(shown.contains("--subscribers 7 ") && shown.ends_with("--storm 5 --resume"), "{shown}");
        assert!(flags(&preset("reconnect-storm")).ends_with("--storm 5"));
        assert_eq!(preset("restart").shape().unwrap().kill_after(), Some(5.0));
        assert_eq!(preset("steady").shape().unwrap().kill_after(), None);
        let error = preset("scors").shape().unwrap_err().to_string();
        assert!(error.contains("no preset scors") && error.contains("scores "), "{error}");
    }

    #[test]
    fn every_preset_is_within_what_the_load_generator_takes() {
        for Preset { name, shape, .. } in &PRESETS {
            assert!(shape.event_bytes >= 53 && shape.topics_per_subscriber <= shape.topics, "{name}");
            let deliveries =
                shape.rate * f64::from(shape.subscribers * shape.topics_per_subscriber) / f64::from(shape.topics);
            assert!(deliveries <= 50_000.0, "{name}: {deliveries} a second are more than two cores can have");
        }
    }
}
