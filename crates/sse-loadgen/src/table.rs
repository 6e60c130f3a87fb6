//! A report as a table for the terminal.

use std::fmt::{self, Display, Formatter};

use crate::latency::Quantiles;
use crate::report::{Delivery, OwnUse, Published, Report, ServerUse};

const NAME_WIDTH: usize = 24;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let load = &self.load;
        row(
            f,
            "load",
            format_args!(
                "{} subscribers x {} of {} topics, {} events/s of {} B in bursts of {}, {:.0} s",
                load.subscribers,
                load.topics_per_subscriber,
                load.topics,
                load.rate,
                load.event_bytes,
                load.burst,
                load.seconds
            ),
        )?;
        if load.slow_readers > 0 || load.churn > 0.0 {
            row(f, "beside them", format_args!("{} slow readers, {} visitors/s", load.slow_readers, load.churn))?;
        }
        let machine = &self.machine;
        row(f, "machine", format_args!("{} cores, {}, Linux {}", machine.cores, machine.processor, machine.kernel))?;
        let streams = &self.streams;
        row(f, "streams opened", format_args!("{} in {:.2} s", streams.opened, streams.ramp_seconds))?;
        writeln!(f)?;
        times_head(f)?;
        times(f, "opening a stream", &streams.opening)?;
        times(f, "away, until open again", &streams.away)?;
        times(f, "publish to answer", &self.publishing.answered)?;
        times(f, "publish to subscriber", &self.delivery.latency)?;
        times(f, "publish to the last one", &self.delivery.last_subscriber)?;
        times(f, "(our own lateness)", &self.publishing.late)?;
        writeln!(f)?;
        published(f, &self.publishing)?;
        delivery(f, &self.delivery)?;
        writeln!(f)?;
        if let Some(server) = &self.server {
            server_use(f, server)?;
        }
        if let Some(failure) = &self.server_failure {
            row(f, "server", format_args!("could not be measured to the end: {failure}"))?;
        }
        own_use(f, &self.loadgen)?;
        row(
            f,
            "verdict",
            if self.whole { "everything arrived, once and in order" } else { "NOT everything arrived as it should" },
        )
    }
}

fn row(f: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{name:<NAME_WIDTH$}{value}")
}

fn times_head(f: &mut Formatter<'_>) -> fmt::Result {
    let head = ["p50", "p90", "p99", "p99.9", "max"].map(|name| format!("{name:>10}")).concat();
    row(f, "milliseconds", head)
}

fn times(f: &mut Formatter<'_>, name: &str, times: &Quantiles) -> fmt::Result {
    if times.count == 0 {
        return Ok(());
    }
    let values = [times.p50_ms, times.p90_ms, times.p99_ms, times.p999_ms, times.max_ms];
    row(f, name, values.map(|value| format!("{value:>10.3}")).concat())
}

fn published(f: &mut Formatter<'_>, published: &Published) -> fmt::Result {
    let Published { sent, confirmed, unanswered, unsent, .. } = published;
    row(f, "published", format_args!("{sent}, confirmed {confirmed}"))?;
    for (status, count) in &published.refused {
        row(f, &format!("  answered {status}"), count)?;
    }
    nonzero(f, "  not answered", *unanswered)?;
    nonzero(f, "  not sent in time", *unsent)?;
    if let Some(failure) = &published.failure {
        row(f, "  first failure", failure)?;
    }
    Ok(())
}

fn delivery(f: &mut Formatter<'_>, delivery: &Delivery) -> fmt::Result {
    let tally = &delivery.tally;
    row(
        f,
        "delivered",
        format_args!(
            "{} of {} ({:.4} %), {:.0} per second, {:.1} MB read",
            tally.delivered,
            delivery.expected,
            delivery.share * 100.0,
            delivery.per_second,
            tally.bytes as f64 / 1e6
        ),
    )?;
    row(f, "lost", tally.lost)?;
    row(f, "repeated", tally.repeated)?;
    row(f, "out of order", tally.reordered)?;
    let others = [
        ("damaged", tally.damaged),
        ("ids not rising", tally.ids_not_rising),
        ("epoch changes", tally.epoch_changes),
        ("gaps", tally.gaps),
        ("streams ended early", tally.closed_early),
        ("malformed streams", tally.malformed),
        ("visits failed", tally.visits_failed),
        ("visits", tally.visits),
        ("streams that came back", tally.comebacks),
        ("to slow readers", tally.delivered_slow),
        ("  skipped", tally.skipped_slow),
        ("  gaps", tally.gaps_slow),
        ("  evicted", tally.evicted_slow),
        ("heartbeats", tally.comments),
        ("foreign events", tally.foreign),
        ("server's own events", tally.signals),
    ];
    others.into_iter().try_for_each(|(name, count)| nonzero(f, name, count))?;
    tally.examples.iter().try_for_each(|example| row(f, "  for example", example))
}

fn nonzero(f: &mut Formatter<'_>, name: &str, count: u64) -> fmt::Result {
    if count == 0 { Ok(()) } else { row(f, name, count) }
}

fn server_use(f: &mut Formatter<'_>, server: &ServerUse) -> fmt::Result {
    row(
        f,
        "server CPU",
        format_args!(
            "{:.2} us per delivery, {:.2} s in all, {:.2} cores; {:.1} us per stream opened",
            server.cpu_us_per_delivery, server.cpu_seconds, server.cores, server.cpu_us_per_opening
        ),
    )?;
    row(
        f,
        "server memory",
        format_args!(
            "{:.1} MiB before, {:.1} MiB idle, {:.1} MiB at most",
            mib(server.before.rss_bytes),
            mib(server.idle.rss_bytes),
            mib(server.rss_bytes_max)
        ),
    )?;
    row(
        f,
        "  per stream",
        format_args!(
            "{:.2} KiB idle, {:.2} KiB at most; kernel {:.2} KiB, both ends",
            kib(server.rss_bytes_per_idle_stream),
            kib(server.rss_bytes_per_loaded_stream),
            kib(server.kernel_bytes_per_stream)
        ),
    )?;
    let (idle, end) = (server.idle, server.end);
    row(
        f,
        "server threads, files",
        format_args!(
            "{} and {} idle, {} and {} at the end",
            idle.threads, idle.descriptors, end.threads, end.descriptors
        ),
    )
}

fn own_use(f: &mut Formatter<'_>, own: &OwnUse) -> fmt::Result {
    row(
        f,
        "load generator",
        format_args!(
            "{:.2} us per delivery, {:.2} s in all ({:.2} s reading, {:.2} s publishing); {:.2} KiB per idle stream, {:.2} KiB loaded",
            own.cpu_us_per_delivery,
            own.cpu_seconds,
            own.reading_cpu_seconds,
            own.publishing_cpu_seconds,
            kib(own.rss_bytes_per_idle_stream),
            kib(own.rss_bytes_per_loaded_stream)
        ),
    )
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn kib(bytes: f64) -> f64 {
    bytes / 1024.0
}
