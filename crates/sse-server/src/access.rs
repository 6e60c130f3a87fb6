//! Who a request comes from, and what that lets it do.
//!
//! The [`Gate`] reads a request's credential, checks it against the key of the role it asks for, and gives out an
//! [`Access`]. Whoever routes requests asks the gate once and then only what the access says.

use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hyper::{Method, Request};
use sse_hub::{Grants, Selector, TopicName, TopicNameError};

use tokio::sync::watch;

use crate::config::Config;
use crate::signals::Signals;
use crate::stream::EndReason;

mod claims;
mod credential;
mod error;
mod fetch;
#[cfg(test)]
mod fuzz_tests;
mod jwks;
mod key;
mod p521;
mod revocations;
mod role;
mod rules;
mod selectors;
mod tickets;
mod token;

use credential::{Carrier, Credential};
pub(crate) use error::AccessError;
pub(crate) use fetch::connector;
pub(crate) use key::{VerifyKey, algorithm};
pub(crate) use revocations::{Revocation, Revocations, RevocationsFull, Revoked};
use role::Role;
pub(crate) use rules::KeysError;
use rules::Rules;
use selectors::SelectorCache;
pub(crate) use tickets::{Ticket, TicketError, Tickets};
pub(crate) use token::Token;

/// Lets requests in.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Whoever keeps sets of keys fresh is told when others take their place.
    rules: watch::Sender<Arc<Rules>>,
    signals: Signals,
    selectors: SelectorCache,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) tickets: Tickets,
}

impl Gate {
    /// # Errors
    /// When a key is none, or the system gives no certificates for a set of keys by https.
    pub(crate) fn new(config: &Config, signals: &Signals) -> io::Result<Self> {
        Ok(Self {
            rules: watch::Sender::new(Arc::new(Rules::new(config, signals, None)?)),
            signals: signals.clone(),
            selectors: SelectorCache::new(),
            revocations: Arc::new(Revocations::new()),
            tickets: Tickets::new(config.ticket_ttl),
        })
    }

    /// Goes by other settings from now on. Who was let in stays, as long as the token says.
    ///
    /// # Errors
    /// When a set of keys cannot be had; then everything is as before.
    pub(crate) async fn take_on(&self, config: &Config) -> Result<(), KeysError> {
        let before = self.rules();
        let rules = Rules::new(config, &self.signals, Some(&before))?;
        rules.fetch_first(&before).await?;
        self.rules.send_replace(Arc::new(rules));
        Ok(())
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }

