//! Building a hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::budget::Budget;
use crate::config::HubConfig;
use crate::durable::{Durable, DurableBounds};
use crate::epochs::Epochs;
use crate::hub::HubInner;
use crate::keys::Keys;
use crate::log::{Durability, KeptKey, Log, LogContents};
use crate::order::Order;
use crate::signals::Signals;
use crate::sync::Mutex;
use crate::topics::{Past, Topics};
use crate::{Epoch, Hub, IdForm, Receipt};

/// Builds a [`Hub`].
#[derive(Debug, Default)]
pub struct HubBuilder {
    config: HubConfig,
    epoch: Option<Epoch>,
    log: Option<Logged>,
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

    /// Builds the hub.
    ///
    /// # Errors
    /// When the system has no random number for the epoch.
    pub fn build(self) -> Result<Hub, getrandom::Error> {
        let config = self.config;
        let shards = config.shards.max(1);
        let Some(Logged { log, contents, durability }) = self.log else {
            let epochs = Epochs::new(self.epoch.map_or_else(Epoch::random, Ok)?);
            let (order, topics) = (Order::new(shards, 1), Topics::new(&config, shards, None));
            return Ok(hub(config, epochs, Arc::new(order), topics, None));
        };
        let LogContents { epochs, newest, closed, keys, .. } = contents;
        let order = Arc::new(Order::new(shards, newest + 1));
        let past = Past { log: log.clone(), order: order.clone(), newest_at_start: newest, lost_to: AtomicU64::new(0) };
        let topics = Topics::new(&config, shards, Some(past));
        for name in &closed {
            topics.obtain_anyway(name).lock().restore_closed();
        }
        let bounds =
            DurableBounds { queue_bytes_max: config.log_queue_bytes_max, replay_bytes_max: config.replay_bytes_max };
        let durable = Arc::new(Durable::new(log, durability, newest, &bounds));
        let hub = hub(config, epochs, order, topics, Some(durable));
        for KeptKey { key, id, sequence } in keys {
            // The id as it was given, whatever the epoch is now.
            let receipt = Receipt { cursor: hub.inner.cursor(sequence), given_id: Some(id), id_form: IdForm::Cursor };
            hub.inner.keys.lock().remember(key, receipt, 0);
        }
        Ok(hub)
    }
}

fn hub(config: HubConfig, epochs: Epochs, order: Arc<Order>, topics: Topics, durable: Option<Arc<Durable>>) -> Hub {
    let inner = HubInner {
        epochs,
        durable,
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
