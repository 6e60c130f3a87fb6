//! `subscribe`: prints events, across cuts.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use sse_wire::{Parsed, ParsedEvent, Parser};

use super::backoff::Backoff;
use super::exchange::{ANSWER_MAX, Body, Refusal, connect, request, within};
use super::show::{Shown, notice};
use super::target::Target;
use crate::config::SubscribeArgs;

/// Bytes of one event, or of one line, that are held. A server that sends more is not to be followed.
const EVENT_BYTES_MAX: usize = 4 << 20;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) async fn run(args: &SubscribeArgs) -> anyhow::Result<()> {
    let mut follower = Follower::new(
        Target::parse(&args.url)?.with_token(args.token.as_ref())?,
        args.last_event_id.clone().unwrap_or_default(),
    );
    match follower.run().await {
        // Whoever read the events has gone, as `head` does: there is nobody to print for.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => Ok(()),
        result => result,
    }
}

/// One stream across its connections.
struct Follower {
    target: Target,
    /// The id of the last event printed; empty before the first.
    last_event_id: String,
    backoff: Backoff,
    /// What the last event means for the stream's end.
    last: Last,
    shown: Shown,
}

/// What the last event was.
#[derive(Debug, PartialEq, Eq)]
enum Last {
    Event,
    /// `sse.end`: if the stream ends here, nothing more comes.
    End,
    /// `sse.reconnect`, with its reason.
    Reconnect(String),
}

/// The answer to a request to follow.
enum Opened {
    Stream(Incoming),
    /// 204: there is nothing left (WHATWG HTML, 9.2.3).
    NothingLeft,
}

/// A request to follow that failed.
struct Failure {
    error: anyhow::Error,
    /// Whether trying again makes sense, and how long the server asks to be left alone.
    passing: Option<Option<Duration>>,
}

/// How a connection ended.
enum Ended {
    /// Nothing more comes.
    Over,
    Cut(String),
}

impl Follower {
    fn new(target: Target, last_event_id: String) -> Self {
        Self { target, last_event_id, backoff: Backoff::new(), last: Last::Event, shown: Shown::of_stdout() }
    }

    /// Whoever mistyped something learns of it at once: only what was open before is opened again.
    async fn run(&mut self) -> anyhow::Result<()> {
        let mut opened = self.open().await.map_err(|failure| failure.error)?;
        notice(&format!("following {}", self.target));
        loop {
            let Opened::Stream(body) = opened else {
                notice("the stream is over: the server has nothing more for it");
                return Ok(());
            };
            let Ended::Cut(why) = self.read(body).await? else {
                notice("the stream is over");
                return Ok(());
            };
            opened = self.reopen(&why).await?;
        }
    }

    async fn open(&self) -> Result<Opened, Failure> {
        let passing = |error| Failure { error, passing: Some(None) };
        let mut sender = connect(&self.target).await.map_err(passing)?;
        let request = self.request().map_err(|error| Failure { error, passing: None })?;
        let answer = within(ANSWER_MAX, sender.send_request(request)).await.map_err(passing)?;
        let response = answer.map_err(|error| passing(anyhow::Error::new(error).context("no answer")))?;
        match response.status() {
            StatusCode::OK if is_event_stream(&response) => Ok(Opened::Stream(response.into_body())),
            StatusCode::OK => Err(Failure { error: not_a_stream(&response), passing: None }),
            StatusCode::NO_CONTENT => Ok(Opened::NothingLeft),
            _ => {
                let refusal = Refusal::of(response).await;
                let passing = refusal.may_pass().then_some(refusal.retry_after);
                Err(Failure { error: refusal.into_error(), passing })
            }
        }
    }

    /// Tries until the stream is open again, or until the server says that trying makes no sense.
    async fn reopen(&mut self, why: &str) -> anyhow::Result<Opened> {
        let mut wait = self.backoff.after_cut();
        notice(&format!("cut: {why}; reconnecting in {}", seconds(wait)));
        loop {
            tokio::time::sleep(wait).await;
            match self.open().await {
                Ok(opened) => {
                    self.backoff.succeeded();
                    if matches!(opened, Opened::Stream(_)) {
                        notice(&self.resumed());
                    }
                    return Ok(opened);
                }
                Err(Failure { error, passing: Some(retry_after) }) => {
                    wait = self.backoff.after_failure(retry_after);
                    notice(&format!("{error:#}; trying again in {}", seconds(wait)));
                }
                Err(Failure { error, passing: None }) => return Err(error),
            }
        }
    }

