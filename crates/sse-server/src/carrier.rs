//! What carries a request: a whole connection, or a stream of an HTTP/2 connection.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::app::App;
use crate::connection::ConnectionState;
use crate::gauge::{ConnectionPermit, Surplus};
use crate::http2::Exchange;
use crate::stream::Protocol;
use crate::stream::body::SharedStream;

/// How a handler reaches what its request came on.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// HTTP/1.1: one request after the other.
    Connection(Arc<ConnectionState>),
    /// HTTP/2: one of many at a time.
    Stream(Exchange),
}

impl Carrier {
    pub(crate) fn remote_addr(&self) -> SocketAddr {
        match self {
            Self::Connection(connection) => connection.remote_addr(),
            Self::Stream(exchange) => exchange.remote_addr(),
        }
    }

    pub(crate) fn protocol(&self, is_secure: bool) -> Protocol {
        match (self, is_secure) {
            (Self::Connection(_), false) => Protocol::Http1,
            (Self::Connection(_), true) => Protocol::Http1Tls,
            (Self::Stream(_), false) => Protocol::Http2,
            (Self::Stream(_), true) => Protocol::Http2Tls,
        }
    }

    /// Takes a place for a stream. A connection of HTTP/1.1 has had its place since it was accepted.
    ///
    /// # Errors
    /// The bound that leaves no place.
    pub(crate) fn claim(&self, app: &App) -> Result<(), Surplus> {
        match self {
            Self::Connection(connection) => connection.surplus().map_or(Ok(()), Err),
            Self::Stream(exchange) => exchange.claim(app),
        }
    }

    /// Whether the connection is to close behind this answer, as it is above a bound.
    pub(crate) fn is_surplus_connection(&self) -> bool {
        matches!(self, Self::Connection(connection) if connection.surplus().is_some())
    }

    /// The permit for a stream that outlives the connection in hyper; on HTTP/2 none does.
    pub(crate) fn take_permit(&self) -> Option<ConnectionPermit> {
        match self {
            Self::Connection(connection) => connection.take_permit(),
            Self::Stream(_) => None,
        }
    }

    /// Has the stream watched that hyper writes.
    pub(crate) fn watch(&self, stream: SharedStream) {
        match self {
            Self::Connection(connection) => connection.watch(stream),
            Self::Stream(exchange) => exchange.watch(stream),
        }
    }
}
