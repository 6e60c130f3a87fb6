//! Reading the log for a subscriber that the rings no longer serve.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use sse_wire::EventId;

use crate::archive::{Archive, Found, PageShare, ReadSlot, Wish};
use crate::batch::{Batch, Item};
use crate::grants::Sight;
use crate::hub::HubInner;
use crate::log::{Page, Record, RecordKind, Step};
use crate::{Gap, GapReason, Grants, Selector, TopicName};

/// A subscriber's way through the log, a page at a time, until it has come to where the rings go on.
#[derive(Debug)]
pub(crate) struct Replay {
    archive: Arc<Archive>,
    followed: Arc<[Selector]>,
    grants: Grants,
    /// Everything up to here has been read.
    cursor: u64,
    /// What was asked for, as the first gap repeats it.
    requested: Option<String>,
    /// What is missing before the first event, wherever that is.
    owed: Option<GapReason>,
    /// All that is kept was asked for: what is not is no loss.
    is_excused: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The event with the id asked for is to be found first.
    Finding { slot: Arc<ReadSlot> },
    /// A page was asked for.
    Reading { up_to: u64, slot: Arc<ReadSlot> },
    /// It is here.
    Delivering { up_to: u64, steps: VecDeque<Step>, covered_to: u64, _share: PageShare },
    /// The next page has to be asked for.
    Between,
    /// A page came to where the log ended just then.
    Finished,
}

/// Where a replay begins.
#[derive(Debug)]
pub(crate) struct ReplayStart {
    pub(crate) from: From,
    /// What was asked for, as the first gap repeats it.
    pub(crate) requested: Option<String>,
}

#[derive(Debug)]
pub(crate) enum From {
    /// After this sequence.
    Sequence(u64),
    /// After the event with this id.
    Given(EventId),
    /// With the oldest event kept.
    Earliest,
    /// After this sequence, with a gap to be told of.
    Lost { after: u64, reason: GapReason },
}

/// What a replay comes to.
#[derive(Debug)]
pub(crate) enum Replayed {
    /// Nothing yet; the waker is armed.
    Pending,
    /// Something was added to the batch.
    Frames,
    /// Likewise, and the last was the end of a topic.
    End,
    Gap(Gap),
    /// The log has nothing more up to this sequence: the rings may go on.
    Done(u64),
}

impl Replay {
    pub(crate) fn new(archive: &Arc<Archive>, followed: Arc<[Selector]>, grants: Grants, start: ReplayStart) -> Self {
        let ReplayStart { from, requested } = start;
        let (mut cursor, mut owed, mut is_excused, mut stage) = (0, None, false, Stage::Between);
        match from {
            From::Sequence(sequence) => cursor = sequence,
            From::Given(id) => {
                stage = Stage::Finding { slot: archive.reads.ask(Wish::Given { followed: followed.clone(), id }) };
            }
            From::Earliest => is_excused = true,
            From::Lost { after, reason } => (cursor, owed) = (after, Some(reason)),
        }
        Self { archive: archive.clone(), followed, grants, cursor, requested, owed, is_excused, stage }
    }

    /// Whether its start is known: what is missing there, and whether there is anything to come.
    pub(crate) fn poll_start(&mut self, hub: &HubInner, waker: &Waker) -> bool {
        loop {
            match self.stage {
                Stage::Delivering { .. } | Stage::Finished => return true,
                _ => (),
            }
            if !self.progress(hub, waker) {
                return false;
            }
        }
    }

    /// Goes on reading.
    pub(crate) fn poll(&mut self, hub: &HubInner, waker: &Waker, batch: &mut Batch) -> Replayed {
        loop {
            if batch.is_empty()
                && let Some(gap) = self.next_gap(hub)
            {
                return Replayed::Gap(gap);
            }
            if matches!(self.stage, Stage::Delivering { .. }) {
                if self.deliver(batch) {
                    return Replayed::End;
                }
                if !batch.is_empty() {
                    return Replayed::Frames;
                }
                continue;
            }
            if matches!(self.stage, Stage::Finished) {
                return Replayed::Done(self.cursor);
            }
            if !self.progress(hub, waker) {
                return Replayed::Pending;
            }
        }
    }

