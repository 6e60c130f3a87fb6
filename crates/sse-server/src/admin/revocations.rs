//! `/api/revocations`: tokens that are to count no longer.

use std::time::SystemTime;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::tell_nodes;
use crate::access::{Revocation, Revoked};
use crate::app::App;
use crate::backplane::Said;
use crate::http::{Problem, ReplyBody, check_own_origin, json, no_content, query_pairs, read_body};

/// Revocations that one listing shows.
const SHOWN_MAX: usize = 1000;
/// Bytes of a `jti` or a subject: a token may not have more.
const NAME_BYTES_MAX: usize = 16 * 1024;

/// # Errors
/// A [`Problem`].
pub(super) async fn answer(app: &App, request: Request<Incoming>) -> Result<Response<ReplyBody>, Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        check_own_origin(&request)?;
    }
    match *request.method() {
        Method::GET | Method::HEAD => Ok(list(app)),
        Method::POST => add(app, request).await,
        Method::DELETE => remove(app, request.uri().query().unwrap_or("")).await,
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
    json(&Listing {
        total,
        revocations: listed.into_iter().map(|(revoked, until)| Revocation::new(revoked, until)).collect(),
    })
}

async fn add(app: &App, request: Request<Incoming>) -> Result<Response<ReplyBody>, Problem> {
    let body = read_body(request.into_body(), 2 * NAME_BYTES_MAX).await?;
    let wish: Revocation = serde_json::from_slice(&body).map_err(|error| Problem::bad("body", error.to_string()))?;
    let (revoked, until) = wish.read().ok_or_else(one_name)?;
    check_name(&revoked)?;
    let _way = app.passage.enter_here().await?;
    let full = |error: crate::access::RevocationsFull| {
        Problem::new(StatusCode::INSUFFICIENT_STORAGE, "revocations_full", error.to_string())
    };
    app.access.revocations.add(revoked.clone(), until, SystemTime::now()).map_err(full)?;
    app.signals.revocations(app.access.revocations.count());
    tracing::info!(kind = revoked.kind(), "tokens revoked");
    let revocation = Revocation::new(revoked, until);
    let said = Said::Revoked { revocation: revocation.clone() };
    tell_nodes(app, said, "revoked at this node; the others are told when the backplane takes it").await?;
    Ok(json(&revocation))
}

async fn remove(app: &App, query: &str) -> Result<Response<ReplyBody>, Problem> {
    let (mut jti, mut subject) = (None, None);
    for (name, value) in query_pairs(query)? {
        match &*name {
            "jti" => jti = Some(value.into()),
            "subject" => subject = Some(value.into()),
            _ => return Err(Problem::bad("query", "the query takes jti or subject")),
        }
    }
    let revoked = Revoked::named(jti, subject).ok_or_else(one_name)?;
    check_name(&revoked)?;
    let _way = app.passage.enter_here().await?;
    let gone = || Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such revocation");
    if !app.access.revocations.has(&revoked) {
        return Err(gone());
    }
    // First: taken back here and not there, it could not be taken back again.
    let said = Said::Restored { revocation: Revocation::new(revoked.clone(), None) };
    tell_nodes(app, said, "the revocation still holds: the backplane does not take it").await?;
    let was_there = app.access.revocations.remove(&revoked);
    app.signals.revocations(app.access.revocations.count());
    if was_there { Ok(no_content()) } else { Err(gone()) }
}

fn one_name() -> Problem {
    Problem::bad("jti", "name either a jti or a subject")
}

fn check_name(revoked: &Revoked) -> Result<(), Problem> {
    match revoked.name().len() {
        1..=NAME_BYTES_MAX => Ok(()),
        len => Err(Problem::bad("jti", format!("{len} bytes are no name of a token or subject"))),
    }
}
