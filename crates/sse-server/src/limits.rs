//! How much one client may take: connections and streams at a time, requests in a second.

use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderMap;
use parking_lot::RwLock;

use crate::config::{Config, Network};

mod address;
mod forwarded;
mod rate;
mod tally;

pub(crate) use address::AddressKey;
use rate::{Rate, RateKey};
pub(crate) use tally::TallyPermit;
use tally::{Entry, Tally};

/// Connections that one address may have above its bound, to be told so; what comes beyond them is closed.
const TURNED_AWAY_MAX: usize = 4;

/// The bounds of single clients. Each is off unless it is set.
#[derive(Debug)]
pub(crate) struct Limits(RwLock<Arc<Bounds>>);

/// The bounds as they are until the settings change.
#[derive(Debug)]
struct Bounds {
    proxies: Vec<Network>,
    addresses: Option<Arc<Tally<AddressKey>>>,
    subjects: Option<Arc<Tally<Arc<str>>>>,
    publishes: Option<Arc<Rate>>,
    subscribes: Option<Arc<Rate>>,
}

/// What the bounds say to a connection.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is counted, if anything counts it.
    Within(Option<TallyPermit<AddressKey>>),
    /// It is one too many, and may be told so.
    Surplus(TallyPermit<AddressKey>),
    /// It is closed.
    Refused,
}

/// What a stream holds of its client's shares, freed with it.
#[derive(Debug)]
pub(crate) struct Shares {
    _address: Option<TallyPermit<AddressKey>>,
    _subject: Option<TallyPermit<Arc<str>>>,
}

/// Which of its bounds a client has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// Connections of one address.
    Address,
    /// Streams of one token subject.
    Subject,
    /// Requests in a second; the next may come after this time.
    Rate(Duration),
}

impl Exceeded {
    /// The word that metrics carry.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Subject => "subject",
            Self::Rate(_) => "rate",
        }
    }

    /// What the client is told.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Address => "this address has as many streams as one address may have",
            Self::Subject => "this subject has as many streams as one subject may have",
            Self::Rate(_) => "there were more requests in a second than one client may make",
        }
    }
}

impl Shares {
    fn are_any(&self) -> bool {
        self._address.is_some() || self._subject.is_some()
    }
}

impl Limits {
    pub(crate) fn new(config: &Config) -> Self {
        let none = Bounds { proxies: Vec::new(), addresses: None, subjects: None, publishes: None, subscribes: None };
        let limits = Self(RwLock::new(Arc::new(none)));
        limits.take_on(config);
        limits
    }

    /// Goes by other settings from now on. What is counted stays counted; a bound that was off counts who comes from now on.
    pub(crate) fn take_on(&self, config: &Config) {
        let before = self.bounds();
        let bounds = Bounds {
            proxies: config.trusted_proxy.clone(),
            addresses: tally(before.addresses.as_ref(), config.connections_per_ip_max, TURNED_AWAY_MAX),
            subjects: tally(before.subjects.as_ref(), config.connections_per_subject_max, 0),
            publishes: rate(before.publishes.as_ref(), config.publish_rate_max),
            subscribes: rate(before.subscribes.as_ref(), config.subscribe_rate_max),
        };
        *self.0.write() = Arc::new(bounds);
    }

    fn bounds(&self) -> Arc<Bounds> {
        self.0.read().clone()
    }

    /// Counts a new connection. Those of a trusted proxy belong to many clients: they are counted as streams.
    pub(crate) fn admit(&self, peer: IpAddr) -> Admission {
        let bounds = self.bounds();
        let Some(addresses) = bounds.addresses.as_ref().filter(|_| !bounds.is_trusted(peer)) else {
            return Admission::Within(None);
        };
        match addresses.enter(AddressKey::of(peer)) {
            Entry::Within(permit) => Admission::Within(Some(permit)),
            Entry::Surplus(permit) => Admission::Surplus(permit),
            Entry::Refused => Admission::Refused,
        }
    }

