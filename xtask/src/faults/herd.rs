//! G12, G13 and G14: all come at once, all come back at once, all leave.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::bench::{Bench, seconds_or_over, wait_for};
use super::crowd::{Crowd, Member};
use super::finding::Findings;
use super::load::Load;
use super::publisher::Publisher;
use super::server::Server;
use super::sockets::{backlog, listen_overflows};

const WAIT: Duration = Duration::from_secs(20);

/// 5,000 connects at once: none is refused or left waiting for a second handshake.
pub fn all_connect(bench: &Bench) -> Result<Findings> {
    const COUNT: usize = 5_000;
    let server = Server::start(bench, &[])?;
    let before = listen_overflows()?;
    let mut crowd = Crowd::new(server.address())?;
    let started = Instant::now();
    for _ in 0..COUNT {
        crowd.follow("/events/herd", None)?;
    }
    let connected = started.elapsed();
    crowd.read_until(WAIT, |crowd| crowd.following() == COUNT)?;
    let mut findings = Findings::default();
    findings.all("streams opened", crowd.following(), COUNT);
    findings.none("connections the listener had no room for", listen_overflows()? - before);
    findings.at_least("room on the listener", backlog(server.address().port())? as f64, 4_096.0, "");
    findings.note("seconds to send all connects", connected.as_secs_f64());
    findings.note("seconds until all were open", started.elapsed().as_secs_f64());
    server.stop()?;
    Ok(findings)
}

/// A server is killed and started again: each client waits its own `retry:`, so they return spread out, and each is told
/// of the break in the history.
pub fn all_come_back(bench: &Bench) -> Result<Findings> {
    const BACK_WITHIN: f64 = 15.0;
    const PEAK_MAX: f64 = 1.5;
    let count = bench.pick(2_000, 10_000);
    let server = Server::start(bench, &[])?;
    let address = server.address();
    let mut crowd = Crowd::new(address)?;
    for number in 0..count {
        crowd.follow(&format!("/events/herd-{}", number % 10), None)?;
        if number % 500 == 0 {
            crowd.turn(Duration::ZERO)?;
        }
    }
    ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == count)?, "not all streams were opened");
    publish_to_all(address)?;
    let have = |crowd: &Crowd| crowd.members().iter().all(|member| member.answer.last_id().is_some());
    ensure!(crowd.read_until(WAIT, have)?, "not all got their event");
    server.kill();
    let killed = Instant::now();
    let server = Server::start_at(&address.to_string(), bench, &[])?;
    return_each_in_its_time(&mut crowd, killed, Duration::from_secs_f64(BACK_WITHIN))?;
    publish_to_all(address)?;
    let told = |crowd: &Crowd| {
        let told = |m: &&Member| m.answer.events.first().is_some_and(|event| event.kind == "sse.gap");
        crowd.members().iter().filter(told).filter(|member| member.answer.data().count() == 1).count()
    };
    crowd.read_until(Duration::from_secs(5), |crowd| told(crowd) == count)?;
    let mut findings = Findings::default();
    let mut returns: Vec<f64> =
        crowd.members().iter().filter_map(|member| Some((member.answered_at? - killed).as_secs_f64())).collect();
    returns.sort_by(f64::total_cmp);
    findings.all("back", returns.len(), count);
    findings.at_most("the last is back after", returns.last().copied().unwrap_or(f64::NAN), BACK_WITHIN, "s");
    findings.at_most("peak rate, of the mean", peak_of_mean(&returns), PEAK_MAX, "x");
    findings.all("told of the gap, then served", told(&crowd), count);
    findings.note("the first is back after", returns.first().copied());
    server.stop()?;
    Ok(findings)
}

fn publish_to_all(address: std::net::SocketAddr) -> Result<()> {
    let mut publisher = Publisher::connect(address)?;
    (0..10).try_for_each(|topic| publisher.publish(&format!("herd-{topic}"), "0").map(drop))
}

/// Every client comes back once its `retry:` is over, with its last id; until all have, or `limit` is over.
fn return_each_in_its_time(crowd: &mut Crowd, killed: Instant, limit: Duration) -> Result<()> {
    let mut waiting: Vec<(Instant, usize, String)> = Vec::new();
    let is_back = |member: &Member| member.answered_at.is_some_and(|at| at > killed);
    while killed.elapsed() < limit && !crowd.members().iter().all(is_back) {
        for number in crowd.turn(Duration::from_millis(2))? {
            let answer = &crowd.members()[number].answer;
            // One that never got an answer waits as long as the others did.
            let retry = answer.retry.unwrap_or(Duration::from_secs(3));
            let id = answer.last_id().unwrap_or_default().to_owned();
            waiting.push((Instant::now() + retry, number, id));
        }
        let now = Instant::now();
        for (_, number, id) in waiting.extract_if(.., |(due, ..)| *due <= now) {
            crowd.come_again(number, &format!("/events/herd-{}", number % 10), Some(&id))?;
        }
    }
    Ok(())
}

/// The busiest tenth of the time in which they came back, by the average tenth. Times are sorted.
fn peak_of_mean(times: &[f64]) -> f64 {
    const BINS: usize = 10;
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return f64::NAN };
    let width = ((last - first) / BINS as f64).max(1e-9);
    let mut bins = [0_usize; BINS];
    for time in times {
        bins[(((time - first) / width) as usize).min(BINS - 1)] += 1;
    }
    let peak = bins.into_iter().max().unwrap_or(0) as f64;
    peak * BINS as f64 / times.len() as f64
}

/// Ten thousand streams leave: the memory they had is given back.
pub fn all_leave(bench: &Bench) -> Result<Findings> {
    const IDLE_MAX: f64 = 1.5;
    const BACK_WITHIN: Duration = Duration::from_secs(60);
    let server = Server::start(bench, &[])?;
    let idle = server.usage()?;
    let load = ["--subscribers", "10000", "--topics", "10", "--rate", "0", "--seconds"];
    let report = Load::run(bench, "streams", &server, &[&load[..], &[bench.pick("1", "30")]].concat())?;
    let back = wait_for(BACK_WITHIN, || Ok(server.usage()?.rss_bytes as f64 <= idle.rss_bytes as f64 * IDLE_MAX))?;
    let after = server.usage()?;
    let mut findings = Findings::default();
    findings.at_most("memory, of that before the first", after.rss_bytes as f64 / idle.rss_bytes as f64, IDLE_MAX, "x");
    findings.at_most("after", seconds_or_over(back, BACK_WITHIN), BACK_WITHIN.as_secs_f64(), "s");
    findings.note("MiB before", idle.rss_mib());
    findings.note("MiB with all", report["server"]["rss_bytes_max"].as_f64().map(|bytes| bytes / 1_048_576.0));
    findings.note("MiB after", after.rss_mib());
    server.stop()?;
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_return_has_no_peak_and_a_herd_has() {
        let even: Vec<f64> = (0..1000).map(|n| f64::from(n) / 100.0).collect();
        assert!((peak_of_mean(&even) - 1.0).abs() < 0.02);
        let mut herd = vec![5.0; 500];
        herd.extend((0..500).map(|n| f64::from(n) / 50.0));
        herd.sort_by(f64::total_cmp);
        assert!(peak_of_mean(&herd) > 5.0);
        assert!(peak_of_mean(&[]).is_nan());
    }
}
