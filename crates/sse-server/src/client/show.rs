//! How events and notices look.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use sse_wire::ParsedEvent;

/// How text from others is written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// As it came, for programs.
    Raw,
    /// Without the control characters that would steer a terminal.
    Printable,
}

impl Shown {
    pub(super) fn of_stdout() -> Self {
        if io::stdout().is_terminal() { Self::Printable } else { Self::Raw }
    }

    pub(super) fn text(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Raw => Cow::Borrowed(text),
            Self::Printable => printable(text),
        }
    }

    /// An event as the lines of its fields and a blank one: what a stream would carry.
    pub(super) fn event(self, event: &ParsedEvent<'_>) -> String {
        let mut text = String::new();
        let mut field = |name: &str, value: &str| {
            text.extend([name, ": ", &self.text(value), "\n"]);
        };
        let event_type = String::from_utf8_lossy(event.event_type);
        if event_type != "message" {
            field("event", &event_type);
        }
        if event.id_set {
            field("id", event.last_event_id);
        }
        for line in String::from_utf8_lossy(event.data).split('\n') {
            field("data", line);
        }
        text.push('\n');
        text
    }
}

/// The text with its control characters, all but tabs, spelled out.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\t';
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let spell = |c: char| if steers(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(spell).collect())
}

/// Tells the person at the terminal something that is not part of the stream.
pub(super) fn notice(text: &str) {
    // Nobody may be listening; the stream goes on.
    let _ = writeln!(io::stderr(), "sse-server: {}", printable(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_look_like_a_stream() {
        let event = ParsedEvent { event_type: b"score", data: b"a\n\nb", last_event_id: "7", id_set: true };
        assert_eq!(Shown::Raw.event(&event), "event: score\nid: 7\ndata: a\ndata: \ndata: b\n\n");
        let event = ParsedEvent { event_type: b"message", data: b"", last_event_id: "7", id_set: false };
        assert_eq!(Shown::Raw.event(&event), "data: \n\n");
    }

    #[test]
    fn nobody_steers_the_terminal() {
        let event = ParsedEvent { event_type: b"message", data: b"\t\x1b[2J\xff", last_event_id: "", id_set: false };
        assert_eq!(Shown::Printable.event(&event), "data: \t\\u{1b}[2J\u{fffd}\n\n");
        assert_eq!(Shown::Raw.event(&event), "data: \t\x1b[2J\u{fffd}\n\n");
    }
}
