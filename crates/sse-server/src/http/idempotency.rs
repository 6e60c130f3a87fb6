//! `Idempotency-Key`: a publisher that tries again publishes nothing new.

use aws_lc_rs::digest::{Context, SHA256};
use hyper::header::{HeaderMap, HeaderName};
use sse_hub::{IdempotencyKey, Publication};

use super::Problem;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Longer ones name nothing that a shorter one could not.
const KEY_BYTES_MAX: usize = 255;

/// The key of a request that may be a retry.
#[derive(Debug)]
pub(super) struct Attempt(Option<Key>);

#[derive(Debug)]
struct Key {
    /// Of the publisher and the header: another publisher's key is another key.
    scope: [u8; 16],
    fingerprint: [u8; 16],
}

/// The header's value, if it is there.
///
/// # Errors
/// 400 for one that is empty, too long, not printable or there twice.
pub(super) fn header(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let is_sound = !bytes.is_empty() && bytes.len() <= KEY_BYTES_MAX && bytes.iter().all(|b| (b' '..=b'~').contains(b));
    match value.to_str() {
        Ok(key) if is_sound && values.next().is_none() => Ok(Some(key.to_owned())),
        _ => {
            let detail = format!("one key of 1 to {KEY_BYTES_MAX} printable ASCII characters is expected");
            Err(Problem::bad("Idempotency-Key", detail))
        }
    }
}

impl Attempt {
    /// What is published where, by whom.
    pub(super) fn new(header: Option<String>, subject: Option<&str>, target: &str, body: &[u8]) -> Self {
        Self(header.map(|header| {
            let mut scope = Context::new(&SHA256);
            update(&mut scope, subject.unwrap_or("").as_bytes());
            update(&mut scope, header.as_bytes());
            let mut content = Context::new(&SHA256);
            update(&mut content, target.as_bytes());
            update(&mut content, body);
            Key { scope: half(scope), fingerprint: half(content) }
        }))
    }

    /// The publication that comes at this place of the request.
    pub(super) fn mark(&self, publication: Publication, place: usize) -> Publication {
        let Some(Key { scope, fingerprint }) = &self.0 else { return publication };
        let mut key = Context::new(&SHA256);
        update(&mut key, scope);
        update(&mut key, &(place as u64).to_le_bytes());
        publication.with_key(IdempotencyKey { key: half(key), fingerprint: *fingerprint })
    }
}

/// With its length, so that no two lists of parts look alike.
fn update(context: &mut Context, part: &[u8]) {
    context.update(&(part.len() as u64).to_le_bytes());
    context.update(part);
}

fn half(context: Context) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&context.finish().as_ref()[..16]);
    half
}
