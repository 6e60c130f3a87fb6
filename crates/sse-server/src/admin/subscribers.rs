//! `/api/subscribers`: who follows, how far each is behind and why; and ending streams.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use sse_hub::SlowPolicy;
use tokio::sync::oneshot;

use super::page_size::{SHOWN, page_size};
use super::tell_nodes;
use crate::app::App;
use crate::backplane::Said;
use crate::http::{Problem, ReplyBody, check_own_origin, json, no_content, query_pairs};
use crate::roster::{Listed, Pace, Progress, Roll, StreamId, Wanted};
use crate::writer::Errand;

/// How long writers may take. Each gives an errand a slice of every turn, so that even a busy one is done long before.
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Subscriber {
    id: String,
    topics: Box<str>,
    remote_addr: String,
    user_agent: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Box<str>>,
    protocol: &'static str,
    interface: &'static str,
    compressed: bool,
    /// In seconds since 1970.
    connected_at: u64,
    lag_events: usize,
    lag_bytes: u64,
    pending_bytes: u64,
    last_write_ms: u64,
    slow_policy: &'static str,
    state: &'static str,
    /// For a person; nothing for one that has everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Serialize)]
struct Listing {
    /// Of all streams.
    total: usize,
    /// Of those that were asked for, shown or not.
    found: usize,
    subscribers: Vec<Subscriber>,
}

#[derive(Serialize)]
struct Kicked {
    kicked: usize,
}

/// Answers at `/api/subscribers`.
///
/// # Errors
/// A [`Problem`].
pub(super) async fn answer(app: &App, request: &Request<Incoming>) -> Result<Response<ReplyBody>, Problem> {
    let query = request.uri().query().unwrap_or("");
    match *request.method() {
        Method::GET | Method::HEAD => list(app, query).await,
        Method::DELETE => {
            check_own_origin(request)?;
            kick_subject(app, query).await
        }
        _ => Err(Problem::method_not_allowed("GET, HEAD, DELETE")),
    }
}

/// Answers at `/api/subscribers/{id}`.
///
/// # Errors
/// A [`Problem`].
pub(super) async fn answer_one(
    app: &App,
    request: &Request<Incoming>,
    id: &str,
) -> Result<Response<ReplyBody>, Problem> {
    if request.method() != Method::DELETE {
        return Err(Problem::method_not_allowed("DELETE"));
    }
    check_own_origin(request)?;
    let gone = || Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such stream, or it is ending already");
    let id = StreamId::parse(id).ok_or_else(gone)?;
    let kicked = match (id.owner, &app.writers) {
        (StreamId::HYPER, _) => app.hyper_streams.kick_one(id),
        (owner, Some(writers)) => {
            let (answer, kicked) = oneshot::channel();
            writers.run_on(owner, Errand::KickOne(id, answer)).await;
            // No such writer, no answer.
            answered(vec![kicked]).await.unwrap_or_default().into_iter().sum()
        }
        (_, None) => 0,
    };
    if kicked == 0 { Err(gone()) } else { Ok(no_content()) }
}

async fn list(app: &App, query: &str) -> Result<Response<ReplyBody>, Problem> {
    let (wanted, shown_max) = parse(query)?;
    let _turn = app.admin.turn().await?;
    let mut roll = Roll::new(wanted.clone(), shown_max);
    app.hyper_streams.list(&mut roll);
    if let Some(writers) = &app.writers {
        let mut rolls = Vec::new();
        let make = || {
            let (answer, roll) = oneshot::channel();
            rolls.push(roll);
            Errand::List(Roll::new(wanted.clone(), shown_max), answer)
        };
        writers.run(make).await;
        answered(rolls).await?.into_iter().for_each(|of_writer| roll.merge(of_writer));
    }
    let (listed, found) = roll.finish();
    let total = app.signals.totals().streams();
    Ok(json(&Listing { total, found, subscribers: listed.into_iter().map(Subscriber::from).collect() }))
}

async fn kick_subject(app: &App, query: &str) -> Result<Response<ReplyBody>, Problem> {
    let (wanted, _) = parse(query)?;
    if wanted.subject.is_none() {
        return Err(Problem::bad("subject", "name the subject whose streams are to end, or one stream by its id"));
    }
    let kicked = kick(app, &wanted).await?;
    tracing::info!(kicked, "a subject's streams ended");
    if let Some(subject) = &wanted.subject {
        let topic = wanted.topic.as_ref().map(|topic| (**topic).into());
        let said = Said::Kick { subject: (**subject).into(), topic, ip: wanted.ip };
        tell_nodes(app, said, "the streams of this node end; of others the backplane does not take it").await?;
    }
    Ok(json(&Kicked { kicked }))
}

/// Ends the streams that other nodes were told to end, for as long as the process runs.
pub(crate) async fn kick_as_told(app: &App) {
    let Some(mut kicks) = app.peers.as_ref().and_then(|peers| peers.take_kicks()) else {
        return std::future::pending().await;
    };
    while let Some(wanted) = kicks.recv().await {
        match kick(app, &wanted).await {
            Ok(kicked) => tracing::info!(kicked, "a subject's streams ended, as another node was told"),
            Err(problem) => tracing::warn!(reason = problem.reason(), "a subject's streams may go on here"),
        }
    }
}

/// How many streams of this node are to end.
async fn kick(app: &App, wanted: &Wanted) -> Result<usize, Problem> {
    let _turn = app.admin.turn().await?;
    let mut kicked = app.hyper_streams.kick(wanted);
    if let Some(writers) = &app.writers {
        let mut counts = Vec::new();
        let make = || {
            let (answer, count) = oneshot::channel();
            counts.push(count);
            Errand::Kick(wanted.clone(), 0, answer)
        };
        writers.run(make).await;
        kicked += answered(counts).await?.into_iter().sum::<usize>();
    }
    Ok(kicked)
}

fn parse(query: &str) -> Result<(Wanted, usize), Problem> {
    let (mut wanted, mut shown_max) = (Wanted::default(), SHOWN);
    for (name, value) in query_pairs(query)? {
        match &*name {
            "topic" => wanted.topic = Some((*value).into()),
            "subject" => wanted.subject = Some((*value).into()),
            "ip" => wanted.ip = Some(value.parse().map_err(|_| Problem::bad("ip", "ip is an address"))?),
            "limit" => shown_max = page_size(&value)?,
            _ => return Err(Problem::bad("query", "the query takes topic, subject, ip and limit")),
        }
    }
    Ok((wanted, shown_max))
}

/// What the writers answer.
async fn answered<T>(answers: Vec<oneshot::Receiver<T>>) -> Result<Vec<T>, Problem> {
    let busy = || Problem::unavailable("writer_busy", "a writer is too busy to look", Duration::from_secs(1));
    let all = async {
        let mut all = Vec::with_capacity(answers.len());
        for answer in answers {
            all.push(answer.await.map_err(|_| busy())?);
        }
        Ok(all)
    };
    tokio::time::timeout(ANSWER_MAX, all).await.unwrap_or_else(|_| Err(busy()))
}

impl From<Listed> for Subscriber {
    fn from(listed: Listed) -> Self {
        let Listed { progress, .. } = &listed;
        let connected_at = SystemTime::now().checked_sub(listed.connected_at.elapsed());
        let since_1970 = connected_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        Self {
            id: listed.id.to_string(),
            remote_addr: listed.remote_addr.to_string(),
            subject: listed.token.as_ref().and_then(|token| token.subject.clone()),
            protocol: listed.protocol.as_str(),
            interface: listed.interface.as_str(),
            compressed: progress.is_compressed,
            connected_at: since_1970.as_secs(),
            lag_events: progress.lag.frames,
            lag_bytes: progress.lag.bytes,
            pending_bytes: progress.pending_bytes,
            last_write_ms: progress.quiet_for.as_millis() as u64,
            slow_policy: policy(progress.policy),
            state: state(progress.pace),
            why: why(progress),
            topics: listed.topics,
            user_agent: (*listed.user_agent).into(),
        }
    }
}

fn policy(policy: SlowPolicy) -> &'static str {
    match policy {
        SlowPolicy::Evict => "evict",
        SlowPolicy::Skip => "skip",
        SlowPolicy::Latest => "latest",
    }
}

