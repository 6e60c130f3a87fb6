//! C11: what a subscriber finds that was evicted and comes back.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::bench::{Bench, PATHS, expect};
use super::crowd::Crowd;
use super::finding::Findings;
use super::publisher::{Publisher, number};
use super::server::Server;

const WAIT: Duration = Duration::from_secs(15);
const EVENT_BYTES: usize = 1_000;
/// Little, so that the server soon feels that nobody reads.
const RECEIVE_BYTES: usize = 8 << 10;
/// Events that everybody reads before they stop.
const READ_FIRST: u32 = 5;

/// What a reader that came back was told.
#[derive(Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Everything after its last event, without a hole.
    Contiguous,
    /// A gap first, and everything after that.
    Gap,
    /// Something is missing, repeated, or not told.
    Wrong,
}

/// Evicted readers are counted with the reason, and resume exactly or are told of the gap.
pub fn comes_back(bench: &Bench) -> Result<Findings> {
    let (count, events) = bench.pick((20, 400), (200, 800));
    let mut findings = Findings::default();
    for (path, flags) in PATHS {
        for (ring, frames_max, wanted) in
            [("long ring", "8192", Resumed::Contiguous), ("short ring", "100", Resumed::Gap)]
        {
            let ring_flag = format!("--ring-frames-max={frames_max}");
            let bounds = ["--lag-frames-max=64", "--lag-grace=1s", &ring_flag];
            let server = Server::start(bench, &[flags, &bounds].concat())?;
            let resumed = evict_and_resume(&server, count, events)?;
            let evicted = server.evictions("lagged")? + server.evictions("stalled")?;
            findings.all(&format!("{path}, {ring}: counted as evicted"), evicted, count);
            let right = resumed.iter().filter(|resumed| **resumed == wanted).count();
            findings.all(&format!("{path}, {ring}: {wanted:?} on return"), right, count);
            server.stop()?;
        }
    }
    Ok(findings)
}

fn evict_and_resume(server: &Server, count: usize, events: u32) -> Result<Vec<Resumed>> {
    let mut publisher = Publisher::connect(server.address())?;
    let mut crowd = Crowd::new(server.address())?;
    crowd.receive_bytes = Some(RECEIVE_BYTES);
    for _ in 0..count {
        crowd.follow("/events/news", None)?;
    }
    ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == count)?, "not all streams were opened");
    publisher.publish_numbers("news", 0..READ_FIRST, EVENT_BYTES, 0.0)?;
    let have = |crowd: &Crowd| crowd.members().iter().all(|member| member.answer.data().count() >= READ_FIRST as usize);
    ensure!(crowd.read_until(WAIT, have)?, "not all got the first events");
    // From here on nobody reads.
    publisher.publish_numbers("news", READ_FIRST..events, EVENT_BYTES, 0.0)?;
    expect("evictions", WAIT, || Ok(server.streams()? == 0))?;
    let ended = |crowd: &Crowd| crowd.members().iter().all(|member| member.ended_at.is_some());
    ensure!(crowd.read_until(WAIT, ended)?, "not all streams came to their end");
    crowd.receive_bytes = None;
    let mut last_numbers = Vec::new();
    for member in 0..count {
        let answer = &crowd.members()[member].answer;
        last_numbers.push(answer.data().last().and_then(number));
        let last_id = answer.last_id().map(str::to_owned);
        crowd.come_again(member, "/events/news", last_id.as_deref())?;
    }
    let newest = Some(events - 1);
    let caught_up = |crowd: &Crowd| crowd.members().iter().all(|m| m.answer.data().last().and_then(number) == newest);
    crowd.read_until(WAIT, caught_up)?;
    let verdict = |(member, last): (usize, Option<u32>)| {
        let events = &crowd.members()[member].answer.events;
        judge(last, events.iter().map(|event| (event.kind.as_str(), number(&event.data))), events.len(), newest)
    };
    Ok(last_numbers.into_iter().enumerate().map(verdict).collect())
}

/// Judges what came after `last`: kinds and numbers, in order, up to `newest`.
fn judge<'a>(
    last: Option<u32>,
    events: impl Iterator<Item = (&'a str, Option<u32>)>,
    count: usize,
    newest: Option<u32>,
) -> Resumed {
    let mut events = events.peekable();
    let has_gap = events.next_if(|(kind, _)| *kind == "sse.gap").is_some();
    let numbers: Option<Vec<u32>> = events.map(|(kind, number)| number.filter(|_| kind.is_empty())).collect();
    let Some(numbers) = numbers.filter(|_| count > 0) else { return Resumed::Wrong };
    let is_run = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1) && numbers.last().copied() == newest;
    let begins = numbers.first().copied();
    match (has_gap, is_run) {
        (true, true) => Resumed::Gap,
        (false, true) if begins == last.map(|last| last + 1) => Resumed::Contiguous,
        _ => Resumed::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(last: u32, events: &[(&str, u32)], newest: u32) -> Resumed {
        let pairs = events.iter().map(|(kind, number)| (*kind, Some(*number)));
        judge(Some(last), pairs, events.len(), Some(newest))
    }

    #[test]
    fn holes_are_found_and_gaps_told_apart() {
        assert_eq!(judged(3, &[("", 4), ("", 5)], 5), Resumed::Contiguous);
        assert_eq!(judged(3, &[("sse.gap", 0), ("", 7), ("", 8)], 8), Resumed::Gap);
        assert_eq!(judged(3, &[("", 5)], 5), Resumed::Wrong, "4 is missing");
        assert_eq!(judged(3, &[("", 3), ("", 4)], 4), Resumed::Wrong, "3 is repeated");
        assert_eq!(judged(3, &[("", 4)], 5), Resumed::Wrong, "5 did not come");
        assert_eq!(judged(3, &[("", 4), ("sse.gap", 0), ("", 9)], 9), Resumed::Wrong, "a gap in the middle");
        assert_eq!(judged(3, &[], 5), Resumed::Wrong);
    }
}
