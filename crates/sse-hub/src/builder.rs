//! Building a hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::archive::Archive;
use crate::backplane::Backplane;
use crate::budget::Budget;
use crate::config::HubConfig;
use crate::durable::Durable;
use crate::epochs::Epochs;
use crate::hub::{HubInner, Way};
use crate::keys::Keys;
use crate::log::{Durability, KeptKey, Log, LogContents};
use crate::order::Order;
use crate::signals::Signals;
use crate::sync::{Mutex, RwLock};
use crate::topics::{Past, Topics};
use crate::{Epoch, Hub, IdForm, Receipt};

/// Builds a [`Hub`].
#[derive(Debug, Default)]
pub struct HubBuilder {
    config: HubConfig,
    epoch: Option<Epoch>,
    log: Option<Logged>,
    backplane: Option<Arc<dyn Backplane>>,
}

/// A log with what it held when it was opened.
#[derive(Debug)]
struct Logged {
    log: Arc<dyn Log>,
    contents: LogContents,
    durability: Durability,
}

impl HubBuilder {
    /// Uses these settings.
    #[must_use]
    pub fn config(mut self, config: HubConfig) -> Self {
        self.config = config;
        self
    }

    /// Names the history; a random epoch otherwise.
    #[must_use]
    pub fn epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Keeps events in a log, whose history goes on: it names the epoch.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn Log>, contents: LogContents, durability: Durability) -> Self {
        self.log = Some(Logged { log, contents, durability });
        self
    }

    /// Has an engine order and keep the events of several nodes. What this hub's subscribers get is what its host gives to its
    /// [`Intake`](crate::Intake). Not together with a log.
    #[must_use]
    pub fn backplane(mut self, backplane: Arc<dyn Backplane>) -> Self {
        self.backplane = Some(backplane);
        self
    }

    /// Builds the hub.
    ///
    /// # Errors
    /// When the system has no random number for the epoch.
    pub fn build(self) -> Result<Hub, getrandom::Error> {
        let config = self.config;
        let shards = config.shards.max(1);
        let Some(Logged { log, contents, durability }) = self.log else {
            let epochs = Epochs::new(self.epoch.map_or_else(Epoch::random, Ok)?);
            let (order, topics) = (Arc::new(Order::new(shards, 1)), Topics::new(&config, shards, None));
            let Some(backplane) = self.backplane else {
                return Ok(hub(config, epochs, order, topics, (Way::Rings, None)));
            };
            let archive = Archive::new(backplane.clone(), u64::MAX, config.replay_bytes_max);
            let way = Way::Backplane(backplane, AtomicU64::new(getrandom::u64()?));
            return Ok(hub(config, epochs, order, topics, (way, Some(Arc::new(archive)))));
        };
        let LogContents { epochs, newest, closed, keys, .. } = contents;
        let order = Arc::new(Order::new(shards, newest + 1));
        let past = Past { log: log.clone(), order: order.clone(), newest_at_start: newest, lost_to: AtomicU64::new(0) };
        let topics = Topics::new(&config, shards, Some(past));
        for name in &closed {
            topics.obtain_anyway(name).lock().restore_closed();
        }
        let archive = Arc::new(Archive::new(log.clone(), newest, config.replay_bytes_max));
        let durable = Durable::new(log, durability, archive.clone(), config.log_queue_bytes_max);
        let hub = hub(config, epochs, order, topics, (Way::Log(Arc::new(durable)), Some(archive)));
        for KeptKey { key, id, sequence } in keys {
            // The id as it was given, whatever the epoch is now.
            let receipt = Receipt { cursor: hub.inner.cursor(sequence), given_id: Some(id), id_form: IdForm::Cursor };
            hub.inner.keys.lock().remember(key, receipt, 0);
        }
        Ok(hub)
    }
}

fn hub(
    config: HubConfig,
    epochs: Epochs,
    order: Arc<Order>,
    topics: Topics,
    (way, archive): (Way, Option<Arc<Archive>>),
) -> Hub {
    let inner = HubInner {
        epochs: RwLock::new(epochs),
        way,
        archive,
        order,
        topics,
        merges: Mutex::default(),
        watched: Mutex::default(),
        budget: Arc::new(Budget::new(config.rings_bytes_max)),
        signals: Signals::new(),
        tick: AtomicU32::new(0),
        sweep: Mutex::default(),
        keys: Mutex::new(Keys::new(config.idempotency_keys_max)),
        config,
    };
    Hub { inner: Arc::new(inner) }
}