fn state(pace: Pace) -> &'static str {
    match pace {
        Pace::CaughtUp => "caught_up",
        Pace::Waiting => "waiting",
        Pace::Reading => "reading",
        Pace::ReadingLog => "reading_log",
        Pace::Blocked(_) => "blocked",
        Pace::Ending(_) => "ending",
    }
}

/// Why it is behind.
fn why(progress: &Progress) -> Option<String> {
    let why = match progress.pace {
        Pace::CaughtUp => return None,
        Pace::Waiting => "its turn comes: the server is sending to others".to_owned(),
        Pace::Reading => "it is catching up as fast as it reads".to_owned(),
        Pace::ReadingLog => "it is catching up from the log".to_owned(),
        Pace::Blocked(time) => format!(
            "its socket is full: the client, or the network to it, has taken nothing for {:.1} s",
            time.as_secs_f64()
        ),
        Pace::Ending(reason) => return Some(format!("it is ending: {}", reason.as_str())),
    };
    if !progress.is_too_far {
        return Some(why);
    }
    Some(match progress.policy {
        SlowPolicy::Evict => format!("{why}; over the lag bound, so it will be evicted"),
        SlowPolicy::Skip => format!("{why}; over the lag bound, so it will skip what it missed"),
        SlowPolicy::Latest => format!("{why}; over the lag bound, so it gets the newest event only"),
    })
}
