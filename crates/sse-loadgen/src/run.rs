//! One run from beginning to end: open the streams, publish, wait for what is missing, add up.

use std::io;
use std::sync::atomic::Ordering;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::clock::{Clock, nanos};
use crate::connector::{port_range, sources_needed};
use crate::control::{Control, Stage};
use crate::descriptors;
use crate::latency::{LastArrivals, Times};
use crate::ledger::{Ledger, Tally};
use crate::machine::Machine;
use crate::meter::Meter;
use crate::progress::Progress;
use crate::publisher::{Publisher, Publishing};
use crate::reader::{Context, Read, Reader};
use crate::report::{Delivery, Load, OwnUse, Published, Report, ServerUse, Streams};
use crate::scenario::{Plan, Scenario, ScenarioError};

/// How often the main thread looks around.
const TICK: Duration = Duration::from_millis(20);
/// Between the decision to publish and the first event, so that all publishers are ready for it.
const LEAD: Duration = Duration::from_millis(20);
/// Descriptors beside the streams: publishers, pollers, standard streams, the ones of the host.
const DESCRIPTORS_RESERVE: u64 = 64;

/// Why a run came to nothing. A run that found faults is not an error but a [`Report`] that is not whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The scenario cannot be run.
    #[error("the scenario cannot be run")]
    Scenario(#[from] ScenarioError),
    /// The system does not allow so many descriptors.
    #[error("{needed} descriptors are needed, but the limit is {allowed}")]
    Descriptors {
        /// What the scenario needs.
        needed: u64,
        /// What the hard limit allows.
        allowed: u64,
    },
    /// More streams than ports, and no other source addresses: only loopback has them.
    #[error("{streams} streams need {needed} source addresses, which only a target on loopback has")]
    Sources {
        /// Streams at most.
        streams: u64,
        /// Addresses for them.
        needed: u64,
    },
    /// Not all streams could be opened.
    #[error("{opened} of {streams} streams were opened: {reason}")]
    Ramp {
        /// How many were.
        opened: u64,
        /// How many were wanted.
        streams: u64,
        /// What happened to the first that was not.
        reason: String,
    },
    /// A thread could not do its work.
    #[error("a reading thread failed")]
    Reader(#[source] io::Error),
    /// The server's process cannot be looked at.
    #[error("the server's process cannot be measured")]
    Server(#[source] io::Error),
}

/// Runs a scenario to its end; that takes the ramp, the duration and at most a few timeouts longer.
///
/// # Errors
/// [`RunError`], when no figures could be had.
pub fn run(scenario: &Scenario) -> Result<Report, RunError> {
    let plan = scenario.plan()?;
    check_descriptors(scenario, &plan)?;
    let sources = sources(scenario, &plan)?;
    let control = Control::new(scenario.topics);
    let context = Context { scenario, plan: &plan, control: &control, clock: Clock::start(), sources };
    let mut meter = Meter::new(&scenario.server_pids, scenario.sample_interval).map_err(RunError::Server)?;
    std::thread::scope(|scope| {
        let readers = start_readers(scope, context);
        let driven = {
            let _closing = Closing(&control);
            drive(scope, context, &mut meter)
        };
        let reads = join_readers(readers, scenario)?;
        Ok(report(context, &meter, driven?, reads))
    })
}

/// Lets the readers end, whatever way the main thread leaves.
struct Closing<'a>(&'a Control);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.enter(Stage::Close);
    }
}

/// What the main thread comes back with.
struct Driven {
    publishing: Publishing,
    ramp: Duration,
    load: Duration,
}

fn check_descriptors(scenario: &Scenario, plan: &Plan) -> Result<(), RunError> {
    let needed = scenario.connections_max() + u64::from(plan.publishers) + DESCRIPTORS_RESERVE;
    let allowed = descriptors::raise();
    if needed > allowed { Err(RunError::Descriptors { needed, allowed }) } else { Ok(()) }
}

fn sources(scenario: &Scenario, plan: &Plan) -> Result<u32, RunError> {
    let streams = scenario.connections_max();
    let needed = scenario.sources.map_or_else(|| sources_needed(streams, port_range()), u64::from);
    let is_loopback = plan.follow.addr.is_ipv4() && plan.follow.addr.ip().is_loopback();
    match u32::try_from(needed) {
        Ok(sources) if sources == 1 || (is_loopback && sources <= 250) => Ok(sources),
        _ => Err(RunError::Sources { streams, needed }),
    }
}

type ReaderHandle<'scope, 'a> = ScopedJoinHandle<'scope, io::Result<Read<'a>>>;

fn start_readers<'scope, 'a: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    context: Context<'a>,
) -> Vec<ReaderHandle<'scope, 'a>> {
    let Context { scenario, plan, control, .. } = context;
    let start = |number| {
        move || {
            let ledger = Ledger::new(control, plan, scenario);
            let result = Reader::new(context, number, ledger).and_then(Reader::run);
            result.inspect_err(|error| control.fail(error.to_string()))
        }
    };
    (0..scenario.threads).map(|number| scope.spawn(start(number))).collect()
}

fn join_readers<'a>(readers: Vec<ReaderHandle<'_, 'a>>, scenario: &Scenario) -> Result<Vec<Read<'a>>, RunError> {
    let _progress = Progress::start("adding up", u64::from(scenario.streams()));
    let join = |reader: ReaderHandle<'_, 'a>| match reader.join() {
        Ok(read) => read.map_err(RunError::Reader),
        Err(panic) => std::panic::resume_unwind(panic),
    };
    readers.into_iter().map(join).collect()
}

