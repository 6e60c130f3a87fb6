//! What the admin listener tells at one moment.

use std::collections::BTreeMap;

use anyhow::Context;
use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::exchange::{ANSWER_MAX, Body, Refusal, connect, read_answer, request, within};
use super::super::target::Target;

/// More topics and subscribers than a screen has room for.
const LISTED: usize = 50;

#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) stats: Stats,
    pub(super) topics: Vec<Topic>,
    pub(super) subscribers: Vec<Subscriber>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Stats {
    pub(super) version: String,
    pub(super) uptime_seconds: u64,
    pub(super) draining: bool,
    pub(super) connections: Connections,
    pub(super) streams: u64,
    pub(super) topics: u64,
    pub(super) per_second: Rates,
    pub(super) evictions: BTreeMap<String, u64>,
    pub(super) gaps: BTreeMap<String, u64>,
    pub(super) rejected_connections: BTreeMap<String, u64>,
    pub(super) rejected_publishes: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Connections {
    pub(super) open: u64,
    pub(super) max: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rates {
    pub(super) events: f64,
    pub(super) deliveries: f64,
    pub(super) bytes: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Topic {
    pub(super) topic: String,
    pub(super) followers: u64,
    pub(super) frames: u64,
    pub(super) events_per_second: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Subscriber {
    pub(super) topics: String,
    pub(super) remote_addr: String,
    pub(super) lag_events: u64,
    pub(super) lag_bytes: u64,
    pub(super) pending_bytes: u64,
    pub(super) state: String,
    pub(super) why: Option<String>,
}

impl Snapshot {
    pub(super) async fn take(target: &Target) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Topics {
            topics: Vec<Topic>,
        }
        #[derive(Deserialize)]
        struct Subscribers {
            subscribers: Vec<Subscriber>,
        }
        let stats = ask(&target.below("/api/stats")).await?;
        let topics: Topics = ask(&target.below(&format!("/api/topics?sort=activity&limit={LISTED}"))).await?;
        let subscribers: Subscribers = ask(&target.below(&format!("/api/subscribers?limit={LISTED}"))).await?;
        Ok(Self { stats, topics: topics.topics, subscribers: subscribers.subscribers })
    }
}

async fn ask<T: DeserializeOwned>(target: &Target) -> anyhow::Result<T> {
    let mut sender = connect(target).await?;
    let request = request(Method::GET, target)?.body(Body::default()).context("making the request")?;
    let response = within(ANSWER_MAX, sender.send_request(request)).await?.context("no answer")?;
    if !response.status().is_success() {
        return Err(Refusal::of(response).await.into_error());
    }
    let answer = read_answer(response).await?;
    serde_json::from_slice(&answer).with_context(|| format!("{target} is no admin listener"))
}
