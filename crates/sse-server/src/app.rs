//! What every connection shares.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::RwLock;
use sse_hub::{
    Epoch, Hub, HubConfig, LagBounds, Publication, PublishError, Receipt, RingBounds, Selector, SlowPolicy, Submission,
    TopicName, TopicPolicy,
};
use tokio::sync::watch;

use crate::access::{Gate, KeysError};
use crate::admin::Desk;
use crate::backplane::{self, EngineSettings, Node, SharedLog};
use crate::carrier::Carrier;
use crate::compression::Compressors;
use crate::config::{self, BackplaneUrl, Config, TopicLimits};
use crate::event_log::{self, EventLog};
use crate::fan_out::publishing;
use crate::gauge::{ConnectionGauge, Surplus};
use crate::history::History;
use crate::http::Bodies;
use crate::interner::Interner;
use crate::limits::{Exceeded, Limits};
use crate::peers::Peers;
use crate::presence::{Presence, SUBSCRIPTION_TOPICS};
use crate::roster::HyperStreams;
use crate::signals::Signals;
use crate::stream::body::BodyLanes;
use crate::tls::Tls;
use crate::trace::Tracer;
use crate::upgrade::{Passage, Succession};
use crate::vital::Vitals;
use crate::writer::{WriterSettings, Writers};

/// One server's state.
#[derive(Debug)]
pub(crate) struct App {
    /// The settings as they are now: a reload puts others in their place.
    config: RwLock<Arc<Config>>,
    pub(crate) times: StreamTimes,
    pub(crate) hub: Hub,
    pub(crate) signals: Signals,
    /// The durable log, if there is one.
    pub(crate) log: Option<EventLog>,
    /// This node's part of several, if there are.
    pub(crate) backplane: Option<SharedLog>,
    /// The others.
    pub(crate) peers: Option<Arc<Peers>>,
    /// Who may publish and follow what.
    pub(crate) access: Gate,
    /// The threads that own plain streams; without them every stream stays with hyper.
    pub(crate) writers: Option<Writers>,
    /// The streams that no writer has.
    pub(crate) hyper_streams: Arc<HyperStreams>,
    /// What the streams that stay with hyper are compressed with.
    pub(crate) body_lanes: Arc<BodyLanes>,
    /// How public listeners speak TLS, if they do.
    pub(crate) tls: Option<Tls>,
    pub(crate) connections: Arc<ConnectionGauge>,
    pub(crate) limits: Limits,
    /// The room for what publishers send.
    pub(crate) bodies: Bodies,
    /// Who follows what, where that is told.
    pub(crate) presence: Option<Arc<Presence>>,
    pub(crate) user_agents: Interner,
    /// How far this process is on its way to be succeeded.
    pub(crate) succession: Succession,
    pub(crate) passage: Passage,
    /// The window of the drain, once it has begun.
    pub(crate) drain: watch::Sender<Option<Duration>>,
    pub(crate) metrics: Option<PrometheusHandle>,
    /// What the admin listener keeps.
    pub(crate) admin: Desk,
    pub(crate) history: History,
    pub(crate) started_at: Instant,
    /// Tells a collector of requests, if there is one.
    pub(crate) tracer: Option<Tracer>,
    /// Tells of threads that the server cannot go on without.
    pub(crate) vitals: Vitals,
}

