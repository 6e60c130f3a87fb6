//! Field values that cannot be wrong once they exist.

use std::fmt;

/// Which field of an event a [`FieldError`] speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The `id:` field.
    Id,
    /// The `event:` field.
    Type,
    /// A comment line.
    Comment,
    /// The `data:` field.
    Data,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "id",
            Self::Type => "type",
            Self::Comment => "comment",
            Self::Data => "data",
        })
    }
}

/// Why a text cannot be a field's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// A CR or LF would end the field and let the rest of the text pose as fields of its own.
    #[error("{field} has a line break at byte {at_byte}")]
    LineBreak {
        /// The field.
        field: Field,
        /// Where the first line break stands.
        at_byte: usize,
    },
    /// Browsers ignore an `id` with a NUL, so such an event could never be resumed from.
    #[error("{field} has a NUL at byte {at_byte}")]
    Nul {
        /// The field.
        field: Field,
        /// Where the first NUL stands.
        at_byte: usize,
    },
    /// Event streams are UTF-8 (WHATWG HTML, 9.2.5).
    #[error("{field} is not UTF-8 from byte {at_byte} on")]
    NotUtf8 {
        /// The field.
        field: Field,
        /// How many bytes are valid.
        at_byte: usize,
    },
    /// An empty `id` resets the browser's last event id and an empty `type` means `message`: leave the field out instead.
    #[error("{field} is empty")]
    Empty {
        /// The field.
        field: Field,
    },
}

/// An `id:` value: not empty, no CR, LF or NUL (WHATWG HTML, 9.2.5 and 9.2.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventId(Box<str>);

impl EventId {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`FieldError::Empty`], [`FieldError::LineBreak`] or [`FieldError::Nul`].
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        check(Field::Id, text).map(|()| Self(text.into()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An `event:` value: not empty, no CR, LF or NUL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventType(Box<str>);

impl EventType {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`FieldError::Empty`], [`FieldError::LineBreak`] or [`FieldError::Nul`].
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        check(Field::Type, text).map(|()| Self(text.into()))
    }

    /// The type's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `message`, the type an `EventSource` assumes, which is never written out.
    pub fn is_message(&self) -> bool {
        &*self.0 == "message"
    }
}

/// The rule of ids and types.
fn check(field: Field, text: &str) -> Result<(), FieldError> {
    if text.is_empty() {
        return Err(FieldError::Empty { field });
    }
    check_line(field, text)
}

/// The rule of everything that stands on one line.
pub(crate) fn check_line(field: Field, text: &str) -> Result<(), FieldError> {
    match memchr::memchr3(b'\r', b'\n', 0, text.as_bytes()) {
        None => Ok(()),
        Some(at_byte) if text.as_bytes()[at_byte] == 0 => Err(FieldError::Nul { field, at_byte }),
        Some(at_byte) => Err(FieldError::LineBreak { field, at_byte }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_types_stand_on_one_line() {
        let field = Field::Id;
        for (text, expected) in [
            ("a", None),
            ("ключ #7", None),
            ("", Some(FieldError::Empty { field })),
            ("a\nb", Some(FieldError::LineBreak { field, at_byte: 1 })),
            ("\r", Some(FieldError::LineBreak { field, at_byte: 0 })),
            ("ab\0\n", Some(FieldError::Nul { field, at_byte: 2 })),
        ] {
            assert_eq!(EventId::parse(text).err(), expected, "{text:?}");
            assert_eq!(EventType::parse(text).is_err(), expected.is_some(), "{text:?}");
        }
    }

    #[test]
    fn an_error_names_its_field() {
        for (field, name) in
            [(Field::Id, "id"), (Field::Type, "type"), (Field::Comment, "comment"), (Field::Data, "data")]
        {
            let text = FieldError::LineBreak { field, at_byte: 0 }.to_string();
            assert!(text.contains(name), "{text}");
        }
    }
}
