//! What a server has kept, read from its beginning and held against what publishers were told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::answer::Event;
use super::crowd::Crowd;
use super::press::{Journal, TOPICS, origin};
use super::publisher::Publisher;

const REPLAYED_WITHIN: Duration = Duration::from_secs(60);
/// The event behind the last that is looked for.
const END: &str = "end";

/// How a history differs from what it should be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Acknowledged, and not there. With retention, behind the oldest that is there, and not within a gap that was told.
    pub lost: u64,
    /// There more than once.
    pub repeated: u64,
    /// Before another of the same publisher that was sent earlier, or with an id that does not rise.
    pub reordered: u64,
    /// Nobody sent it, or it has another id than its publisher was told.
    pub foreign: u64,
    /// Gaps that were told of.
    pub gaps: u64,
    /// Events that are there.
    pub kept: u64,
    /// Not acknowledged, and there.
    pub unasked: u64,
}

impl Verdict {
    pub fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.foreign += other.foreign;
        self.gaps += other.gaps;
        self.kept += other.kept;
        self.unasked += other.unasked;
    }
}

/// All that the server has of the press's topics, after `cursor`. It publishes one more event, to know where the end is.
pub fn replay(address: SocketAddr, cursor: &str) -> Result<Vec<Event>> {
    let end = Publisher::connect(address)?.publish(TOPICS[0], END).context("publishing the end of a history")?;
    replay_to(address, cursor, &end)
}

/// All that it has up to the event with this id.
pub fn replay_to(address: SocketAddr, cursor: &str, end: &str) -> Result<Vec<Event>> {
    let mut crowd = Crowd::new(address)?;
    let topics: Vec<String> = TOPICS.iter().map(|topic| format!("topic={topic}")).collect();
    crowd.follow(&format!("/events?{}", topics.join("&")), Some(cursor))?;
    let has_end =
        |crowd: &Crowd| crowd.members()[0].answer.last_id().is_some_and(|last| sequence(last) >= sequence(end));
    ensure!(crowd.read_until(REPLAYED_WITHIN, has_end)?, "the replay did not come to its end");
    Ok(std::mem::take(&mut crowd.member(0).answer.events))
}

/// Holds what was replayed against the journals; `is_trimmed` if the oldest may be gone.
pub fn judge(journals: &[Journal], replayed: &[Event], is_trimmed: bool) -> Verdict {
    let mut verdict = Verdict::default();
    let mut told: HashMap<(usize, u32), &str> = HashMap::new();
    for (name, journal) in journals.iter().enumerate() {
        told.extend(journal.acked.iter().map(|(number, id)| ((name, *number), id.as_str())));
    }
    let mut last = vec![None; journals.len()];
    let (mut newest, mut oldest) = (0, u64::MAX);
    // What was dropped while it was read, and told of.
    let mut told_gaps: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
    let mut seen: HashMap<(usize, u32), u64> = HashMap::new();
    for event in replayed.iter().filter(|event| event.data != END) {
        if event.kind == "sse.gap" {
            verdict.gaps += 1;
            told_gaps.push(newest + 1..=sequence(&event.id));
            newest = newest.max(sequence(&event.id));
            continue;
        }
        let Some(origin) =
            origin(&event.data).filter(|(name, number)| journals.get(*name).is_some_and(|j| *number < j.sent))
        else {
            verdict.foreign += 1;
            continue;
        };
        verdict.kept += 1;
        let times = seen.entry(origin).or_default();
        *times += 1;
        verdict.repeated += u64::from(*times > 1);
        let sequence = sequence(&event.id);
        verdict.reordered += u64::from(sequence <= newest || last[origin.0] >= Some(origin.1));
        newest = newest.max(sequence);
        oldest = oldest.min(sequence);
        last[origin.0] = last[origin.0].max(Some(origin.1));
        match told.get(&origin) {
            Some(id) => verdict.foreign += u64::from(*id != event.id),
            None => verdict.unasked += 1,
        }
    }
    let is_told = |id: u64| told_gaps.iter().any(|gap| gap.contains(&id));
    let is_due = |id: &str| !is_trimmed || (sequence(id) >= oldest && !is_told(sequence(id)));
    verdict.lost = told.iter().filter(|(origin, id)| is_due(id) && !seen.contains_key(origin)).count() as u64;
    verdict
}

/// The number in an id of the server's.
pub fn sequence(id: &str) -> u64 {
    id.rsplit_once('-').and_then(|(_, sequence)| sequence.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, data: &str) -> Event {
        Event { kind: String::new(), id: id.to_owned(), data: data.to_owned() }
    }

    fn journal() -> Vec<Journal> {
        let acked = vec![(0, "e-1".to_owned()), (1, "e-2".to_owned()), (2, "e-3".to_owned())];
        vec![Journal { sent: 4, acked }]
    }

    fn judged(events: &[(&str, &str)], is_trimmed: bool) -> Verdict {
        let events: Vec<Event> = events.iter().map(|(id, data)| event(id, data)).collect();
        judge(&journal(), &events, is_trimmed)
    }

    #[test]
    fn every_difference_is_found() {
        let whole = [("e-1", "p0-0. "), ("e-2", "p0-1. "), ("e-3", "p0-2. "), ("e-4", "p0-3. "), ("e-5", "end")];
        assert_eq!(judged(&whole, false), Verdict { kept: 4, unasked: 1, ..Verdict::default() });
        assert_eq!(judged(&whole[1..], false).lost, 1);
        assert_eq!(judged(&whole[1..], true).lost, 0, "the oldest may go");
        assert_eq!(judged(&[whole[0], whole[2]], true).lost, 1, "none in the middle may");
        let gap = Event { kind: "sse.gap".to_owned(), id: "e-2".to_owned(), data: String::new() };
        let with_gap = [event("e-1", "p0-0. "), gap, event("e-3", "p0-2. ")];
        assert_eq!(judge(&journal(), &with_gap, true).lost, 0, "unless it is told");
        assert_eq!(judge(&journal(), &with_gap, false).lost, 1);
        assert_eq!(judged(&[whole[0], whole[1], whole[2], ("e-4", "p0-2. ")], false).repeated, 1);
        assert_eq!(judged(&[whole[1], whole[0], whole[2]], false).reordered, 1);
        assert_eq!(judged(&[whole[0], ("e-9", "p0-1. "), ("e-10", "p0-2. ")], false).foreign, 2, "other ids");
        assert_eq!(judged(&[whole[0], whole[1], whole[2], ("e-4", "p0-4. ")], false).foreign, 1, "never sent");
    }
}
