//! An engine of either kind, and what tests ask of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sse_hub::{IdempotencyKey, TopicName};

use super::super::address::Address;
use super::super::engine::{
    Appended, Engine, EngineError, EngineSettings, Entry, Extent, Found, Outgoing, Range, Tail, engine,
};
use super::super::redis::Redis;
use super::process::{Process, until};

/// Which engine, and how it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backplane) enum Kind {
    Redis,
    /// As Redis 6 is used, which cannot count.
    Redis6,
    Nats,
}

/// An engine for one test.
#[derive(Debug)]
pub(in crate::backplane) struct Rig {
    pub(in crate::backplane) kind: Kind,
    pub(in crate::backplane) process: Process,
    pub(in crate::backplane) settings: EngineSettings,
    pub(in crate::backplane) engine: Arc<dyn Engine>,
}

impl Rig {
    pub(in crate::backplane) async fn start(kind: Kind) -> Self {
        Self::start_with(kind, |_| ()).await
    }

    pub(in crate::backplane) async fn start_with(kind: Kind, change: impl FnOnce(&mut EngineSettings)) -> Self {
        let (process, url) = match kind {
            Kind::Redis | Kind::Redis6 => {
                let process = redis(&["--appendonly", "yes", "--appendfsync", "always", "--proto-max-bulk-len", "2mb"]);
                let url = format!("redis://127.0.0.1:{}", process.port);
                (process, url)
            }
            Kind::Nats => {
                let process = nats("");
                let url = format!("nats://127.0.0.1:{}", process.port);
                (process, url)
            }
        };
        process.listening().await;
        let mut settings = settings(&url);
        change(&mut settings);
        let mut rig = Self { kind, engine: engine(settings.clone()), process, settings };
        rig.engine = rig.another();
        rig.opened().await;
        rig
    }

    /// The engine as another node sees it.
    pub(in crate::backplane) fn another(&self) -> Arc<dyn Engine> {
        match self.kind {
            Kind::Redis6 => Arc::new(Redis::counting_by_script(self.settings.clone())),
            Kind::Redis | Kind::Nats => engine(self.settings.clone()),
        }
    }

    /// Waits until it can be opened.
    pub(in crate::backplane) async fn opened(&self) {
        until("it opens", async || self.engine.open().await.ok()).await;
    }

    pub(in crate::backplane) async fn append(&self, texts: &[&str]) -> Vec<Result<Appended, EngineError>> {
        self.engine.append(texts.iter().map(|text| outgoing(text)).collect()).await
    }

    /// Appends one that has to be new.
    pub(in crate::backplane) async fn append_one(&self, text: &str) -> u64 {
        match self.append(&[text]).await.remove(0) {
            Ok(Appended::New(number)) => number,
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::backplane) async fn read(&self, after: u64, up_to: u64, entries_max: usize) -> Found {
        self.engine.read(Range { after, up_to, entries_max, topic: None }).await.unwrap()
    }

    pub(in crate::backplane) async fn extent(&self) -> Extent {
        self.engine.extent().await.unwrap()
    }
}

pub(in crate::backplane) fn settings(url: &str) -> EngineSettings {
    EngineSettings {
        address: Address::parse(url).unwrap(),
        name: "sse".to_owned(),
        retain_events: 1_000_000,
        retain_age: Duration::from_secs(3600),
        retain_bytes: 1 << 30,
        idempotency_window: Duration::from_secs(60),
    }
}

/// A Redis that keeps nothing unless it is told to.
pub(in crate::backplane) fn redis(args: &[&str]) -> Process {
    Process::start("redis-server", |port, dir| {
        let common = format!("--port {port} --bind 127.0.0.1 --dir {dir} --daemonize no --save");
        let common = common.split(' ').map(str::to_owned);
        common.chain(std::iter::once(String::new())).chain(args.iter().map(|arg| (*arg).to_owned())).collect()
    })
}

/// A NATS server with JetStream, and more lines of its configuration.
pub(in crate::backplane) fn nats(config: &str) -> Process {
    Process::start("nats-server", |port, dir| {
        let file = format!("{dir}/nats.conf");
        let text = format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{dir}/store\" }}\n{config}\n");
        std::fs::write(&file, text).unwrap();
        vec!["--config".to_owned(), file]
    })
}

pub(in crate::backplane) fn outgoing(text: &str) -> Outgoing {
    Outgoing { bytes: Bytes::copy_from_slice(text.as_bytes()), topic: None, key: None }
}

pub(in crate::backplane) fn of_topic(topic: &str, text: &str) -> Outgoing {
    Outgoing { topic: Some(TopicName::parse(topic).unwrap()), ..outgoing(text) }
}

pub(in crate::backplane) fn keyed(key: u8, fingerprint: u8, text: &str) -> Outgoing {
    let key = IdempotencyKey { key: [key; 16], fingerprint: [fingerprint; 16] };
    Outgoing { key: Some(key), ..outgoing(text) }
}

/// Numbers and texts.
pub(in crate::backplane) fn told(entries: &[Entry]) -> Vec<(u64, String)> {
    entries.iter().map(|entry| (entry.number, String::from_utf8_lossy(&entry.bytes).into_owned())).collect()
}

/// Follows until there are so many entries, beginning anew whenever the engine fails.
pub(in crate::backplane) async fn follow(
    engine: &dyn Engine,
    tail: &mut Option<Box<dyn Tail>>,
    mut after: u64,
    count: usize,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    until("the entries arrive", async || {
        if tail.is_none() {
            *tail = engine.tail(after).await.ok();
        }
        match tail.as_mut()?.next().await {
            Ok(more) => entries.extend(more),
            Err(_) => *tail = None,
        }
        after = entries.last().map_or(after, |entry: &Entry| entry.number);
        (entries.len() >= count).then_some(())
    })
    .await;
    entries
}
