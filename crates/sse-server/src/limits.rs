//! How much one client may take: connections and streams at a time, requests in a second.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderMap;

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
pub(crate) struct Limits {
    proxies: Vec<Network>,
    addresses: Option<Arc<Tally<AddressKey>>>,
    subjects: Option<Arc<Tally<Arc<str>>>>,
    publishes: Option<Rate>,
    subscribes: Option<Rate>,
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
        Self {
            proxies: config.trusted_proxy.clone(),
            addresses: config.connections_per_ip_max.map(|max| Tally::new(max.get(), TURNED_AWAY_MAX)),
            subjects: config.connections_per_subject_max.map(|max| Tally::new(max.get(), 0)),
            publishes: config.publish_rate_max.map(rate),
            subscribes: config.subscribe_rate_max.map(rate),
        }
    }

    /// Counts a new connection. Those of a trusted proxy belong to many clients: they are counted as streams.
    pub(crate) fn admit(&self, peer: IpAddr) -> Admission {
        let Some(addresses) = self.addresses.as_ref().filter(|_| !self.is_trusted(peer)) else {
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
        if !self.is_trusted(peer.ip()) {
            return peer;
        }
        forwarded::client(peer, headers, |address| self.is_trusted(address))
    }

    /// Takes a stream's shares.
    pub(crate) fn take_shares(
        &self,
        peer: IpAddr,
        client: IpAddr,
        subject: Option<&str>,
    ) -> Result<Option<Shares>, Exceeded> {
        let of_proxy = self.addresses.as_ref().filter(|_| self.is_trusted(peer));
        let address = of_proxy.map(|addresses| addresses.enter(AddressKey::of(client)).within(Exceeded::Address));
        let of_subject = self.subjects.as_ref().zip(subject);
        let subject = of_subject.map(|(subjects, subject)| subjects.enter(subject.into()).within(Exceeded::Subject));
        let shares = Shares { _address: address.transpose()?, _subject: subject.transpose()? };
        Ok(shares.are_any().then_some(shares))
    }

    /// Counts one request to follow, before anything is done for it.
    pub(crate) fn subscribes(&self, client: IpAddr) -> Result<(), Exceeded> {
        take(self.subscribes.as_ref(), &RateKey::Address(AddressKey::of(client)), 1)
    }

    /// Counts events that an address publishes: one before anything is done for the request, what a batch has more once it
    /// is read.
    pub(crate) fn publishes(&self, client: IpAddr, events: usize) -> Result<(), Exceeded> {
        take(self.publishes.as_ref(), &RateKey::Address(AddressKey::of(client)), events)
    }

    /// Counts events that a token subject publishes, from whatever addresses.
    pub(crate) fn publishes_of(&self, subject: Option<&str>, events: usize) -> Result<(), Exceeded> {
        let Some(subject) = subject.filter(|_| self.publishes.is_some()) else { return Ok(()) };
        take(self.publishes.as_ref(), &RateKey::Subject(subject.into()), events)
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(address))
    }
}

fn rate(per_second: NonZeroUsize) -> Rate {
    Rate::new(per_second.try_into().unwrap_or(std::num::NonZeroU32::MAX))
}

fn take(rate: Option<&Rate>, key: &RateKey, count: usize) -> Result<(), Exceeded> {
    rate.map_or(Ok(()), |rate| rate.take(key, count)).map_err(Exceeded::Rate)
}
