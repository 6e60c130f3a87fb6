//! What a publisher sends: a form.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use sse_hub::{IdForm, Publication, TopicName};

use super::super::envelope::event;
use super::super::publish::parse_retry;
use super::super::{Problem, query};

/// The fields of a form, as they came. Of a field that only one of counts, it is the first.
#[derive(Debug, Default)]
pub(super) struct Form<'a> {
    topics: Vec<Cow<'a, str>>,
    data: Option<Cow<'a, str>>,
    private: bool,
    id: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    retry: Option<Cow<'a, str>>,
}

/// # Errors
/// 400 unless the body is a form.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(());
    }
    Err(Problem::bad("Content-Type", "the body has to be application/x-www-form-urlencoded"))
}

impl<'a> Form<'a> {
    /// # Errors
    /// 400 for a body that is no form: not UTF-8, or with a `%` that begins no byte.
    pub(super) fn parse(body: &'a Bytes) -> Result<Self, Problem> {
        let text = std::str::from_utf8(body).map_err(|_| Problem::bad("body", "the form is not UTF-8"))?;
        check_escapes(text)?;
        let mut form = Self::default();
        for (name, value) in query::pairs(text).map_err(|_| Problem::bad("body", "the form is not UTF-8"))? {
            match &*name {
                "topic" => form.topics.push(value),
                "data" => drop(form.data.get_or_insert(value)),
                "private" => form.private = true,
                "id" => drop(form.id.get_or_insert(value)),
                "type" => drop(form.event_type.get_or_insert(value)),
                "retry" => drop(form.retry.get_or_insert(value)),
                _ => (),
            }
        }
        Ok(form)
    }

    /// # Errors
    /// 400 naming the field.
    pub(super) fn into_publication(self) -> Result<Publication, Problem> {
        let topics: Vec<TopicName> = self.topics.iter().map(|topic| query::topic(topic)).collect::<Result<_, _>>()?;
        let retry = self.retry.filter(|retry| !retry.is_empty()).map(|retry| parse_retry(&retry)).transpose()?;
        let event = event(
            self.data.unwrap_or_default().into_owned(),
            self.event_type.as_deref(),
            self.id.as_deref(),
            // It would have clients reconnect without a pause.
            retry.filter(|millis| *millis > 0),
        )?;
        let mut topics = topics.into_iter();
        let canonical = topics.next().ok_or_else(|| Problem::bad("topic", "no topic is named"))?;
        let publication = topics.fold(Publication::new(canonical, event), Publication::also_to);
        let publication = publication.with_id_form(IdForm::Urn);
        Ok(if self.private { publication.private() } else { publication })
    }
}

fn check_escapes(form: &str) -> Result<(), Problem> {
    let mut parts = form.split('%');
    parts.next();
    let is_byte = |part: &str| part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if parts.all(is_byte) { Ok(()) } else { Err(Problem::bad("body", "a % in the form has no two digits behind it")) }
}