impl App {
    /// With an epoch, its history goes on, if the hub keeps it in memory.
    ///
    /// # Errors
    /// When the system gives no random number, thread or poller.
    pub(crate) fn new(
        config: Config,
        opened: Option<event_log::Opened>,
        metrics: Option<PrometheusHandle>,
        epoch: Option<Epoch>,
    ) -> io::Result<Arc<Self>> {
        let (signals, vitals) = (Signals::new(), Vitals::default());
        let mut builder = Hub::builder().config(hub_config(&config));
        if let Some(epoch) = epoch {
            builder = builder.epoch(epoch);
        }
        let log = opened.map(|event_log::Opened { log, contents, is_lent }| {
            let durability = event_log::durability(&config);
            builder = std::mem::take(&mut builder).log(log.clone(), contents, durability);
            (log, is_lent)
        });
        let node = config.backplane.as_ref().map(|url| Node::new(engine_settings(&config, url), warm_up(&config)));
        if let Some(node) = &node {
            builder = builder.backplane(node.clone());
        }
        let hub = builder.build().map_err(io::Error::other)?;
        let backplane = node.map(|node| SharedLog::start(node, &hub, &vitals)).transpose()?;
        let start = |(log, is_lent)| EventLog::start(&hub, log, is_lent, &config, &vitals);
        let log = log.map(start).transpose()?;
        let access = Gate::new(&config, &signals)?;
        let compressors = Compressors::new(&config, signals.clone());
        let body_lanes = BodyLanes::new(compressors.clone(), signals.clone());
        let settings = WriterSettings::new(&config, signals.clone(), access.revocations.clone(), compressors);
        let start = |count: NonZeroUsize| Writers::start(count.get(), &settings, &vitals);
        let writers = config.writers.map(start).transpose()?;
        let tls = Tls::new(&config, &signals)?;
        let tracer = Tracer::new(&config, &signals)?;
        let presence = config.subscriptions.then(|| Presence::new(hub.clone(), signals.clone()));
        let join = |backplane: &SharedLog| Peers::new(&backplane.node, presence.clone(), access.revocations.clone());
        let peers = backplane.as_ref().map(join).transpose().map_err(io::Error::other)?;
        Ok(Arc::new(Self {
            hub,
            log,
            backplane,
            peers,
            access,
            signals,
            writers,
            hyper_streams: Arc::default(),
            body_lanes,
            tls,
            connections: ConnectionGauge::new(config.connections_max.get()),
            limits: Limits::new(&config),
            bodies: Bodies::default(),
            presence,
            user_agents: Interner::default(),
            succession: Succession::default(),
            passage: Passage::default(),
            drain: watch::Sender::new(None),
            metrics,
            admin: Desk::default(),
            history: History::default(),
            started_at: Instant::now(),
            tracer,
            vitals,
            times: StreamTimes::new(&config),
            config: RwLock::new(Arc::new(config)),
        }))
    }

    /// The settings as they are now.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.read().clone()
    }

    /// Goes on with other settings, in which nothing that needs a restart differs.
    ///
    /// # Errors
    /// When a set of keys cannot be had; then everything is as before.
    pub(crate) async fn take_on(&self, config: Config) -> Result<(), KeysError> {
        self.access.take_on(&config).await?;
        self.limits.take_on(&config);
        self.connections.bound(config.connections_max.get());
        self.hub.bound_topics(config.topics_max.get());
        *self.config.write() = Arc::new(config);
        Ok(())
    }

    /// Why no further stream is taken of this client, if none is.
    pub(crate) fn busy(&self, carrier: &Carrier) -> Option<Busy> {
        if self.is_draining() || self.succession.is_over() {
            return Some(Busy::Draining);
        }
        if self.backplane.as_ref().is_some_and(|backplane| backplane.node.state() == backplane::State::Beginning) {
            return Some(Busy::Beginning);
        }
        carrier.claim(self).err().map(|surplus| match surplus {
            Surplus::OfAll => Busy::Full,
            Surplus::OfAddress => Busy::Exceeded(Exceeded::Address),
        })
    }

    /// Publishes to the hub; how long the event takes to its followers is measured. While another process takes over this waits,
    /// and then goes there.
    pub(crate) async fn submit(&self, publication: Publication) -> Submission {
        let way = self.passage.enter().await;
        if let Some(successor) = way.clone() {
            drop(way);
            let outcome = successor.publish(vec![publication]).await.pop();
            return Submission::known(outcome.unwrap_or(Err(PublishError::Elsewhere)));
        }
        let now = Instant::now();
        publishing(now, || self.hub.submit(publication.began_at(now)))
    }

    /// Publishes a batch in its order, up to the first that is refused.
    pub(crate) async fn submit_all(&self, publications: Vec<Publication>) -> Vec<Submission> {
        let way = self.passage.enter().await;
        if let Some(successor) = way.clone() {
            drop(way);
            return successor.publish(publications).await.into_iter().map(Submission::known).collect();
        }
        let now = Instant::now();
        let publications = publications.into_iter().map(|publication| publication.began_at(now)).collect();
        publishing(now, || self.hub.submit_all(publications))
    }

    /// Closes a topic, in the same way.
    ///
    /// # Errors
    /// As the hub's.
    pub(crate) async fn close(&self, topic: &TopicName) -> Result<Receipt, PublishError> {
        self.submit(Publication::end_of(topic.clone())).await.await
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }
}