    /// Whom a request comes from: the peer, or whoever a trusted proxy says it forwards for.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let bounds = self.bounds();
        if !bounds.is_trusted(peer.ip()) {
            return peer;
        }
        forwarded::client(peer, headers, |address| bounds.is_trusted(address))
    }

    /// Takes a stream's shares.
    pub(crate) fn take_shares(
        &self,
        peer: IpAddr,
        client: IpAddr,
        subject: Option<&str>,
    ) -> Result<Option<Shares>, Exceeded> {
        let bounds = self.bounds();
        let of_proxy = bounds.addresses.as_ref().filter(|_| bounds.is_trusted(peer));
        let address = of_proxy.map(|addresses| addresses.enter(AddressKey::of(client)).within(Exceeded::Address));
        let of_subject = bounds.subjects.as_ref().zip(subject);
        let subject = of_subject.map(|(subjects, subject)| subjects.enter(subject.into()).within(Exceeded::Subject));
        let shares = Shares { _address: address.transpose()?, _subject: subject.transpose()? };
        Ok(shares.are_any().then_some(shares))
    }

    /// The place and the shares of a stream that another process had let in, whatever the bounds are here.
    pub(crate) fn adopt(
        &self,
        peer: IpAddr,
        client: IpAddr,
        subject: Option<&str>,
    ) -> (Option<TallyPermit<AddressKey>>, Option<Shares>) {
        let bounds = self.bounds();
        let of = |address: IpAddr| Some(bounds.addresses.as_ref()?.adopt(AddressKey::of(address)));
        let (connection, address) = if bounds.is_trusted(peer) { (None, of(client)) } else { (of(peer), None) };
        let of_subject = bounds.subjects.as_ref().zip(subject);
        let subject = of_subject.map(|(subjects, subject)| subjects.adopt(subject.into()));
        let shares = Shares { _address: address, _subject: subject };
        (connection, shares.are_any().then_some(shares))
    }

    /// Counts one request to follow, before anything is done for it.
    pub(crate) fn subscribes(&self, client: IpAddr) -> Result<(), Exceeded> {
        take(self.bounds().subscribes.as_deref(), &RateKey::Address(AddressKey::of(client)), 1)
    }

    /// Counts events that an address publishes: one before anything is done for the request, what a batch has more once it
    /// is read.
    pub(crate) fn publishes(&self, client: IpAddr, events: usize) -> Result<(), Exceeded> {
        take(self.bounds().publishes.as_deref(), &RateKey::Address(AddressKey::of(client)), events)
    }

    /// Counts events that a token subject publishes, from whatever addresses.
    pub(crate) fn publishes_of(&self, subject: Option<&str>, events: usize) -> Result<(), Exceeded> {
        let bounds = self.bounds();
        let Some(subject) = subject.filter(|_| bounds.publishes.is_some()) else { return Ok(()) };
        take(bounds.publishes.as_deref(), &RateKey::Subject(subject.into()), events)
    }
}

impl Bounds {
    fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(address))
    }
}

/// The tally there is, with its bound now, or a new one.
fn tally<K: Hash + Eq + Clone>(
    before: Option<&Arc<Tally<K>>>,
    max: Option<NonZeroUsize>,
    surplus_max: usize,
) -> Option<Arc<Tally<K>>> {
    let max = max?.get();
    let Some(tally) = before else { return Some(Tally::new(max, surplus_max)) };
    tally.bound(max);
    Some(tally.clone())
}

/// The rate there is, if it is still the same, or a new one.
fn rate(before: Option<&Arc<Rate>>, per_second: Option<NonZeroUsize>) -> Option<Arc<Rate>> {
    let per_second = per_second?.try_into().unwrap_or(NonZeroU32::MAX);
    let same = before.filter(|rate| rate.gives(per_second)).cloned();
    Some(same.unwrap_or_else(|| Arc::new(Rate::new(per_second))))
}

fn take(rate: Option<&Rate>, key: &RateKey, count: usize) -> Result<(), Exceeded> {
    rate.map_or(Ok(()), |rate| rate.take(key, count)).map_err(Exceeded::Rate)
}
