//! What bounds the work that the admin listener makes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::Problem;

/// How long one waits for the listing before its own.
const TURN_MAX: Duration = Duration::from_secs(10);
/// Followers at a time: connections are left for scrapers.
const FOLLOWERS_MAX: usize = 16;

/// The admin listener's own state.
#[derive(Debug)]
pub(crate) struct Desk {
    listings: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { listings: Arc::new(Semaphore::new(1)), followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)) }
    }
}

impl Desk {
    /// Waits for the turn to look through all topics or streams: there is one at a time, whoever asks.
    ///
    /// # Errors
    /// 503.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        match tokio::time::timeout(TURN_MAX, self.listings.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Problem::unavailable("listing_busy", "others are being listed to", Duration::from_secs(1))),
        }
    }

    /// A place for one more follower.
    ///
    /// # Errors
    /// 503.
    pub(super) fn follower(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.followers.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{FOLLOWERS_MAX} follow on the admin listener already");
            Problem::unavailable("followers_full", detail, Duration::from_secs(5))
        })
    }
}
