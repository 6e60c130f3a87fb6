//! What the benches measure of the inside. It is for them alone, and changes as they do.

use std::io;

use futures_util::FutureExt;
use hyper::Request;

use crate::access::Gate;
use crate::config::Config;
use crate::signals::Signals;

/// Lets publishers in, as the route for publishing does before it looks at anything else.
#[derive(Debug)]
pub struct PublisherCheck(Gate);

impl PublisherCheck {
    /// By the keys and rules of these settings.
    ///
    /// # Errors
    /// When a key is none.
    pub fn new(config: &Config) -> io::Result<Self> {
        Gate::new(config, &Signals::new()).map(Self)
    }

    /// Whether the request may publish something. Its keys are at hand, so that nothing is waited for.
    pub fn lets_in(&self, request: &Request<()>) -> bool {
        self.0.publisher(request, None).now_or_never().is_some_and(|access| access.is_ok())
    }
}
