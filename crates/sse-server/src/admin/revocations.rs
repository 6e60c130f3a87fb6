//! `/api/revocations`: tokens that are to count no longer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::access::Revoked;
use crate::app::App;
use crate::backplane::{self, Said};
use crate::http::{Problem, ReplyBody, check_own_origin, json, no_content, query_pairs, read_body};

/// Revocations that one listing shows.
const SHOWN_MAX: usize = 1000;
/// Bytes of a `jti` or a subject: a token may not have more.
const NAME_BYTES_MAX: usize = 16 * 1024;

/// One revocation as it is sent and shown: whose, and until when.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Box<str>>,
    /// In seconds since 1970; without it until it is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

/// # Errors
/// A [`Problem`].
pub(super) async fn answer(app: &App, request: Request<Incoming>) -> Result<Response<ReplyBody>, Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        check_own_origin(&request)?;
    }
    match *request.method() {
        Method::GET | Method::HEAD => Ok(list(app)),
        Method::POST => add(app, request).await,
        Method::DELETE => remove(app, request.uri().query().unwrap_or("")),
        _ => Err(Problem::method_not_allowed("GET, HEAD, POST, DELETE")),
    }
}

fn list(app: &App) -> Response<ReplyBody> {
    #[derive(Serialize)]
    struct Listing {
        total: usize,
        revocations: Vec<Revocation>,
    }
    let (listed, total) = app.access.revocations.list(SHOWN_MAX, SystemTime::now());
    json(&Listing { total, revocations: listed.into_iter().map(Revocation::from).collect() })
}

async fn add(app: &App, request: Request<Incoming>) -> Result<Response<ReplyBody>, Problem> {
    let body = read_body(request.into_body(), 2 * NAME_BYTES_MAX).await?;
    let wish: Revocation = serde_json::from_slice(&body).map_err(|error| Problem::bad("body", error.to_string()))?;
    /// Beyond any token's end, and no clock overflows.
    const SECONDS_MAX: u64 = 100_000_000_000;
    let until = wish.expires_at.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds.min(SECONDS_MAX)));
    let revoked = named(wish.jti, wish.subject)?;
    let full = |error: crate::access::RevocationsFull| {
        Problem::new(StatusCode::INSUFFICIENT_STORAGE, "revocations_full", error.to_string())
    };
    app.access.revocations.add(revoked.clone(), until, SystemTime::now()).map_err(full)?;
    app.signals.revocations(app.access.revocations.count());
    tracing::info!(kind = revoked.kind(), "tokens revoked");
    let revocation = backplane::Revocation::from((revoked.clone(), until));
    app.peers.iter().for_each(|peers| peers.say(Said::Revoked { revocation: revocation.clone() }));
    Ok(json(&Revocation::from((revoked, until))))
}

fn remove(app: &App, query: &str) -> Result<Response<ReplyBody>, Problem> {
    let (mut jti, mut subject) = (None, None);
    for (name, value) in query_pairs(query)? {
        match &*name {
            "jti" => jti = Some(value.into()),
            "subject" => subject = Some(value.into()),
            _ => return Err(Problem::bad("query", "the query takes jti or subject")),
        }
    }
    let revoked = named(jti, subject)?;
    if !app.access.revocations.remove(&revoked) {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such revocation"));
    }
    let revocation = backplane::Revocation::from((revoked, None));
    app.peers.iter().for_each(|peers| peers.say(Said::Restored { revocation: revocation.clone() }));
    app.signals.revocations(app.access.revocations.count());
    Ok(no_content())
}

fn named(jti: Option<Box<str>>, subject: Option<Box<str>>) -> Result<Revoked, Problem> {
    let (revoked, name) = match (jti, subject) {
        (Some(jti), None) => (Revoked::Id(jti.clone()), jti),
        (None, Some(subject)) => (Revoked::Subject(subject.clone()), subject),
        _ => return Err(Problem::bad("jti", "name either a jti or a subject")),
    };
    match name.len() {
        1..=NAME_BYTES_MAX => Ok(revoked),
        len => Err(Problem::bad("jti", format!("{len} bytes are no name of a token or subject"))),
    }
}

impl From<(Revoked, Option<SystemTime>)> for Revocation {
    fn from((revoked, until): (Revoked, Option<SystemTime>)) -> Self {
        let (jti, subject) = match revoked {
            Revoked::Id(jti) => (Some(jti), None),
            Revoked::Subject(subject) => (None, Some(subject)),
        };
        let expires_at = until.and_then(|until| until.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
        Self { jti, subject, expires_at }
    }
}
