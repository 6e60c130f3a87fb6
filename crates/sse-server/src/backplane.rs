//! Several nodes with one order of events, which an engine between them gives and keeps.
//!
//! What is published here leaves for the engine (`sender.rs`); the engine's stream comes back whole, and everything in it is
//! appended to this node's rings (`following.rs`), wherever it was published. What the rings no longer hold is read from the engine
//! (`archive.rs`). An engine can lose what it said it has: each node compares what it read with what is there, and a loss
//! begins another epoch (`epochs.rs`), which every stream is told of.

mod address;
mod archive;
mod engine;
mod epochs;
mod following;
mod nats;
mod node;
mod note;
mod pending;
mod redis;
mod sender;
mod slot;
#[cfg(test)]
mod tests;
mod tls;
mod trace;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use sse_hub::Hub;

pub(crate) use address::Address;
pub(crate) use engine::EngineSettings;
pub(crate) use node::{Behind, Node, State};
pub(crate) use note::{Note, Presence, Said};

use crate::event_log::start_readers;
use crate::vital::Vitals;

/// The events of several nodes, as one of them has them.
#[derive(Debug)]
pub(crate) struct SharedLog {
    pub(crate) node: Arc<Node>,
    hub: Hub,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

impl SharedLog {
    /// Starts the threads that read for those who resume. What brings events is [`run`].
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(node: Arc<Node>, hub: &Hub, vitals: &Vitals) -> io::Result<Self> {
        node.feed(hub);
        Ok(Self { node, hub: hub.clone(), readers: Mutex::new(start_readers(hub, vitals)?) })
    }

    /// Why publishing does not work, if it does not.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        match self.node.state() {
            State::Beginning => Some("backplane_beginning"),
            State::Following => None,
            State::Away => Some("backplane_away"),
        }
    }

    /// Waits for the threads to end.
    pub(crate) fn stop(&self) {
        self.node.stop();
        self.hub.stop_log_reads();
        // A thread that panicked has been logged.
        self.readers.lock().drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Follows the engine and sends what is published, for as long as the process runs. It returns if the engine does not want this
/// node.
pub(crate) async fn run(node: Arc<Node>) {
    tokio::select! {
        () = following::run(node.clone()) => (),
        () = sender::run(node) => (),
    }
}