    /// Asks for what comes next, or takes it; false if it is not there yet.
    fn progress(&mut self, hub: &HubInner, waker: &Waker) -> bool {
        match &mut self.stage {
            Stage::Finding { slot } => match slot.poll(waker) {
                Some(Found::Given(records)) => self.found(&records),
                Some(Found::Page(..)) => unreachable!("an id was asked for"),
                None => return false,
            },
            Stage::Reading { up_to, slot } => match slot.poll(waker) {
                Some(Found::Page(Page { steps, covered_to }, share)) => {
                    self.stage = Stage::Delivering { up_to: *up_to, steps: steps.into(), covered_to, _share: share };
                }
                Some(Found::Given(_)) => unreachable!("a page was asked for"),
                None => return false,
            },
            Stage::Between if self.cursor >= hub.order.newest() => self.stage = Stage::Finished,
            Stage::Between => {
                let up_to = hub.order.newest();
                let wish = Wish::Page { followed: self.followed.clone(), after: self.cursor, up_to };
                self.stage = Stage::Reading { up_to, slot: self.archive.reads.ask(wish) };
            }
            Stage::Delivering { .. } | Stage::Finished => (),
        }
        true
    }

    /// The events that bear the id asked for: it goes on after the earliest that may be seen.
    fn found(&mut self, records: &[Record]) {
        let grants = &self.grants;
        let seen = records.iter().find(|record| Sight::new(grants, &record.topics[0]).sees(&record.to_entry()));
        match seen {
            Some(record) => self.cursor = record.sequence,
            None => self.owed = Some(GapReason::Unknown),
        }
        self.stage = Stage::Between;
    }

    /// The gap that comes next, before any event.
    pub(crate) fn next_gap(&mut self, hub: &HubInner) -> Option<Gap> {
        let first_loss = match &mut self.stage {
            Stage::Delivering { steps, .. } => match steps.front() {
                Some(Step::Lost { up_to, reason }) => {
                    let loss = (*up_to, *reason);
                    steps.pop_front();
                    Some(loss)
                }
                _ => None,
            },
            Stage::Finished => None,
            _ => return None,
        };
        let from = self.cursor;
        if let Some((up_to, _)) = first_loss {
            self.cursor = self.cursor.max(up_to);
        }
        let excused = std::mem::take(&mut self.is_excused);
        let reason = match (self.owed.take(), first_loss) {
            (Some(owed), _) => owed,
            (None, Some((_, reason))) if !(excused && reason == GapReason::Trimmed) => reason,
            _ => return None,
        };
        let requested = self.requested.take().unwrap_or_else(|| hub.cursor(from).to_string());
        Some(Gap { requested, resumed_after: hub.cursor(self.cursor), reason })
    }

    /// Fills the batch from the page, up to a loss or an end; true at the end of a topic.
    fn deliver(&mut self, batch: &mut Batch) -> bool {
        let Stage::Delivering { up_to, steps, covered_to, .. } = &mut self.stage else { return false };
        while !batch.is_full() && matches!(steps.front(), Some(Step::Record(_))) {
            let Some(Step::Record(record)) = steps.pop_front() else { break };
            (self.is_excused, self.requested) = (false, None);
            self.cursor = self.cursor.max(record.sequence);
            let topic = topic_of(&record, &self.followed);
            let entry = record.to_entry();
            if !Sight::new(&self.grants, topic).sees(&entry) {
                continue;
            }
            batch.push(Item::new(&entry, topic));
            if record.kind == RecordKind::End {
                return true;
            }
        }
        if steps.is_empty() {
            self.cursor = self.cursor.max(*covered_to);
            // Whatever comes behind is in the rings, unless they have dropped it by then.
            self.stage = if *covered_to >= *up_to { Stage::Finished } else { Stage::Between };
        }
        false
    }

    /// Whether the log has nothing for it.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.stage {
            Stage::Finished => self.owed.is_none(),
            Stage::Delivering { steps, up_to, covered_to, .. } => {
                self.owed.is_none() && steps.is_empty() && covered_to >= up_to
            }
            _ => false,
        }
    }

    /// Everything up to here has been read and told, and the next page has not been asked for.
    pub(crate) fn cursor_between_pages(&self) -> Option<u64> {
        (matches!(self.stage, Stage::Between) && self.owed.is_none()).then_some(self.cursor)
    }

    /// Everything up to here has been read, or is on the page.
    pub(crate) fn cursor(&self) -> u64 {
        match &self.stage {
            Stage::Delivering { steps, covered_to, .. } if steps.is_empty() => self.cursor.max(*covered_to),
            _ => self.cursor,
        }
    }
}

/// The first of its topics that is followed.
fn topic_of<'a>(record: &'a Record, followed: &[Selector]) -> &'a TopicName {
    let is_followed = |topic: &&TopicName| followed.iter().any(|selector| selector.matches(topic.as_str()));
    record.topics.iter().find(is_followed).unwrap_or(&record.topics[0])
}
