//! `/debug`: what the process does with its processor time and its memory.

use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use crate::app::App;
use crate::http::{Problem, ReplyBody, full, json, query_pairs};
use crate::memory;
use crate::profile::{self, ProfileError};

/// How long a profile is taken unless the request says.
const SECONDS: u64 = 10;
/// A connection to the admin listener lasts a minute, with the time that it takes to look up names.
const SECONDS_MAX: u64 = 45;

/// Answers `GET /debug/pprof/profile?seconds=`.
pub(super) async fn profile(query: &str) -> Result<Response<ReplyBody>, Problem> {
    let profile = profile::take(Duration::from_secs(seconds(query)?)).await;
    profile.map(|bytes| file(bytes, "attachment; filename=\"profile.pb\"")).map_err(refused)
}

/// Answers `GET /debug/pprof/heap`.
pub(super) async fn heap() -> Result<Response<ReplyBody>, Problem> {
    profile::heap::take().await.map(|bytes| file(bytes, "attachment; filename=\"heap.pb\"")).map_err(refused)
}

fn file(profile: Bytes, disposition: &'static str) -> Response<ReplyBody> {
    let mut response = Response::new(full(profile));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    response
}

fn refused(error: ProfileError) -> Problem {
    let (status, reason) = error.status();
    Problem::new(status, reason, error.to_string())
}

/// Answers `GET /debug/memory`.
pub(super) fn memory(app: &App) -> Result<Response<ReplyBody>, Problem> {
    #[derive(Serialize)]
    struct Document {
        allocator: Option<memory::Allocated>,
        ring_bytes: usize,
        topics: usize,
        connections: usize,
    }
    Ok(json(&Document {
        allocator: memory::allocated(),
        ring_bytes: app.hub.ring_bytes(),
        topics: app.hub.topics(),
        connections: app.connections.open(),
    }))
}

/// Other names are let pass: tools that collect profiles add some.
fn seconds(query: &str) -> Result<u64, Problem> {
    let wrong = || Problem::bad("seconds", format!("a whole number from 1 to {SECONDS_MAX}"));
    let mut seconds = SECONDS;
    for (name, value) in query_pairs(query)? {
        if name == "seconds" {
            seconds = value.parse().ok().filter(|seconds| (1..=SECONDS_MAX).contains(seconds)).ok_or_else(wrong)?;
        }
    }
    Ok(seconds)
}
