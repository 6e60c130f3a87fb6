//! Reading what the rings no longer hold, from the engine.

use std::time::{Duration, Instant};

use sse_hub::{
    Cursor, GapReason, History, Intake, LogError, LogRead, Page, Record, Selector, SharedContent, Step, TopicName,
};
use sse_wire::EventId;

use super::engine::{EngineError, Found, Range};
use super::epochs::Place;
use super::node::Node;

/// How long a subscriber waits for an engine that is away before it is told of a gap.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long between two tries.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Entries looked at for an id that a publisher gave, the newest first; with none found the subscriber is told of a gap.
const GIVEN_SCANNED_MAX: u64 = 65_536;
/// How many of those at a time.
const GIVEN_PAGE: u64 = 1_024;

impl History for Node {
    fn read(&self, read: &LogRead<'_>) -> Result<Page, LogError> {
        let epochs = self.epochs();
        let (number, last, base, epoch) = match epochs.place(read.after) {
            Place::Number { number, last, base, epoch } => (number, last, base, epoch),
            Place::Lost { up_to, reason } => {
                let lost = Step::Lost { up_to, reason };
                return Ok(Page { steps: vec![lost], covered_to: up_to });
            }
        };
        let up_to = last.min(read.up_to.saturating_sub(base));
        let found =
            self.read_engine(&Range { after: number, up_to, entries_max: LogRead::SCANNED_MAX, topic: None })?;
        let cursor = |number: u64| Cursor { epoch, sequence: base + number };
        if found.covered_to <= number && number < up_to {
            return Err(LogError::Unavailable("the engine gives nothing of what it has".into()));
        }
        Ok(page(self, &found, number, cursor, read.followed))
    }

    fn find_given(&self, followed: &[Selector], id: &EventId) -> Result<Vec<Record>, LogError> {
        let epochs = self.epochs();
        let newest = self.position();
        let floor = epochs.begins_after().max(newest.saturating_sub(GIVEN_SCANNED_MAX));
        let mut up_to = newest;
        while up_to > floor {
            let after = floor.max(up_to.saturating_sub(GIVEN_PAGE));
            let is_wanted =
                |record: &Record| record.given_id.as_ref() == Some(id) && is_followed(&record.topics, followed);
            let (mut wanted, mut read_to) = (Vec::new(), after);
            // Of large entries an answer has fewer.
            while read_to < up_to {
                let range = Range { after: read_to, up_to, entries_max: GIVEN_PAGE as usize, topic: None };
                let found = self.read_engine(&range)?;
                let records =
                    found.entries.iter().filter_map(|entry| match self.read_entry(&entry.bytes).ok()?.content {
                        SharedContent::Event(event) => Some(Intake::record(event, epochs.cursor(entry.number))),
                        SharedContent::Missed { .. } | SharedContent::Note(_) => None,
                    });
                wanted.extend(records.filter(is_wanted));
                if found.covered_to <= read_to {
                    return Err(LogError::Unavailable("the engine gives nothing of what it has".into()));
                }
                read_to = found.covered_to;
            }
            if !wanted.is_empty() {
                return Ok(wanted);
            }
            up_to = after;
        }
        Ok(Vec::new())
    }
}

impl Node {
    /// Asks the engine, again and again while it is away.
    fn read_engine(&self, range: &Range) -> Result<Found, LogError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.runtime.block_on(self.engine.read(range.clone())) {
                Ok(found) => return Ok(found),
                Err(error @ EngineError::Unavailable(_)) if Instant::now() < deadline && !self.is_stopping() => {
                    tracing::debug!(%error, "a subscriber waits for the backplane");
                    std::thread::sleep(RETRY_AFTER);
                }
                Err(error) => return Err(LogError::Unavailable(error.into())),
            }
        }
    }
}

/// What was found behind the entry `after`, as far as it fits a page. Entries are numbered without a hole, so what is missing
/// between them is lost.
fn page(node: &Node, found: &Found, after: u64, cursor: impl Fn(u64) -> Cursor, followed: &[Selector]) -> Page {
    let lost = |number: u64, reason| Step::Lost { up_to: cursor(number).sequence, reason };
    let (mut steps, mut read_to, mut events, mut bytes) = (Vec::new(), after, 0, 0);
    for entry in &found.entries {
        if events >= LogRead::EVENTS_MAX || bytes >= LogRead::BYTES_MAX {
            return Page { steps, covered_to: cursor(read_to).sequence };
        }
        if entry.number > read_to + 1 {
            steps.push(lost(entry.number - 1, GapReason::Trimmed));
        }
        read_to = entry.number;
        match node.read_entry(&entry.bytes).map(|entry| entry.content) {
            Ok(SharedContent::Event(event)) if is_followed(event.topics(), followed) => {
                let record = Intake::record(event, cursor(entry.number));
                (events, bytes) = (events + 1, bytes + record.frame.chunk().len());
                steps.push(Step::Record(record));
            }
            Ok(SharedContent::Missed { topics, .. }) if is_followed(&topics, followed) => {
                steps.push(lost(entry.number, GapReason::Damaged));
            }
            // Of others, a note, or nobody's.
            _ => (),
        }
    }
    if found.covered_to > read_to {
        steps.push(lost(found.covered_to, GapReason::Trimmed));
        read_to = found.covered_to;
    }
    Page { steps, covered_to: cursor(read_to).sequence }
}

fn is_followed(topics: &[TopicName], followed: &[Selector]) -> bool {
    topics.iter().any(|topic| followed.iter().any(|selector| selector.matches(topic.as_str())))
}