fn drive<'scope, 'a: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    context: Context<'a>,
    meter: &mut Meter,
) -> Result<Driven, RunError> {
    let ramp = ramp(context)?;
    std::thread::sleep(context.scenario.settle);
    meter.idle();
    meter.start();
    let began = Instant::now();
    context.control.enter(Stage::Run);
    let publishing = publish(scope, context, meter);
    let sent = (0..context.scenario.topics).map(|topic| context.control.sent(topic));
    context.control.finish(crate::verify::Published::new(sent, &publishing.unconfirmed));
    wait_for_the_rest(context, meter);
    meter.end();
    Ok(Driven { publishing, ramp, load: began.elapsed() })
}

fn ramp(context: Context<'_>) -> Result<Duration, RunError> {
    let Context { scenario, control, .. } = context;
    let streams = u64::from(scenario.streams());
    let progress = Progress::start("opening", streams);
    let began = Instant::now();
    let (mut before, mut moved) = (0, Instant::now());
    loop {
        let opened = control.opened.load(Ordering::Relaxed);
        progress.at(opened);
        if opened == streams {
            return Ok(began.elapsed());
        }
        if let Some(reason) = control.failure() {
            return Err(RunError::Ramp { opened, streams, reason });
        }
        if opened > before {
            (before, moved) = (opened, Instant::now());
        }
        if moved.elapsed() > scenario.ramp_timeout {
            return Err(RunError::Ramp { opened, streams, reason: "nothing more happened".to_owned() });
        }
        std::thread::sleep(TICK);
    }
}

/// Publishes by the schedule, or waits as long when the streams are to be idle.
fn publish<'scope, 'a: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    context: Context<'a>,
    meter: &mut Meter,
) -> Publishing {
    let Context { scenario, plan, control, clock, .. } = context;
    let progress = Progress::start("publishing", scenario.duration.as_secs());
    let began = Instant::now();
    let start = clock.nanos() + nanos(LEAD);
    let count = if scenario.rate > 0.0 { plan.publishers } else { 0 };
    let publishers: Vec<_> =
        (0..count).map(|number| scope.spawn(move || Publisher::new(context, number, start).run())).collect();
    let is_over = || match publishers.is_empty() {
        true => began.elapsed() >= scenario.duration,
        false => publishers.iter().all(ScopedJoinHandle::is_finished),
    };
    while !is_over() {
        meter.sample(control.delivered.load(Ordering::Relaxed));
        progress.at(began.elapsed().as_secs());
        std::thread::sleep(TICK);
    }
    let mut publishing = Publishing::new();
    for publisher in publishers {
        match publisher.join() {
            Ok(other) => publishing.add(other),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    publishing
}

/// Until every subscriber has everything, or nothing has come for long enough.
fn wait_for_the_rest(context: Context<'_>, meter: &mut Meter) {
    let Context { scenario, control, .. } = context;
    let (mut before, mut moved) = (0, Instant::now());
    while control.caught_up.load(Ordering::Relaxed) < scenario.threads && moved.elapsed() < scenario.drain_timeout {
        let delivered = control.delivered.load(Ordering::Relaxed);
        if delivered > before {
            (before, moved) = (delivered, Instant::now());
        }
        meter.sample(delivered);
        std::thread::sleep(TICK);
    }
}

fn report(context: Context<'_>, meter: &Meter, driven: Driven, reads: Vec<Read<'_>>) -> Report {
    let Context { scenario, .. } = context;
    let (mut tally, mut latency) = (Tally::default(), Times::new());
    let (mut opening, mut away) = (Times::new(), Times::new());
    let mut last = LastArrivals::new(scenario.topics);
    let mut reading_cpu = Duration::ZERO;
    for Read { ledger, cpu } in reads {
        reading_cpu += cpu;
        tally.add(ledger.tally);
        latency.add(&ledger.latency);
        opening.add(&ledger.opening);
        away.add(&ledger.away);
        last.merge(ledger.last);
    }
    let streams = u64::from(scenario.streams());
    let delivered = tally.delivered + tally.delivered_slow;
    let seconds = driven.load.as_secs_f64();
    let publishing_cpu = driven.publishing.cpu;
    let publishing = Published::of(driven.publishing);
    let expected = tally.delivered + tally.lost;
    Report {
        whole: tally.is_whole() && publishing.is_whole(scenario.resume),
        load: Load::of(scenario),
        machine: Machine::describe(),
        streams: Streams {
            opened: streams,
            ramp_seconds: driven.ramp.as_secs_f64(),
            opening: opening.summary(),
            away: away.summary(),
            sources: context.sources,
        },
        publishing,
        delivery: Delivery {
            expected,
            share: if expected == 0 { 1.0 } else { tally.delivered as f64 / expected as f64 },
            per_second: tally.delivered as f64 / seconds,
            latency: latency.summary(),
            latency_curve: latency.curve(),
            last_subscriber: last.times().summary(),
            tally,
        },
        server_failure: meter.failure.as_ref().map(ToString::to_string),
        server: meter.has_server().then(|| ServerUse::of(meter, streams, delivered, seconds)),
        loadgen: OwnUse::of(&meter.own_points, streams, delivered, reading_cpu, publishing_cpu),
        samples: meter.samples.clone(),
    }
}
