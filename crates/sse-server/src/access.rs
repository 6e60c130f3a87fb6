//! Who a request comes from, and what that lets it do.
//!
//! The [`Gate`] reads a request's credential, checks it against the key of the role it asks for, and gives out an
//! [`Access`]. Whoever routes requests asks the gate once and then only what the access says.

use std::sync::Arc;

use hyper::Request;
use sse_hub::{Grants, TopicName};

use crate::config::Config;

mod error;
mod token;

pub(crate) use error::AccessError;
pub(crate) use token::Token;

/// Lets requests in.
#[derive(Debug)]
pub(crate) struct Gate {
    open_publish: bool,
    anonymous: bool,
}

impl Gate {
    pub(crate) fn new(config: &Config) -> Self {
        Self { open_publish: config.open_publish, anonymous: config.anonymous }
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
        let _ = (request, query_token);
        if self.open_publish { Ok(Access { pass: Pass::Open }) } else { Err(AccessError::Missing) }
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
        let _ = (request, query_token);
        if self.anonymous { Ok(Access { pass: Pass::Anonymous }) } else { Err(AccessError::Missing) }
    }
}

/// What one request may do.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pass: Pass,
}

#[derive(Debug, Clone)]
enum Pass {
    /// No credential: what is public.
    Anonymous,
    /// No credential, and none is needed to publish.
    Open,
    /// What the token grants.
    Token(Arc<Token>),
}

impl Access {
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

    /// Whether every one of these topics may be published to.
    pub(crate) fn may_publish(&self, topics: &[TopicName]) -> bool {
        match &self.pass {
            Pass::Open => true,
            Pass::Anonymous => false,
            Pass::Token(token) => topics.iter().all(|topic| token.may_publish(topic)),
        }
    }

    /// Which private events may be seen.
    pub(crate) fn grants(&self) -> Grants {
        self.token().map_or(Grants::None, |token| token.grants())
    }
}
