//! How many connections there are, and whether there may be one more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts open connections.
#[derive(Debug)]
pub(crate) struct ConnectionGauge {
    open: AtomicUsize,
    connections_max: usize,
}

/// Connections above the bound that are still accepted, to be told that the server is full. They use descriptors that are
/// kept back for the admin listener too.
const TURNED_AWAY_MAX: usize = 8;

impl ConnectionGauge {
    pub(crate) fn new(connections_max: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), connections_max })
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A permit for one more connection; `None` when there are too many even to be told so.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let permit = ConnectionPermit { gauge: self.clone(), is_surplus: before >= self.connections_max };
        (before < self.connections_max + TURNED_AWAY_MAX).then_some(permit)
    }
}

/// One connection's place; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    gauge: Arc<ConnectionGauge>,
    is_surplus: bool,
}

impl ConnectionPermit {
    /// Whether the server was full when the connection came.
    pub(crate) fn is_surplus(&self) -> bool {
        self.is_surplus
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.gauge.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surplus_is_told_and_bounded() {
        let gauge = ConnectionGauge::new(2);
        let permits: Vec<_> = (0..2 + TURNED_AWAY_MAX).map(|_| gauge.enter().expect("within the bound")).collect();
        assert!(!permits[1].is_surplus() && permits[2].is_surplus());
        assert!(gauge.enter().is_none());
        assert_eq!(gauge.open(), permits.len());
        drop(permits);
        assert_eq!(gauge.open(), 0);
        assert!(gauge.enter().is_some_and(|permit| !permit.is_surplus()));
    }
}