/// What streams go by at every turn, the same from the start to the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamTimes {
    pub(crate) heartbeat_interval: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) connection_age_max: Option<Duration>,
}

impl StreamTimes {
    fn new(config: &Config) -> Self {
        let Config { heartbeat_interval, write_timeout, connection_age_max, .. } = *config;
        Self { heartbeat_interval, write_timeout, connection_age_max }
    }
}

/// Why a client that wants a stream has to come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    Draining,
    /// It does not have its part of the events yet.
    Beginning,
    /// It has less than the client, and is cut off from the others.
    Behind,
    Full,
    Exceeded(Exceeded),
}

fn engine_settings(config: &Config, url: &BackplaneUrl) -> EngineSettings {
    EngineSettings {
        address: url.address().clone(),
        name: config.backplane_name.as_str().to_owned(),
        retain_events: config.retain_events.get() as u64,
        retain_age: config.retain_age,
        retain_bytes: config.retain_bytes.get() as u64,
        idempotency_window: config.idempotency_window,
    }
}

fn warm_up(config: &Config) -> u64 {
    config.backplane_warm_up.get() as u64
}

/// How long the announcement of a subscription is kept in memory.
const ANNOUNCEMENT_AGE_MAX: Duration = Duration::from_secs(10);

fn hub_config(config: &Config) -> HubConfig {
    let of_patterns = config.topics.iter().map(|rule| (rule.pattern.selector().clone(), policy(&rule.limits(config))));
    HubConfig {
        shards: config.shards.get(),
        topic_policy: policy(&config.topic_limits()),
        topic_policies: announcements(config).into_iter().chain(of_patterns).collect(),
        topics_max: config.topics_max.get(),
        topics_per_subscription_max: config.topics_per_subscription_max.get().max(config.mercure_topics_max()),
        event_bytes_max: config.event_bytes_max.get(),
        rings_bytes_max: config.rings_bytes_max.get(),
        closed_topic_age: config.closed_topic_age,
        idempotency_window: config.idempotency_window,
        ..HubConfig::default()
    }
}

/// Announced subscriptions are for those who follow just now: they are kept for as long as a reader may need.
fn announcements(config: &Config) -> Option<(Selector, TopicPolicy)> {
    let selector = Selector::parse(SUBSCRIPTION_TOPICS).expect("it is a topic's name");
    let mut announcements = policy(&config.topic_limits());
    announcements.ring.age_max = announcements.ring.age_max.min(ANNOUNCEMENT_AGE_MAX);
    config.subscriptions.then_some((selector, announcements))
}

fn policy(limits: &TopicLimits) -> TopicPolicy {
    TopicPolicy {
        ring: RingBounds {
            frames_max: limits.ring_frames_max.get(),
            bytes_max: limits.ring_bytes_max.get(),
            age_max: limits.ring_age_max,
        },
        lag: LagBounds {
            frames_max: limits.lag_frames_max.get(),
            bytes_max: limits.lag_bytes_max.get() as u64,
            grace: limits.lag_grace,
            policy: match limits.slow_policy {
                config::SlowPolicy::Evict => SlowPolicy::Evict,
                config::SlowPolicy::Skip => SlowPolicy::Skip,
                config::SlowPolicy::Latest => SlowPolicy::Latest,
            },
        },
    }
}
