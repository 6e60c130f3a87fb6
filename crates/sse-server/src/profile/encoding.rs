//! Samples in the format of pprof: protocol buffers, of which this needs numbers, texts and messages within messages.
//!
//! The numbers of fields are those of `profile.proto`, which the pprof tool publishes.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use pprof::Symbol;

/// What the two numbers of every sample count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    /// Each a name and a unit.
    pub(crate) values: [(&'static str, &'static str); 2],
    /// What is sampled, in which unit.
    pub(crate) of: (&'static str, &'static str),
    /// A sample is taken of so much of it.
    pub(crate) period: u64,
}

/// Who was found at it.
#[derive(Debug)]
pub(crate) struct Sample<'a> {
    /// The innermost first, each with the functions that are inlined there.
    pub(crate) frames: Vec<&'a [Symbol]>,
    pub(crate) thread: Option<String>,
    pub(crate) values: [u64; 2],
}

/// The profile's bytes.
pub(crate) fn encode<'a>(
    measure: Measure,
    samples: impl Iterator<Item = Sample<'a>>,
    began_at: SystemTime,
    time: Duration,
) -> Bytes {
    let mut profile = Profile::default();
    for (of, unit) in measure.values {
        let (of, unit) = (profile.text(of), profile.text(unit));
        profile.bytes.message(1, |kind| kind.number(1, of).number(2, unit));
    }
    samples.for_each(|sample| profile.sample(&sample));
    let (of, unit) = (profile.text(measure.of.0), profile.text(measure.of.1));
    let began_at = began_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut bytes = profile.bytes;
    bytes.number(9, nanoseconds(began_at)).number(10, nanoseconds(time));
    bytes.message(11, |kind| kind.number(1, of).number(2, unit)).number(12, measure.period);
    for text in profile.texts {
        bytes.text(6, text.as_bytes());
    }
    bytes.0.into()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A profile in the making.
#[derive(Debug)]
struct Profile {
    bytes: Message,
    texts: Vec<String>,
    text_indices: HashMap<String, u64>,
    /// Their ids, from 1.
    functions: HashMap<Function, u64>,
    locations: HashMap<Vec<(u64, u64)>, u64>,
}

/// Indices of its name, its name in the binary, and its file.
type Function = (u64, u64, u64);

impl Default for Profile {
    fn default() -> Self {
        let mut profile = Self {
            bytes: Message::default(),
            texts: Vec::new(),
            text_indices: HashMap::new(),
            functions: HashMap::new(),
            locations: HashMap::new(),
        };
        // The first is the empty text by definition.
        profile.text("");
        profile
    }
}

impl Profile {
    fn sample(&mut self, sample: &Sample<'_>) {
        let locations: Vec<u64> = sample.frames.iter().map(|symbols| self.location(symbols)).collect();
        let thread = sample.thread.as_deref().map(|name| (self.text("thread"), self.text(name)));
        self.bytes.message(2, |message| {
            locations.iter().for_each(|location| _ = message.number(1, *location));
            // A value of 0 is a value all the same.
            sample.values.iter().for_each(|value| _ = message.element(2, *value));
            match thread {
                None => message,
                Some((key, name)) => message.message(3, |label| label.number(1, key).number(2, name)),
            }
        });
    }

    /// One address: the function it is in, and those that this one was inlined into.
    fn location(&mut self, symbols: &[Symbol]) -> u64 {
        let lines: Vec<(u64, u64)> =
            symbols.iter().map(|symbol| (self.function(symbol), u64::from(symbol.lineno()))).collect();
        let new = self.locations.len() as u64 + 1;
        let id = *self.locations.entry(lines.clone()).or_insert(new);
        if id == new {
            self.bytes.message(4, |location| {
                location.number(1, id);
                for (function, line) in lines {
                    location.message(4, |of| of.number(1, function).number(2, line));
                }
                location
            });
        }
        id
    }

    fn function(&mut self, symbol: &Symbol) -> u64 {
        let function = (self.text(&symbol.name()), self.text(&symbol.sys_name()), self.text(&symbol.filename()));
        let new = self.functions.len() as u64 + 1;
        let id = *self.functions.entry(function).or_insert(new);
        if id == new {
            let (name, sys_name, file) = function;
            self.bytes.message(5, |of| of.number(1, id).number(2, name).number(3, sys_name).number(4, file));
        }
        id
    }

    /// The text's index.
    fn text(&mut self, text: &str) -> u64 {
        if let Some(index) = self.text_indices.get(text) {
            return *index;
        }
        let index = self.texts.len() as u64;
        self.texts.push(text.to_owned());
        self.text_indices.insert(text.to_owned(), index);
        index
    }
}

/// The fields of a message, encoded.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    /// A number that is 0 where it is left out.
    fn number(&mut self, field: u64, value: u64) -> &mut Self {
        if value == 0 { self } else { self.element(field, value) }
    }

    /// One number of several.
    fn element(&mut self, field: u64, value: u64) -> &mut Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn text(&mut self, field: u64, text: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(text.len() as u64);
        self.0.extend_from_slice(text);
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self) -> &mut Self) -> &mut Self {
        let mut inner = Self::default();
        fill(&mut inner);
        self.text(field, &inner.0);
        self
    }

    /// Seven bits in a byte, the lowest first.
    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_encoded_as_protocol_buffers() {
        let mut message = Message::default();
        message.number(1, 150).number(2, 0).element(2, 0);
        message.message(3, |inner| inner.number(1, 1));
        message.text(4, b"ab");
        assert_eq!(message.0, [0x08, 0x96, 0x01, 0x10, 0, 0x1a, 2, 0x08, 1, 0x22, 2, b'a', b'b']);
    }

    #[test]
    fn what_is_the_same_is_there_once() {
        let symbol = |name: &str| Symbol {
            name: Some(name.into()),
            addr: None,
            lineno: Some(7),
            filename: Some("round.rs".into()),
        };
        let mut profile = Profile::default();
        let first = profile.location(&[symbol("inlined"), symbol("round")]);
        assert_eq!(profile.location(&[symbol("inlined"), symbol("round")]), first);
        assert_eq!(profile.location(&[symbol("round")]), first + 1);
        assert_eq!((profile.functions.len(), profile.locations.len()), (2, 2));
        assert_eq!(profile.texts, ["", "inlined", "round.rs", "round"]);
    }
}
