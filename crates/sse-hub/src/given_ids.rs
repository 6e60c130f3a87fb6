//! The ids that publishers gave to events.

use std::collections::HashMap;

use sse_wire::EventId;

/// Which sequence a publisher's id names: its earliest use, for as long as any event with it is kept.
///
/// The earliest use may be gone already while a later one is kept. It still counts: whoever asks to resume after the id
/// may have meant that one, and is told of a gap rather than sent past it.
#[derive(Debug, Default)]
pub(crate) struct GivenIds {
    /// Boxed, as most topics have none.
    #[expect(clippy::box_collection, reason = "a pointer is 24 bytes smaller in each of a million topics")]
    uses: Option<Box<HashMap<EventId, Uses, ahash::RandomState>>>,
}

#[derive(Debug)]
struct Uses {
    earliest: u64,
    kept: usize,
}

impl GivenIds {
    pub(crate) fn remember(&mut self, id: &EventId, sequence: u64) {
        let uses = self.uses.get_or_insert_default();
        match uses.get_mut(id) {
            Some(uses) => uses.kept += 1,
            None => drop(uses.insert(id.clone(), Uses { earliest: sequence, kept: 1 })),
        }
    }

    /// The id of a kept event was used at `sequence` already.
    pub(crate) fn note_earliest(&mut self, id: &EventId, sequence: u64) {
        if let Some(uses) = self.uses.as_mut().and_then(|all| all.get_mut(id)) {
            uses.earliest = uses.earliest.min(sequence);
        }
    }

    /// One of the events with this id is gone.
    pub(crate) fn forget(&mut self, id: &EventId) {
        let Some(all) = &mut self.uses else { return };
        let Some(uses) = all.get_mut(id) else { return };
        uses.kept -= 1;
        if uses.kept == 0 {
            all.remove(id);
        }
        if all.is_empty() {
            self.uses = None;
        }
    }

    pub(crate) fn earliest(&self, id: &EventId) -> Option<u64> {
        Some(self.uses.as_ref()?.get(id)?.earliest)
    }
}
