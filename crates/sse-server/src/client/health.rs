//! `health`: whether a server is well, for whatever restarts it or sends it traffic and has no client of its own.

use std::time::Duration;

use hyper::Method;

use super::exchange::{Body, connect, read_answer, request, within};
use super::target::Target;
use crate::config::HealthArgs;

/// How long it may take in all: who asks gives up soon, and asks again.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Prints what the server says of itself; an error is that it says anything but 200, or nothing.
pub(super) async fn run(args: &HealthArgs) -> anyhow::Result<()> {
    let (status, said) = within(ANSWER_MAX, ask(&Target::parse(&args.url)?)).await??;
    println!("{}", said.trim_end());
    anyhow::ensure!(status.is_success(), "the server answered {status}");
    Ok(())
}

async fn ask(target: &Target) -> anyhow::Result<(hyper::StatusCode, String)> {
    let request = request(Method::GET, target)?.body(Body::default())?;
    let response = connect(target).await?.send_request(request).await?;
    let status = response.status();
    Ok((status, String::from_utf8_lossy(&read_answer(response).await?).into_owned()))
}
