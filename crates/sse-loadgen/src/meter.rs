//! Takes the figures of the server's process and of this one, at the points of a run where they mean something.

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::procfs::{self, Process, Usage};

/// So many samples are kept; when there are more, every other one is dropped and the interval doubles.
const SAMPLES_MAX: usize = 8_192;

/// One point of the time series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since publishing began.
    pub seconds: f64,
    /// Events that had arrived at subscribers by then.
    pub delivered: u64,
    /// What the server used by then, if its process is known.
    pub server: Option<Usage>,
}

/// The figures at the turning points of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Points {
    /// Before the first stream.
    pub(crate) before: Usage,
    /// With all streams open and nothing published.
    pub(crate) idle: Usage,
    /// When publishing began, and when everything had arrived.
    pub(crate) start: Usage,
    pub(crate) end: Usage,
}

/// Collects usage over a run.
#[derive(Debug)]
pub(crate) struct Meter {
    /// All that the server is made of.
    server: Vec<Process>,
    pub(crate) server_points: Points,
    pub(crate) own_points: Points,
    pub(crate) slab: [Option<u64>; 2],
    pub(crate) samples: Vec<Sample>,
    interval: Duration,
    began: Instant,
    sampled: Option<Instant>,
    /// Why the server's process could not be looked at any more; its figures mean nothing then.
    pub(crate) failure: Option<io::Error>,
}

impl Meter {
    /// Fails when there is no such process, or it is not ours to look at.
    pub(crate) fn new(server_pids: &[u32], interval: Duration) -> io::Result<Self> {
        let mut meter = Self {
            server: server_pids.iter().copied().map(Process::new).collect(),
            server_points: Points::default(),
            own_points: Points::default(),
            slab: [procfs::slab_bytes(), None],
            samples: Vec::new(),
            interval,
            began: Instant::now(),
            sampled: None,
            failure: None,
        };
        (meter.server_points.before, meter.own_points.before) = meter.usages();
        match meter.failure.take() {
            Some(error) => Err(error),
            None => Ok(meter),
        }
    }

    /// Whether the server was there to be measured from beginning to end.
    pub(crate) fn has_server(&self) -> bool {
        !self.server.is_empty() && self.failure.is_none()
    }

    /// All streams are open and quiet.
    pub(crate) fn idle(&mut self) {
        self.slab[1] = procfs::slab_bytes();
        (self.server_points.idle, self.own_points.idle) = self.usages();
    }

    /// The load begins.
    pub(crate) fn start(&mut self) {
        self.began = Instant::now();
        (self.server_points.start, self.own_points.start) = self.usages();
    }

    /// Everything has arrived, and all streams are still open.
    pub(crate) fn end(&mut self) {
        (self.server_points.end, self.own_points.end) = self.usages();
    }

    /// Takes a sample if it is time for one.
    pub(crate) fn sample(&mut self, delivered: u64) {
        if self.sampled.is_some_and(|at| at.elapsed() < self.interval) {
            return;
        }
        self.sampled = Some(Instant::now());
        let server = self.server_usage();
        self.samples.push(Sample { seconds: self.began.elapsed().as_secs_f64(), delivered, server });
        if self.samples.len() > SAMPLES_MAX {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.interval *= 2;
        }
    }

    fn usages(&mut self) -> (Usage, Usage) {
        let own = Process::myself().usage().unwrap_or_default();
        (self.server_usage().unwrap_or_default(), own)
    }

    fn server_usage(&mut self) -> Option<Usage> {
        let (first, others) = self.server.split_first()?;
        let add = |sum: Usage, process: &Process| Ok(sum + process.usage()?);
        match first.usage().and_then(|first| others.iter().try_fold(first, add)) {
            Ok(usage) => Some(usage),
            Err(error) => {
                self.failure.get_or_insert(error);
                None
            }
        }
    }
}
