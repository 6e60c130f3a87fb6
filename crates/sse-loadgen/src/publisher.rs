//! A thread that publishes its topics' events by the schedule.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::nanos;
use crate::latency::Times;
use crate::poster::Poster;
use crate::procfs;
use crate::reader::Context;
use crate::schedule::{Due, Schedule};
use crate::stamp::{Stamp, Stamper};

/// Requests sent in one go have at most so many bytes, unless a single one has more.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// After so many failures in a row the server is taken to be gone.
const FAILURES_MAX: u32 = 3;
/// How long nothing is tried after a failure, where the server may be away for a time.
const OUTAGE_WAIT: Duration = Duration::from_millis(20);
/// How long after the schedule's end a slow server may still be given what was due.
const OVERRUN_MAX: Duration = Duration::from_secs(30);

/// What publishing came to.
#[derive(Debug)]
pub(crate) struct Publishing {
    pub(crate) sent: u64,
    pub(crate) confirmed: u64,
    /// Answers other than 2xx, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
    pub(crate) unanswered: u64,
    /// Events that were due but never sent, for the server took too long or was gone.
    pub(crate) unsent: u64,
    /// Topics and sequences of events that were sent but not confirmed.
    pub(crate) unconfirmed: Vec<(u32, u32)>,
    /// From the intended time to the answer.
    pub(crate) answered: Times,
    /// How late this tool itself was, when nothing but the clock held it up.
    pub(crate) late: Times,
    pub(crate) cpu: Duration,
    pub(crate) failure: Option<String>,
}

/// One publishing thread.
pub(crate) struct Publisher<'a> {
    context: Context<'a>,
    number: u32,
    stamper: Stamper,
    schedule: Schedule,
    poster: Poster,
    publishing: Publishing,
    failures: u32,
}

impl<'a> Publisher<'a> {
    /// The publisher with this number; its first event may be due at `start`.
    pub(crate) fn new(context: Context<'a>, number: u32, start: u64) -> Self {
        let Context { scenario, plan, .. } = context;
        Self {
            context,
            number,
            stamper: Stamper::new(plan.run, scenario.event_bytes),
            schedule: Schedule::new(scenario, plan.publishers, number, start),
            poster: Poster::new(plan.publish.addr, plan.publish.trust.clone(), scenario.publish_timeout),
            publishing: Publishing::new(),
            failures: 0,
        }
    }

    /// Publishes until the schedule is through.
    pub(crate) fn run(mut self) -> Publishing {
        // The default slack, 50 us, would count as the server's latency.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let start = self.context.clock.nanos();
        let give_up = start + nanos(self.context.scenario.duration) + nanos(OVERRUN_MAX);
        let (mut batch, mut requests) = (Vec::new(), Vec::new());
        while let Some(due) = self.schedule.peek() {
            if self.context.clock.nanos() > give_up || self.is_server_gone() {
                self.publishing.unsent = self.schedule.clone().remaining();
                break;
            }
            self.wait_until(due.intended);
            self.collect(&mut batch, &mut requests);
            self.post(&batch, &requests);
        }
        self.publishing.cpu = procfs::thread_cpu();
        self.publishing
    }

    /// One that may be away for a time is waited for; what is due meanwhile is not published.
    fn is_server_gone(&self) -> bool {
        if self.failures > 0 && self.context.scenario.resume {
            std::thread::sleep(OUTAGE_WAIT);
            return false;
        }
        self.failures >= FAILURES_MAX
    }

    fn wait_until(&mut self, intended: u64) {
        let wait = self.context.clock.until(intended);
        if !wait.is_zero() {
            std::thread::sleep(wait);
            self.publishing.late.record(self.context.clock.nanos().saturating_sub(intended));
        }
    }

    /// Takes what is due by now, as much as may be under way at once.
    fn collect(&mut self, batch: &mut Vec<Due>, requests: &mut Vec<u8>) {
        let now = self.context.clock.nanos();
        batch.clear();
        requests.clear();
        while batch.len() < self.context.scenario.pipeline() as usize && requests.len() < BATCH_BYTES_MAX {
            let Some(due) = self.schedule.peek().filter(|due| due.intended <= now || batch.is_empty()) else { return };
            self.schedule.next();
            self.request(due, requests);
            batch.push(due);
        }
    }

    fn request(&self, due: Due, out: &mut Vec<u8>) {
        let Context { scenario, plan, .. } = self.context;
        let topic = [plan.topic_name(due.topic)];
        let (before, after) = plan.body.render(&topic);
        plan.publish.publish(&topic, before.len() + scenario.event_bytes + after.len(), out);
        out.extend_from_slice(before.as_bytes());
        let Due { topic, sequence, intended } = due;
        self.stamper.encode(Stamp { topic, publisher: self.number as u16, sequence, intended }, out);
        out.extend_from_slice(after.as_bytes());
    }

    fn post(&mut self, batch: &[Due], requests: &[u8]) {
        for due in batch {
            self.context.control.sending(due.topic, due.sequence);
        }
        let Self { poster, publishing, context, .. } = self;
        publishing.sent += batch.len() as u64;
        let mut waiting = batch.iter();
        let result = poster.exchange(requests, batch.len(), |status| {
            if let Some(due) = waiting.next() {
                publishing.answer(*due, status, context.clock.nanos());
            }
        });
        publishing.unanswered += waiting.len() as u64;
        publishing.unconfirmed.extend(waiting.map(|due| (due.topic, due.sequence)));
        match result {
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.failures += 1;
                self.publishing.failure.get_or_insert(error.to_string());
            }
        }
    }
}

impl Publishing {
    pub(crate) fn new() -> Self {
        Self {
            sent: 0,
            confirmed: 0,
            refused: BTreeMap::new(),
            unanswered: 0,
            unsent: 0,
            unconfirmed: Vec::new(),
            answered: Times::new(),
            late: Times::new(),
            cpu: Duration::ZERO,
            failure: None,
        }
    }

    fn answer(&mut self, due: Due, status: u16, now: u64) {
        self.answered.record(now.saturating_sub(due.intended));
        if (200..300).contains(&status) {
            self.confirmed += 1;
        } else {
            *self.refused.entry(status).or_default() += 1;
            self.unconfirmed.push((due.topic, due.sequence));
        }
    }

    /// Takes in another publisher's.
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.confirmed += other.confirmed;
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        self.unanswered += other.unanswered;
        self.unsent += other.unsent;
        self.unconfirmed.extend(other.unconfirmed);
        self.answered.add(&other.answered);
        self.late.add(&other.late);
        self.cpu += other.cpu;
        self.failure = self.failure.take().or(other.failure);
    }
}
