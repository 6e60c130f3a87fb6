//! What operators see and do on the admin listener.

mod by_hand;
mod kick;
mod page;
mod stats;
mod subscribers;
mod topics;

use crate::harness::{Request, Server};

/// A request to the admin listener that changes something.
fn change(server: &Server, method: &str, target: impl Into<String>) -> Request {
    Request::new(server.admin_addr(), method, target)
}
