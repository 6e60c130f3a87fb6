//! Telling a subscriber that something is missing.

use serde::Serialize;
use sse_wire::{Event, EventId, EventType, Frame};

use crate::Cursor;

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The history no longer reaches back that far.
    Trimmed,
    /// The cursor is of another history.
    Epoch,
    /// The cursor names no event that is known, or one that cannot exist yet.
    Unknown,
    /// The subscriber was too slow and the history went past it.
    Lagged,
    /// Kept events could not be read back.
    Damaged,
}

impl GapReason {
    /// The word that streams and metrics carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Epoch => "epoch",
            Self::Unknown => "unknown",
            Self::Lagged => "lagged",
            Self::Damaged => "damaged",
        }
    }
}

/// A hole in a subscriber's history, told in the stream before the first event behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What the subscriber asked to resume after, in its own words, or where it stood.
    pub requested: String,
    /// Nothing is missing after this position.
    pub resumed_after: Cursor,
    /// Why.
    pub reason: GapReason,
}

impl Gap {
    /// The `sse.gap` event. Its id is where the stream goes on, so that a subscriber is told once.
    pub fn frame(&self) -> Frame {
        #[derive(Serialize)]
        struct Data<'a> {
            requested: &'a str,
            resumed_after: &'a str,
            reason: &'static str,
        }
        let resumed_after = self.resumed_after.to_string();
        let data = Data { requested: &self.requested, resumed_after: &resumed_after, reason: self.reason.as_str() };
        signal("sse.gap", &data).with_id(EventId::parse(&resumed_after).expect("a cursor is one line")).encode()
    }
}

/// The `sse.end` event of a closed topic, without its id.
pub(crate) fn end_event(topic: &str) -> Event {
    #[derive(Serialize)]
    struct Data<'a> {
        topic: &'a str,
    }
    signal("sse.end", &Data { topic })
}

fn signal(event_type: &str, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).expect("structs of strings have a JSON form");
    Event::new(data).with_type(EventType::parse(event_type).expect("the types of signals are one line"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    #[test]
    fn a_gap_is_an_event_with_an_id() {
        let resumed_after = Cursor { epoch: Epoch::from_entropy(0), sequence: 7 };
        let gap = Gap { requested: "a\"b\\\u{7}é".to_owned(), resumed_after, reason: GapReason::Trimmed };
        let expected = "event: sse.gap\nid: 00000000-0000000000000007\n\
             data: {\"requested\":\"a\\\"b\\\\\\u0007é\",\"resumed_after\":\"00000000-0000000000000007\",\"reason\":\"trimmed\"}\n\n";
        assert_eq!(std::str::from_utf8(gap.frame().text_bytes()).unwrap(), expected);
    }
}