    fn resumed(&self) -> String {
        match &*self.last_event_id {
            "" => "resumed with what comes from now on: no event has had an id yet".to_owned(),
            "earliest" => "resumed with the earliest event kept".to_owned(),
            id => format!("resumed after {id}"),
        }
    }

    fn request(&self) -> anyhow::Result<Request<Body>> {
        let id = &self.last_event_id;
        let field = HeaderValue::from_bytes(id.as_bytes()).ok().filter(|_| id.trim() == id);
        // An id that no header can carry goes into the query, which our servers read as well.
        let in_query = field.is_none().then(|| self.target.with_query("last_event_id", id));
        let mut builder = request(Method::GET, in_query.as_ref().unwrap_or(&self.target))?
            .header(ACCEPT, "text/event-stream")
            .header(CACHE_CONTROL, "no-store");
        if let Some(field) = field.filter(|field| !field.is_empty()) {
            builder = builder.header(LAST_EVENT_ID, field);
        }
        builder.body(Body::default()).context("making the request")
    }

    /// Prints what comes until the connection ends.
    async fn read(&mut self, mut body: Incoming) -> anyhow::Result<Ended> {
        let mut parser = Parser::new(EVENT_BYTES_MAX);
        self.last = Last::Event;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => self.feed(&mut parser, &frame.into_data().unwrap_or_default())?,
                Err(error) => {
                    let cause = anyhow::Error::new(error);
                    return Ok(Ended::Cut(format!("the connection broke, {}", cause.root_cause())));
                }
            }
        }
        Ok(match &self.last {
            Last::End => Ended::Over,
            Last::Reconnect(reason) => Ended::Cut(format!("the server asks to reconnect ({reason})")),
            Last::Event => Ended::Cut("the server ended the stream".to_owned()),
        })
    }

    fn feed(&mut self, parser: &mut Parser, bytes: &Bytes) -> anyhow::Result<()> {
        let mut printed = Ok(());
        let fed = parser.feed(bytes, |parsed| match parsed {
            Parsed::Event(event) if printed.is_ok() => printed = self.event(&event),
            Parsed::Retry(retry) => self.backoff.set_retry(retry),
            Parsed::Event(_) | Parsed::Comment(_) => (),
        });
        printed?;
        fed.context("the stream cannot be read on")
    }

    /// Prints one event, then moves on: an event that was not printed is asked for again.
    fn event(&mut self, event: &ParsedEvent<'_>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(self.shown.event(event).as_bytes())?;
        out.flush()?;
        if event.id_set {
            event.last_event_id.clone_into(&mut self.last_event_id);
        }
        self.last = Last::Event;
        match event.event_type {
            b"sse.end" => self.last = Last::End,
            b"sse.reconnect" => self.last = Last::Reconnect(reason(event.data)),
            b"sse.gap" => notice(&gap(event.data)),
            _ => (),
        }
        Ok(())
    }
}

fn is_event_stream(response: &Response<Incoming>) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    media_type.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("text/event-stream")
}

fn not_a_stream(response: &Response<Incoming>) -> anyhow::Error {
    match response.headers().get(CONTENT_TYPE) {
        Some(media_type) => anyhow!("the answer is no event stream but {media_type:?}"),
        None => anyhow!("the answer is no event stream: it has no content type"),
    }
}

fn seconds(wait: Duration) -> String {
    format!("{:.1} s", wait.as_secs_f64())
}

/// The reason of an `sse.reconnect`.
fn reason(data: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Reconnect {
        reason: String,
    }
    serde_json::from_slice(data).map_or_else(|_| "no reason given".to_owned(), |Reconnect { reason }| reason)
}

/// What an `sse.gap` says, for a person.
fn gap(data: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Gap {
        requested: String,
        resumed_after: String,
        reason: String,
    }
    match serde_json::from_slice(data) {
        Ok(Gap { requested, resumed_after, reason }) => {
            format!("gap: events after {requested} are missing ({reason}); going on after {resumed_after}")
        }
        Err(_) => "gap: events are missing".to_owned(),
    }
}