    /// What there are no keys for yet, so that nobody gets in with a token.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = &'static str> {
        self.rules().lacking()
    }

    /// The selector that a text spells. Tokens and streams share those that are compiled already.
    ///
    /// # Errors
    /// As [`Selector::parse`].
    pub(crate) fn selector(&self, text: &str) -> Result<Selector, TopicNameError> {
        self.selectors.compile(text).map_or_else(|| Selector::parse(text), Ok)
    }

    /// Keeps sets of keys fresh, for as long as it is polled.
    pub(crate) async fn run(&self) {
        let mut changes = self.rules.subscribe();
        loop {
            let rules = changes.borrow_and_update().clone();
            tokio::select! {
                () = rules.keep_fresh() => (),
                _ = changes.changed() => (),
            }
        }
    }

    /// What the request may publish. `query_token` is the value of the query's `authorization`, on paths that take one.
    ///
    /// # Errors
    /// An [`AccessError`] when it has no credential and needs one, or one that does not count.
    pub(crate) async fn publisher<B>(
        &self,
        request: &Request<B>,
        query_token: Option<&str>,
    ) -> Result<Access, AccessError> {
        let rules = self.rules();
        let found = self.token(&rules, rules.publisher.as_deref(), request, query_token).await?;
        match found {
            Some(by) if rules.open_publish => Ok(Access { pass: Pass::Open, ..by }),
            Some(access) => Ok(access),
            None if rules.open_publish => Ok(Access::of(Pass::Open)),
            None => Err(AccessError::Missing),
        }
    }

    /// What the request may follow, and which private events it may see.
    ///
    /// # Errors
    /// As [`Gate::publisher`].
    pub(crate) async fn subscriber<B>(
        &self,
        request: &Request<B>,
        query_token: Option<&str>,
    ) -> Result<Access, AccessError> {
        let rules = self.rules();
        match self.token(&rules, rules.subscriber.as_deref(), request, query_token).await? {
            Some(access) => Ok(access),
            None if rules.anonymous => Ok(Access::of(Pass::Anonymous)),
            None => Err(AccessError::Missing),
        }
    }

    /// What a request with a ticket may follow. The ticket is taken, unless the request opens no stream.
    ///
    /// # Errors
    /// [`AccessError::Invalid`] for one that was used, is over, or never was.
    pub(crate) fn ticket(&self, ticket: &str, method: &Method) -> Result<Access, AccessError> {
        let now = Instant::now();
        let ticket = match *method {
            Method::GET => self.tickets.redeem(ticket, now),
            _ => self.tickets.look_at(ticket, now),
        };
        let ticket = ticket.ok_or(AccessError::Invalid)?;
        let now = SystemTime::now();
        if !ticket.token.is_current(now) || self.revocations.holds_for(&ticket.token, now) {
            return Err(AccessError::Invalid);
        }
        Ok(Access { pass: Pass::Token(ticket.token), only: Some(ticket.topics), by_cookie: false })
    }

    /// Why a stream with this token may not go on, if it may not.
    pub(crate) fn ended(&self, token: &Token) -> Option<EndReason> {
        let now = SystemTime::now();
        if self.revocations.holds_for(token, now) {
            return Some(EndReason::Revoked);
        }
        token.life_left(now).is_some_and(|life| life.is_zero()).then_some(EndReason::Expired)
    }

    /// Whether there are subscribers' tokens at all, for which tickets could be given.
    pub(crate) fn has_subscriber_key(&self) -> bool {
        self.rules().subscriber.is_some()
    }

    /// The access that the request's token gives, if it has one. Where there is no key a token says nothing.
    async fn token<B>(
        &self,
        rules: &Rules,
        role: Option<&Role>,
        request: &Request<B>,
        query_token: Option<&str>,
    ) -> Result<Option<Access>, AccessError> {
        let Some(role) = role else { return Ok(None) };
        let found = credential::find(request, query_token, rules.cookie_name.as_str())?;
        let Some(Credential { token, by }) = found else { return Ok(None) };
        let by_cookie = by == Carrier::Cookie;
        if by_cookie && !credential::may_write_with_cookie(request, &rules.publish_origin) {
            return Err(AccessError::Origin);
        }
        let now = SystemTime::now();
        let token = role.check(token, &self.selectors, now).await?;
        if self.revocations.holds_for(&token, now) {
            return Err(AccessError::Invalid);
        }
        Ok(Some(Access { pass: Pass::Token(token), only: None, by_cookie }))
    }
}

/// What one request may do.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pass: Pass,
    /// The only topics that may be followed.
    only: Option<Arc<[TopicName]>>,
    by_cookie: bool,
}

#[derive(Debug, Clone)]
enum Pass {
    /// No credential: what is public.
    Anonymous,
    /// No credential is needed to publish.
    Open,
    /// What the token grants.
    Token(Arc<Token>),
}

impl Access {
    fn of(pass: Pass) -> Self {
        Self { pass, only: None, by_cookie: false }
    }

    /// Of whoever the admin listener lets publish.
    pub(crate) fn operator() -> Self {
        Self::of(Pass::Open)
    }

    /// The checked token, if the request had one.
    pub(crate) fn token(&self) -> Option<&Arc<Token>> {
        match &self.pass {
            Pass::Token(token) => Some(token),
            Pass::Anonymous | Pass::Open => None,
        }
    }

    /// Whom the token was given to, if it says so.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.token().and_then(|token| token.subject.as_deref())
    }

    /// Whether a page cannot have been the one that sent this by itself: it came with a token that browsers do not add.
    pub(crate) fn is_deliberate(&self) -> bool {
        self.token().is_some() && !self.by_cookie
    }

    /// Whether every one of these topics may be published to.
    pub(crate) fn may_publish(&self, topics: &[TopicName]) -> bool {
        match &self.pass {
            Pass::Open => true,
            Pass::Anonymous => false,
            Pass::Token(token) => topics.iter().all(|topic| token.may_publish(topic)),
        }
    }

    /// Whether these may be followed: anything with a token made for following, only what it names with a ticket.
    pub(crate) fn may_follow(&self, selectors: &[Selector]) -> bool {
        let is_named =
            |topics: &[TopicName], selector: &Selector| selector.as_exact().is_some_and(|topic| topics.contains(topic));
        match (&self.pass, &self.only) {
            (_, Some(topics)) => selectors.iter().all(|selector| is_named(topics, selector)),
            (Pass::Token(token), None) => token.subscribe.is_some(),
            (Pass::Anonymous, None) => true,
            (Pass::Open, None) => false,
        }
    }

    /// Which private events may be seen.
    pub(crate) fn grants(&self) -> Grants {
        self.token().map_or(Grants::None, |token| token.grants())
    }
}
