//! Building a hub.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::budget::Budget;
use crate::config::HubConfig;
use crate::hub::HubInner;
use crate::order::Order;
use crate::signals::Signals;
use crate::sync::Mutex;
use crate::topics::Topics;
use crate::{Epoch, Hub};

/// Builds a [`Hub`].
#[derive(Debug, Default)]
pub struct HubBuilder {
    config: HubConfig,
    epoch: Option<Epoch>,
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

    /// Builds the hub.
    ///
    /// # Errors
    /// When the system has no random number for the epoch.
    pub fn build(self) -> Result<Hub, getrandom::Error> {
        let epoch = self.epoch.map_or_else(Epoch::random, Ok)?;
        let config = self.config;
        let shards = config.shards.max(1);
        let inner = HubInner {
            epoch,
            order: Order::new(shards, 1),
            topics: Topics::new(&config, shards),
            merges: Mutex::default(),
            watched: Mutex::default(),
            budget: Arc::new(Budget::new(config.rings_bytes_max)),
            signals: Signals::new(),
            tick: AtomicU32::new(0),
            sweep: Mutex::default(),
            config,
        };
        Ok(Hub { inner: Arc::new(inner) })
    }
}
