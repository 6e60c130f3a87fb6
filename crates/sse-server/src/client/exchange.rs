//! One connection to a server, and one request on it.

use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, RETRY_AFTER, USER_AGENT};
use hyper::http::request;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::show::printable;
use super::target::Target;

/// How long a server may take to accept.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long it may take to answer.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// A server that is gone without a word is noticed after `KEEPALIVE_AFTER` and a few probes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read: ids and refusals are short.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

pub(super) type Body = Full<Bytes>;

/// Connects within a deadline. The connection is driven by a task of the runtime, so that its end is noticed while
/// nothing is asked.
pub(super) async fn connect(target: &Target) -> anyhow::Result<SendRequest<Body>> {
    let (host, port) = target.address();
    let place = || format!("cannot connect to {host} port {port}");
    let socket = match tokio::time::timeout(CONNECT_MAX, TcpStream::connect((host, port))).await {
        Ok(socket) => socket.with_context(place)?,
        Err(_) => return Err(anyhow!("no answer within {} s", CONNECT_MAX.as_secs()).context(place())),
    };
    // Neither changes what arrives: a connection without them is slower, or later noticed to be gone.
    let _ = socket.set_nodelay(true);
    let probes = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
    let _ = SockRef::from(&socket).set_tcp_keepalive(&probes);
    let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.with_context(place)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A request with the fields that all of them have.
pub(super) fn request(method: Method, target: &Target) -> anyhow::Result<request::Builder> {
    let builder = Request::builder()
        .method(method)
        .uri(target.path())
        .header(HOST, target.host_field()?)
        .header(USER_AGENT, concat!("sse-server/", env!("CARGO_PKG_VERSION")));
    Ok(match target.authorization() {
        Some(authorization) => builder.header(AUTHORIZATION, authorization),
        None => builder,
    })
}

/// Waits for `answer` no longer than `answer_max`.
pub(super) async fn within<T>(answer_max: Duration, answer: impl Future<Output = T>) -> anyhow::Result<T> {
    let answered = tokio::time::timeout(answer_max, answer).await;
    answered.map_err(|_| anyhow!("no answer within {} s", answer_max.as_secs_f64()))
}

/// The whole body of a short answer.
pub(super) async fn read_answer(response: Response<Incoming>) -> anyhow::Result<Bytes> {
    let body = within(ANSWER_MAX, Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect()).await?;
    body.map(|body| body.to_bytes()).map_err(|error| anyhow!(error).context("the answer broke off"))
}

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// How long to stay away, if the server says so.
    pub(super) retry_after: Option<Duration>,
    detail: Option<String>,
}

impl Refusal {
    /// Reads what the server says about it, as far as it says anything.
    pub(super) async fn of(response: Response<Incoming>) -> Self {
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = read_answer(response).await.unwrap_or_default();
        let problem: Option<Problem> = serde_json::from_slice(&body).ok();
        Self { status, retry_after: seconds.map(Duration::from_secs), detail: problem.map(|problem| problem.detail) }
    }

    /// Whether the same request may be answered otherwise later.
    pub(super) fn may_pass(&self) -> bool {
        self.status.is_server_error()
            || matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
    }

    pub(super) fn into_error(self) -> anyhow::Error {
        let answered = format!("the server answered {}", self.status);
        match self.detail {
            Some(detail) => anyhow!("{answered}: {}", printable(&detail)),
            None => anyhow!(answered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_has_an_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let waited = within(Duration::from_millis(10), std::future::pending::<()>());
        let error = runtime.block_on(waited).unwrap_err();
        assert_eq!(error.to_string(), "no answer within 0.01 s");
    }

    #[test]
    fn only_some_refusals_pass() {
        for (status, expected) in [(400, false), (404, false), (408, true), (429, true), (500, true), (503, true)] {
            let refusal = Refusal { status: StatusCode::from_u16(status).unwrap(), retry_after: None, detail: None };
            assert_eq!(refusal.may_pass(), expected, "{status}");
        }
    }
}
