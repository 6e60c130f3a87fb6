//! `envelope=json`: events that say which topic they came from.

use serde::Serialize;
use sse_hub::Item;
use sse_wire::{Event, EventId, EventType, Frame, Parsed, Parser};

/// The item's event with `{"topic","type","id","data"}` as its data. Signals such as `sse.end` stay as they are.
pub(crate) fn envelope_frame(item: &Item) -> Frame {
    #[derive(Serialize)]
    struct Data<'a> {
        topic: &'a str,
        #[serde(rename = "type")]
        event_type: &'a str,
        id: &'a str,
        data: &'a str,
    }
    if item.is_end {
        return item.frame.clone();
    }
    let (mut enveloped, mut retry) = (None, None);
    let text = item.frame.text_bytes();
    let parsed = Parser::new(text.len()).feed(text, |parsed| {
        let event = match parsed {
            Parsed::Event(event) => event,
            Parsed::Retry(after) => return retry = Some(after),
            Parsed::Comment(_) => return,
        };
        let event_type = String::from_utf8_lossy(event.event_type);
        let data = String::from_utf8_lossy(event.data);
        let data = Data { topic: item.topic.as_str(), event_type: &event_type, id: event.last_event_id, data: &data };
        let json = serde_json::to_string(&data).expect("a struct of strings has a JSON form");
        let mut wrapped = Event::new(json);
        if let Ok(id) = EventId::parse(event.last_event_id) {
            wrapped = wrapped.with_id(id);
        }
        if let Ok(event_type) = EventType::parse(&event_type) {
            wrapped = wrapped.with_type(event_type);
        }
        if let Some(retry) = retry {
            wrapped = wrapped.with_retry(retry);
        }
        enveloped = Some(wrapped.encode());
    });
    debug_assert!(parsed.is_ok(), "a frame is no longer than itself");
    enveloped.unwrap_or_else(|| item.frame.clone())
}
