//! Fuzz target: forms. What is read in one is what others read in it.

use bytes::Bytes;

use super::form::Form;
use crate::pieces::text;

const FORM: &[&str] = &[
    "topic=",
    "topic=a",
    "&",
    "=",
    "data=",
    "private=on",
    "id=",
    "type=",
    "retry=",
    "0",
    "1000",
    "%",
    "%0A",
    "%00",
    "%C3%A9",
    "%ff",
    "+",
    "é",
    "sse.gap",
    "%5B",
    "https%3A%2F%2Fexample.com%2F",
];

#[test]
fn forms() {
    bolero::check!().for_each(|input: &[u8]| {
        let body = Bytes::from(text(FORM, input));
        let Ok(publication) = Form::parse(&body).and_then(Form::into_publication) else { return };
        let fields = url::form_urlencoded::parse(&body);
        let named: Vec<_> = fields.filter(|(name, _)| name == "topic").map(|(_, value)| value).collect();
        assert!(!named.is_empty());
        let topics: Vec<&str> = publication.topics().iter().map(|topic| topic.as_str()).collect();
        assert_eq!(topics, named);
    });
}
