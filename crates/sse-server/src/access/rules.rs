//! What the settings say about who is let in.

use std::io;
use std::sync::Arc;

use super::fetch::FetchError;
use super::role::Role;
use crate::config::{Config, CookieName, OriginPattern};
use crate::signals::Signals;

/// The settings of the gate, as they are until others take their place.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) open_publish: bool,
    pub(super) anonymous: bool,
    pub(super) publisher: Option<Arc<Role>>,
    pub(super) subscriber: Option<Arc<Role>>,
    pub(super) cookie_name: CookieName,
    pub(super) publish_origin: Vec<OriginPattern>,
}

/// New settings name keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// A key is none, or the system gives no certificates for https.
    #[error("cannot set up the keys for tokens")]
    Setup(#[from] io::Error),
    /// A set of keys cannot be had.
    #[error("{role}_jwks_url: cannot fetch the keys: {source}")]
    Fetch {
        /// Whose.
        role: &'static str,
        /// Why.
        source: FetchError,
    },
}

impl Rules {
    /// Roles whose settings are still the same go on as they are, with their keys and the tokens they know.
    ///
    /// # Errors
    /// When a key is none, or the system gives no certificates for a set of keys by https.
    pub(super) fn new(config: &Config, signals: &Signals, before: Option<&Self>) -> io::Result<Self> {
        let publisher = before.and_then(|before| before.publisher.as_ref());
        let subscriber = before.and_then(|before| before.subscriber.as_ref());
        Ok(Self {
            open_publish: config.open_publish,
            anonymous: config.anonymous,
            publisher: Role::publisher(config, signals, publisher)?,
            subscriber: Role::subscriber(config, signals, subscriber)?,
            cookie_name: config.cookie_name.clone(),
            publish_origin: config.publish_origin.clone(),
        })
    }

    fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.publisher.iter().chain(&self.subscriber)
    }

    /// Fetches the sets of keys that those before did not have, so that nobody waits for them once they count.
    pub(super) async fn fetch_first(&self, before: &Self) -> Result<(), KeysError> {
        let is_new = |role: &&Arc<Role>| !before.roles().any(|before| before.has_set_of(role));
        for role in self.roles().filter(is_new) {
            role.fetch_first().await.map_err(|source| KeysError::Fetch { role: role.name(), source })?;
        }
        Ok(())
    }

    /// Keeps sets of keys fresh, for as long as it is polled.
    pub(super) async fn keep_fresh(&self) {
        let run = async |role: &Option<Arc<Role>>| match role {
            Some(role) => role.run().await,
            None => std::future::pending().await,
        };
        tokio::join!(run(&self.publisher), run(&self.subscriber));
    }

    /// What there are no keys for yet.
    pub(super) fn lacking(&self) -> impl Iterator<Item = &'static str> + use<> {
        let lacks = |role: &Option<Arc<Role>>| role.as_ref().is_some_and(|role| role.lacks_keys());
        let publishers = lacks(&self.publisher).then_some("publisher_keys");
        let subscribers = lacks(&self.subscriber).then_some("subscriber_keys");
        publishers.into_iter().chain(subscribers)
    }
}
