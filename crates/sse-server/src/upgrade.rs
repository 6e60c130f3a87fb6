//! Upgrades: another process goes on in the place of this one, and nobody is disconnected.
//!
//! The one that serves, the *incumbent*, listens on a Unix socket. A *successor* that is started with the same socket asks for
//! everything: listeners, history, streams. Until it has said that it has taken them ([`Message::Taken`]) it has touched
//! nothing, and whatever goes wrong the incumbent goes on. From then on the incumbent touches nothing of it.

mod forms;
mod history;
mod incumbent;
mod link;
mod message;
mod passage;
mod starting;
mod streams;
mod successor;

pub(crate) use incumbent::{Handles, Upgrades};
pub(crate) use link::Link;
pub use link::LinkError;
pub(crate) use message::Keeps;
pub(crate) use passage::{Passage, Succession, while_serving};
pub(crate) use streams::StreamBatch;
pub(crate) use successor::serve_passed_on;
pub use successor::{Predecessor, TakeOverError};
