//! How long an event takes from its publisher to the last follower's `send`.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use metrics::Histogram;

/// An event on its way. Whoever it wakes holds a share until it was sent there; with the last share its time is recorded.
#[derive(Debug, Clone)]
pub(crate) struct FanOut {
    _way: Arc<Way>,
}

#[derive(Debug)]
struct Way {
    began_at: Instant,
    duration: Histogram,
}

/// A publish under way.
struct Publishing {
    began_at: Instant,
    /// Made for the first that is woken: most topics have no followers.
    fan_out: Option<FanOut>,
}

thread_local! {
    /// The publish under way on this thread: the hub wakes followers before it returns.
    static PUBLISHING: RefCell<Option<Publishing>> = const { RefCell::new(None) };
}

/// Runs `publish`, of an event that came at `began_at`. All that it wakes share one fan-out.
pub(crate) fn publishing<T>(began_at: Instant, publish: impl FnOnce() -> T) -> T {
    PUBLISHING.set(Some(Publishing { began_at, fan_out: None }));
    let _scope = Scope;
    publish()
}

/// Ends the publish, even one that panics.
struct Scope;

impl Drop for Scope {
    fn drop(&mut self) {
        PUBLISHING.take();
    }
}

impl FanOut {
    /// One of an event that came at this time.
    pub(crate) fn since(began_at: Instant, duration: &Histogram) -> Self {
        Self { _way: Arc::new(Way { began_at, duration: duration.clone() }) }
    }

    /// A share for somebody who is being woken; none if it is not by a publish on this thread.
    pub(crate) fn join(duration: &Histogram) -> Option<Self> {
        PUBLISHING.with_borrow_mut(|publishing| {
            let Publishing { began_at, fan_out } = publishing.as_mut()?;
            Some(fan_out.get_or_insert_with(|| Self::since(*began_at, duration)).clone())
        })
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.duration.record(self.began_at.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_are_woken_by_a_publish_share_it() {
        let duration = Histogram::noop();
        assert!(FanOut::join(&duration).is_none());
        let shares = publishing(Instant::now(), || [FanOut::join(&duration), FanOut::join(&duration)]);
        let [Some(first), Some(second)] = shares else { panic!("no shares") };
        assert!(Arc::ptr_eq(&first._way, &second._way));
        assert_eq!(Arc::strong_count(&first._way), 2);
        assert!(FanOut::join(&duration).is_none());
    }
}
