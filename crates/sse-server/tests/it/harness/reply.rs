//! What the server answers.

use serde_json::Value;

/// The head of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Every byte of it, the blank line included.
    pub(crate) text: String,
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Head {
    /// The head that `bytes` begin with, once it is complete, and its length.
    #[track_caller]
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(len) = head.parse(bytes).unwrap() else { return None };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let fields = head.headers.iter().map(|field| (field.name.to_ascii_lowercase(), text(field.value))).collect();
        Some((Self { text: text(&bytes[..len]), status: head.code.unwrap(), fields }, len))
    }

    /// The value of a field that stands there at most once.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} stands there twice: {}", self.text);
        value
    }
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}{}", self.head.text, self.text()))
    }

    /// The refusal with this status, which must be a problem document that says what was wrong.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Problem {
        assert_eq!(self.status(), status, "{}{}", self.head.text, self.text());
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{}", self.head.text);
        assert_eq!(self.field("x-content-type-options"), Some("nosniff"), "{}", self.head.text);
        let document = self.json();
        let text = |name: &str| document[name].as_str().map(str::to_owned);
        assert_eq!(document["status"], status, "{document}");
        assert!(text("title").is_some_and(|title| !title.is_empty()), "{document}");
        let detail = text("detail").unwrap_or_default();
        assert!(detail.len() > 10, "{document}");
        let is_word = |reason: &str| !reason.is_empty() && reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(text("reason").is_some_and(|reason| is_word(&reason)), "{document}");
        Problem { detail, field: text("field"), document }
    }
}

/// A problem document.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) detail: String,
    /// The field at fault.
    pub(crate) field: Option<String>,
    pub(crate) document: Value,
}
