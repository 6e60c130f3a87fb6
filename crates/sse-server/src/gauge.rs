//! How many connections there are, and whether there may be one more.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::{AddressKey, Admission, Limits, TallyPermit};

/// Counts open connections.
#[derive(Debug)]
pub(crate) struct ConnectionGauge {
    open: AtomicUsize,
    connections_max: AtomicUsize,
}

/// Connections above the bound that are still accepted, to be told that the server is full. They use descriptors that are
/// kept back for the admin listener too.
const TURNED_AWAY_MAX: usize = 8;

impl ConnectionGauge {
    pub(crate) fn new(connections_max: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), connections_max: connections_max.into() })
    }

    /// Sets another bound. Whoever is above it stays.
    pub(crate) fn bound(&self, connections_max: usize) {
        self.connections_max.store(connections_max, Ordering::Relaxed);
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many there may be.
    pub(crate) fn max(&self) -> usize {
        self.connections_max.load(Ordering::Relaxed)
    }

    /// A permit for a connection that another process had let in, with its place among those of its address: it is counted,
    /// whatever the bound.
    pub(crate) fn adopt(self: &Arc<Self>, address: Option<TallyPermit<AddressKey>>) -> ConnectionPermit {
        self.open.fetch_add(1, Ordering::Relaxed);
        ConnectionPermit { gauge: self.clone(), surplus: None, _address: address.map(Box::new) }
    }

    /// A permit for one more connection.
    ///
    /// # Errors
    /// The word for metrics, when there are too many even to be told so.
    pub(crate) fn enter(self: &Arc<Self>, limits: &Limits, peer: IpAddr) -> Result<ConnectionPermit, &'static str> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let connections_max = self.connections_max.load(Ordering::Relaxed);
        let surplus = (before >= connections_max).then_some(Surplus::OfAll);
        let mut permit = ConnectionPermit { gauge: self.clone(), surplus, _address: None };
        if before >= connections_max.saturating_add(TURNED_AWAY_MAX) {
            return Err("full");
        }
        let (address, of_address) = match limits.admit(peer) {
            Admission::Within(address) => (address, None),
            Admission::Surplus(address) => (Some(address), Some(Surplus::OfAddress)),
            Admission::Refused => return Err("address"),
        };
        permit._address = address.map(Box::new);
        permit.surplus = permit.surplus.or(of_address);
        Ok(permit)
    }
}

/// Whose bound a connection is above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surplus {
    /// The server's.
    OfAll,
    /// Its address's.
    OfAddress,
}

/// One connection's place; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    gauge: Arc<ConnectionGauge>,
    surplus: Option<Surplus>,
    /// Boxed, as it is there only where addresses are counted.
    _address: Option<Box<TallyPermit<AddressKey>>>,
}

impl ConnectionPermit {
    /// The bound that was reached when the connection came, if one was.
    pub(crate) fn surplus(&self) -> Option<Surplus> {
        self.surplus
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
    use crate::config::Config;

    #[test]
    fn the_surplus_is_told_and_bounded() {
        let (gauge, limits) = (ConnectionGauge::new(2), Limits::new(&Config::for_memory(1 << 30)));
        let enter = || gauge.enter(&limits, [127, 0, 0, 1].into());
        let permits: Vec<_> = (0..2 + TURNED_AWAY_MAX).map(|_| enter().expect("within the bound")).collect();
        assert_eq!([permits[1].surplus(), permits[2].surplus()], [None, Some(Surplus::OfAll)]);
        assert_eq!(enter().err(), Some("full"));
        assert_eq!(gauge.open(), permits.len());
        drop(permits);
        assert_eq!(gauge.open(), 0);
        assert!(enter().is_ok_and(|permit| permit.surplus().is_none()));
    }
}
