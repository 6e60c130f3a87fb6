//! What a publisher sends.

use std::time::Duration;

use bytes::Bytes;

use crate::field::{Field, FieldError, check_line};
use crate::{EventId, EventType, Frame, FrameDraft};

/// One event before it is encoded. Every field is valid by its type, so encoding cannot fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    id: Option<EventId>,
    event_type: Option<EventType>,
    retry: Option<Duration>,
    comment: Option<Box<str>>,
    data: Bytes,
}

impl Event {
    /// An event of type `message` with this data; CR, LF and CRLF in it separate lines.
    pub fn new(data: impl Into<String>) -> Self {
        Self::from_valid(Bytes::from(data.into()))
    }

    /// The same from bytes that are not known to be text.
    ///
    /// # Errors
    /// [`FieldError::NotUtf8`] with the place of the first bad byte.
    pub fn from_utf8(data: Bytes) -> Result<Self, FieldError> {
        match std::str::from_utf8(&data) {
            Ok(_) => Ok(Self::from_valid(data)),
            Err(error) => Err(FieldError::NotUtf8 { field: Field::Data, at_byte: error.valid_up_to() }),
        }
    }

    fn from_valid(data: Bytes) -> Self {
        Self { id: None, event_type: None, retry: None, comment: None, data }
    }

    /// Sets the `id:` field.
    #[must_use]
    pub fn with_id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the `event:` field; `message` is left out when encoding.
    #[must_use]
    pub fn with_type(mut self, event_type: EventType) -> Self {
        self.event_type = Some(event_type);
        self
    }

    /// Sets the `retry:` field, written in whole milliseconds.
    #[must_use]
    pub fn with_retry(mut self, retry: Duration) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Puts a comment line before the event.
    ///
    /// # Errors
    /// [`FieldError::LineBreak`] or [`FieldError::Nul`].
    pub fn with_comment(mut self, comment: &str) -> Result<Self, FieldError> {
        check_line(Field::Comment, comment)?;
        self.comment = Some(comment.into());
        Ok(self)
    }

    /// The publisher's id, if it gave one.
    pub fn id(&self) -> Option<&EventId> {
        self.id.as_ref()
    }

    /// The type, if one was set.
    pub fn event_type(&self) -> Option<&EventType> {
        self.event_type.as_ref()
    }

    /// The reconnection time this event asks for.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The comment line.
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// The data: UTF-8, line breaks as the publisher wrote them.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Encodes the event as it stands: no `id:` line without an id.
    pub fn encode(&self) -> Frame {
        FrameDraft::new(self, 0).finish(|_| ())
    }
}
