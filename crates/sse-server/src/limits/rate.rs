//! How often each client may ask.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::InMemoryState;
use governor::state::direct::NotKeyed;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use super::AddressKey;

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum RateKey {
    Address(AddressKey),
    Subject(Arc<str>),
}

/// Clients that are told apart. More than these within a second share one rate between them: the table is bounded, and
/// nobody gains by filling it.
const CLIENTS_MAX: usize = 65_536;
/// A full table is looked through at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

type Clients =
    RateLimiter<RateKey, HashMapStateStore<RateKey, ahash::RandomState>, DefaultClock, NoOpMiddleware<Moment>>;
type Rest = RateLimiter<NotKeyed, InMemoryState, DefaultClock, NoOpMiddleware<Moment>>;
type Moment = <DefaultClock as Clock>::Instant;

/// So many in a second for each client, all of them at once if it likes.
#[derive(Debug)]
pub(crate) struct Rate {
    clients: Clients,
    /// Those that the table has no room for.
    rest: Rest,
    swept_at: Mutex<Option<Instant>>,
    burst: NonZeroU32,
    clients_max: usize,
}

impl Rate {
    pub(crate) fn new(per_second: NonZeroU32) -> Self {
        Self::with_clients_max(per_second, CLIENTS_MAX)
    }

    fn with_clients_max(per_second: NonZeroU32, clients_max: usize) -> Self {
        let quota = Quota::per_second(per_second);
        let clients = RateLimiter::hashmap_with_hasher(quota, ahash::RandomState::new());
        let (rest, swept_at) = (RateLimiter::direct(quota), Mutex::new(None));
        Self { clients, rest, swept_at, burst: per_second, clients_max }
    }

    /// Whether it is this share that it gives.
    pub(super) fn gives(&self, per_second: NonZeroU32) -> bool {
        self.burst == per_second
    }

    /// Takes `count` of this second's share. A batch larger than the whole share takes all of it.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn take(&self, key: &RateKey, count: usize) -> Result<(), Duration> {
        let Some(count) = NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX)) else { return Ok(()) };
        let count = count.min(self.burst);
        let taken = if self.has_room() { self.clients.check_key_n(key, count) } else { self.rest.check_n(count) };
        let now = DefaultClock::default().now();
        taken.unwrap_or(Ok(())).map_err(|not_until| not_until.wait_time_from(now))
    }

    fn has_room(&self) -> bool {
        if self.clients.len() < self.clients_max {
            return true;
        }
        {
            let mut swept_at = self.swept_at.lock();
            if swept_at.is_some_and(|at| at.elapsed() < SWEEP_EVERY) {
                return false;
            }
            *swept_at = Some(Instant::now());
        }
        self.clients.retain_recent();
        self.clients.len() < self.clients_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str) -> RateKey {
        RateKey::Subject(name.into())
    }

    #[test]
    fn each_client_has_its_own_share() {
        let rate = Rate::new(NonZeroU32::new(3).unwrap());
        assert!((0..3).all(|_| rate.take(&subject("a"), 1).is_ok()));
        let wait = rate.take(&subject("a"), 1).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert!(rate.take(&subject("b"), 3).is_ok());
        assert!(rate.take(&subject("b"), 1).is_err());
        assert!(rate.take(&subject("c"), 1000).is_ok(), "no batch is too large for ever");
        assert!(rate.take(&subject("c"), 1).is_err());
    }

    #[test]
    fn those_without_a_place_share_one() {
        let rate = Rate::with_clients_max(NonZeroU32::new(2).unwrap(), 2);
        for name in ["a", "b"] {
            assert!(rate.take(&subject(name), 2).is_ok());
        }
        assert!(rate.take(&subject("c"), 2).is_ok());
        assert!(rate.take(&subject("d"), 1).is_err(), "the table is full and its clients were there just now");
        assert_eq!(rate.clients.len(), 2);
    }
}
