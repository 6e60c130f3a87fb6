//! K1 and K2: a server that is asked to end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::bench::{Bench, expect, seconds_or_over};
use super::crash::{Random, clear, wait_for_acks};
use super::crowd::Crowd;
use super::finding::Findings;
use super::history::{Verdict, judge, replay};
use super::press::{Journal, Press};
use super::publisher::Publisher;
use super::server::Server;

/// What the process may need beyond the window.
const MORE: Duration = Duration::from_secs(2);

/// Many idle streams: not ready at once, the ends spread over the window, each told and each whole.
pub fn ends_streams_evenly(bench: &Bench) -> Result<Findings> {
    let (count, window) = bench.pick((2_000, Duration::from_secs(5)), (10_000, Duration::from_secs(10)));
    let server = Server::start(bench, &[&format!("--drain-window={}s", window.as_secs())])?;
    let mut crowd = Crowd::new(server.address())?;
    for _ in 0..count {
        crowd.follow("/events/quiet", None)?;
        crowd.turn(Duration::ZERO)?;
    }
    crowd.read_until(Duration::from_secs(30), |crowd| crowd.following() == count)?;
    let last = Publisher::connect(server.address())?.publish("quiet", "the last")?;
    let has_last = |crowd: &Crowd| crowd.members().iter().all(|member| member.answer.last_id() == Some(&last));
    crowd.read_until(Duration::from_secs(30), has_last)?;

    let began = Instant::now();
    let ending = server.terminate()?;
    let is_unready = expect("that it is not ready", MORE, || Ok(!ending.is_ready()?));
    crowd.read_until(window + MORE, |crowd| crowd.members().iter().all(|member| member.ended_at.is_some()))?;
    let exit = ending.exits_within((window + MORE).saturating_sub(began.elapsed()))?;

    let told = |member: &&super::crowd::Member| {
        let events = &member.answer.events;
        let last = events.last().map(|event| (&*event.kind, &*event.data));
        member.answer.is_ended && events.len() == 2 && last == Some(("sse.reconnect", r#"{"reason":"drain"}"#))
    };
    let ends: Vec<f64> = crowd
        .members()
        .iter()
        .filter_map(|member| Some(member.ended_at?.saturating_duration_since(began).as_secs_f64()))
        .collect();
    let mut findings = Findings::default();
    findings.is_so("not ready at once", is_unready.is_ok());
    findings.all("told to reconnect, and ended whole", crowd.members().iter().filter(told).count(), count);
    findings.at_most("most ends in a second, of the mean", busiest_second(&ends, window), 2.0, "x");
    let limit = window + MORE;
    findings.at_most("gone after", seconds_or_over(exit.map(|exit| exit.after), limit), limit.as_secs_f64(), "s");
    findings.is_so("exit code 0", exit.is_some_and(|exit| exit.is_success));
    Ok(findings)
}

/// Ends in the busiest second of the window, as a multiple of those in a second on average.
fn busiest_second(ends: &[f64], window: Duration) -> f64 {
    let seconds = window.as_secs_f64();
    let mut per_second = vec![0_u32; seconds as usize + 1];
    for end in ends {
        per_second[(*end as usize).min(seconds as usize)] += 1;
    }
    f64::from(per_second.into_iter().max().unwrap_or(0)) / (ends.len() as f64 / seconds)
}

/// Publishers that press on: each request is answered or refused, and what was acknowledged is in the log.
pub fn answers_publishers(bench: &Bench) -> Result<Findings> {
    const PUBLISHERS: usize = 8;
    let rounds = bench.pick(10, 200);
    let dir = bench.file("data");
    clear(&dir)?;
    let flags = [&*format!("--data-dir={}", dir.display()), "--drain-window=1s"];
    let mut journals = vec![Journal::default(); PUBLISHERS];
    let (mut sum, mut random) = (Verdict::default(), Random::seeded());
    let (mut clean, mut acked) = (0, 0);
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        let server = Server::start(bench, &flags)?;
        let press = Press::start(server.address(), journals, 200);
        wait_for_acks(&press, 20)?;
        std::thread::sleep(Duration::from_millis(random.below(300)));
        let ending = server.terminate()?;
        let exit = ending.exits_within(Duration::from_secs(1) + MORE)?.context("it did not end")?;
        clean += usize::from(exit.is_success);
        slowest = slowest.max(exit.after);
        journals = press.ended()?.journals;
        let server = Server::start(bench, &flags)?;
        sum.add(&judge(&journals, &replay(server.address(), "earliest")?, false));
        acked = journals.iter().map(|journal| journal.acked.len()).sum();
        server.kill();
    }
    let mut findings = Findings::default();
    findings.all("exit code 0", clean, rounds);
    findings.at_most(
        "the slowest gone after",
        slowest.as_secs_f64(),
        (Duration::from_secs(1) + MORE).as_secs_f64(),
        "s",
    );
    findings.none("acknowledged events lost", sum.lost);
    findings.none("taken, and not answered", sum.unasked);
    findings.none("out of order, repeated or nobody's", sum.reordered + sum.repeated + sum.foreign);
    findings.at_least("acknowledged in all", acked as f64, (20 * rounds) as f64, "");
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_second_shows() {
        let even: Vec<f64> = (0..100).map(|end| f64::from(end) / 10.0).collect();
        assert!((busiest_second(&even, Duration::from_secs(10)) - 1.0).abs() < 1e-9);
        assert!((busiest_second(&[3.0; 100], Duration::from_secs(10)) - 10.0).abs() < 1e-9);
        assert!(busiest_second(&[12.0; 10], Duration::from_secs(10)) > 9.0);
    }
}
