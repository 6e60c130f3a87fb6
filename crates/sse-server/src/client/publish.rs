//! `publish`: one event, or each line of standard input.

use std::io::{self, Write};

use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use super::exchange::{ANSWER_MAX, Body, Refusal, connect, read_answer, request, within};
use super::show::Shown;
use super::target::Target;
use crate::config::PublishArgs;

/// Bytes of one line. A server takes far fewer by default; this only keeps a stream without line ends out of memory.
const LINE_BYTES_MAX: u64 = 64 << 20;

pub(super) async fn run(args: &PublishArgs) -> anyhow::Result<()> {
    let mut target = Target::parse(&args.url)?.with_token(args.token.as_ref())?;
    if let Some(event_type) = &args.event_type {
        target = target.with_query("type", event_type);
    }
    if let Some(id) = &args.id {
        ensure!(args.data.is_some(), "--id names one event: give that with --data");
        target = target.with_query("id", id);
    }
    let mut publisher = Publisher { target, connection: None };
    match &args.data {
        Some(data) => publisher.publish(Bytes::from(data.clone())).await,
        None => publisher.publish_lines(BufReader::new(tokio::io::stdin())).await,
    }
}

/// Publishes one event after the other, on one connection for as long as that lasts.
struct Publisher {
    target: Target,
    connection: Option<SendRequest<Body>>,
}

impl Publisher {
    async fn publish_lines(&mut self, mut lines: impl AsyncBufRead + Unpin) -> anyhow::Result<()> {
        for number in 1_u64.. {
            let line = read_line(&mut lines).await.with_context(|| format!("line {number} of standard input"))?;
            let Some(line) = line else { break };
            self.publish(line).await.with_context(|| format!("line {number}"))?;
        }
        Ok(())
    }

    /// Publishes and prints the id.
    async fn publish(&mut self, data: Bytes) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Published {
            id: String,
        }
        let response = self.exchange(data).await?;
        if !response.status().is_success() {
            return Err(Refusal::of(response).await.into_error());
        }
        let answer = read_answer(response).await?;
        let published: Published = serde_json::from_slice(&answer).context("the answer names no id")?;
        let mut out = io::stdout().lock();
        let shown = Shown::of_stdout();
        writeln!(out, "{}", shown.text(&published.id)).and_then(|()| out.flush()).context("printing the id")
    }

    /// Sends one event. A kept connection that turns out to be closed is replaced; a request that may have reached the
    /// server is never sent twice.
    async fn exchange(&mut self, data: Bytes) -> anyhow::Result<hyper::Response<hyper::body::Incoming>> {
        let mut request = self.request(data)?;
        loop {
            let (mut sender, is_new) = match self.connection.take() {
                Some(sender) => (sender, false),
                None => (connect(&self.target).await?, true),
            };
            if !is_new && sender.ready().await.is_err() {
                continue;
            }
            let sent = within(ANSWER_MAX, sender.try_send_request(request)).await;
            match sent.context("whether the event was published is not known")? {
                Ok(response) => {
                    self.connection = Some(sender);
                    return Ok(response);
                }
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    Some(_) => bail!(anyhow!(failed.into_error()).context("the request could not be sent")),
                    None => {
                        let lost = "the connection broke: whether the event was published is not known";
                        bail!(anyhow!(failed.into_error()).context(lost))
                    }
                },
            }
        }
    }

    fn request(&self, data: Bytes) -> anyhow::Result<Request<Body>> {
        request(Method::POST, &self.target)?.body(Body::new(data)).context("making the request")
    }
}

/// The next line without its end; nothing at the end of the input.
async fn read_line(input: &mut (impl AsyncBufRead + Unpin)) -> anyhow::Result<Option<Bytes>> {
    let mut line = Vec::new();
    let len = input.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line).await?;
    if len == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    ensure!(line.len() as u64 <= LINE_BYTES_MAX, "it has more than {LINE_BYTES_MAX} bytes");
    Ok(Some(line.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_ends_only() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut input = &b"a\n\n b \r\nc\rd\nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = runtime.block_on(read_line(&mut input)).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, [&b"a"[..], b"", b" b ", b"c\rd", b"last"]);
    }
}
