//! D7 through a proxy: what it takes for a body, the server must not take for a request.

#[path = "../../../crates/sse-server/tests/it/smuggling/corpus.rs"]
mod corpus;

use std::time::Duration;

use anyhow::{Result, ensure};

use super::proxy::Proxy;
use crate::faults::crowd::Crowd;
use crate::faults::finding::Findings;
use crate::faults::publisher::Publisher;
use crate::faults::server::Server;

/// How long whatever is hidden has to come out; most are refused at once, some wait for bytes that never come.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sends every request of the corpus with a hidden one behind it, each over a connection of its own.
///
/// Where the proxy takes the hidden request for one that follows, it passes that on and says so in its log; beyond those
/// the server may have seen none.
pub fn through(proxy: &Proxy, server: &Server, findings: &mut Findings) -> Result<()> {
    let mut crowd = Crowd::new(proxy.address)?;
    let requests = requests();
    for request in &requests {
        crowd.connect(format!("{request}{}", corpus::HIDDEN).into_bytes())?;
    }
    crowd.read_until(PATIENCE, |crowd| crowd.members().iter().all(|member| member.ended_at.is_some()))?;
    let published = published(server, "canary")?;
    let passed_on = proxy.requests_seen("POST /events/canary HTTP/1.1")?;
    findings.note("smuggling_requests", requests.len());
    findings.note("smuggling_seen_by_the_proxy", passed_on);
    findings.none(&format!("requests smuggled, of {}", requests.len()), published.saturating_sub(passed_on) as u64);
    findings.all("requests behind them with answers of their own", answered(proxy, server)?, INNOCENT);
    Ok(())
}

/// Requests of somebody else, who may get a connection that the others had. Had the two read one of those differently, each
/// would get the answer to the one before.
fn answered(proxy: &Proxy, server: &Server) -> Result<usize> {
    let mut ids = Vec::new();
    for number in 0..INNOCENT {
        // Each of a client of its own.
        ids.push(Publisher::connect(proxy.address)?.publish("innocent", &number.to_string())?);
    }
    let mut crowd = Crowd::new(server.address())?;
    crowd.follow("/events/innocent?last_event_id=earliest", None)?;
    crowd.read_until(PATIENCE, |crowd| crowd.members()[0].answer.events.len() >= INNOCENT)?;
    let events = &crowd.members()[0].answer.events;
    let is_own = |(number, id): &(usize, &String)| events.get(*number).is_some_and(|event| event.id == **id);
    Ok(ids.iter().enumerate().filter(is_own).count())
}

/// Requests that follow.
const INNOCENT: usize = 50;

fn requests() -> Vec<String> {
    let plain = [corpus::UNCLEAN, corpus::TWO_LENGTHS, corpus::BARE_LINE_FEEDS, corpus::NO_REQUESTS].concat();
    let plain = plain.into_iter().chain([corpus::SAME_LENGTHS]).map(str::to_owned);
    let made = [corpus::no_lengths(), corpus::lengths_beside_chunks(), corpus::no_encodings(), corpus::no_chunks()];
    let unread = corpus::bodies_that_nobody_reads();
    plain.chain(made.concat()).chain(unread).collect()
}

/// Events that a topic has, by asking the server itself.
fn published(server: &Server, topic: &str) -> Result<usize> {
    const LAST: &str = "the last one";
    Publisher::connect(server.address())?.publish(topic, LAST)?;
    let mut crowd = Crowd::new(server.address())?;
    crowd.follow(&format!("/events/{topic}?last_event_id=earliest"), None)?;
    let is_whole = crowd.read_until(PATIENCE, |crowd| crowd.members()[0].answer.data().any(|data| data == LAST))?;
    ensure!(is_whole, "the topic {topic} cannot be read");
    Ok(crowd.members()[0].answer.data().count() - 1)
}
