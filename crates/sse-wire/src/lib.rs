//! Server-Sent Events on the wire: [`Event`] to [`Frame`] and bytes back to events.
//!
//! An [`Event`] holds fields that cannot be wrong: [`EventId`] and [`EventType`] refuse line breaks and NUL when they
//! are made, so encoding never fails. A [`Frame`] is encoded once, into one allocation that serves every stream it goes
//! to, as plain text and as an HTTP/1.1 chunk. The [`Parser`] follows the WHATWG HTML standard, section 9.2, for any
//! split of the incoming bytes.
//!
//! The crate does no I/O, reads no clock and needs no runtime.
//!
//! ```
//! use sse_wire::{Event, EventId, Parsed, Parser};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let frame = Event::new("first line\nsecond line").with_id(EventId::parse("42")?).encode();
//! assert_eq!(&frame.text()[..], b"id: 42\ndata: first line\ndata: second line\n\n");
//!
//! let mut parser = Parser::new(1 << 20);
//! parser.feed(&frame.text(), |parsed| match parsed {
//!     Parsed::Event(event) => assert_eq!(event.data, b"first line\nsecond line"),
//!     other => panic!("unexpected {other:?}"),
//! })?;
//! assert_eq!(parser.last_event_id(), "42");
//! # Ok(())
//! # }
//! ```

mod event;
mod field;
mod frame;
mod parser;

pub use event::Event;
pub use field::{EventId, EventType, Field, FieldError};
pub use frame::{Frame, FrameDraft};
pub use parser::{ParseError, Parsed, ParsedEvent, Parser};
