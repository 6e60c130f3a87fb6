//! Whether this process takes requests, and where what it is given to publish goes.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sse_hub::{Publication, PublishError, Receipt};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, watch};

use super::forms;
use super::link::Link;
use super::message::Message;

/// How long the successor may take to publish what is passed on to it.
const FORWARD_MAX: Duration = Duration::from_secs(5);

/// How far this process is on its way to be succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It serves.
    Serving,
    /// A successor is taking over: who comes now waits with the kernel.
    Switching,
    /// Another process serves; what is left here ends within this time.
    Succeeded(Duration),
}

/// What `accept` gives, while this process serves: otherwise who comes waits with the kernel, for it or its successor.
pub(crate) async fn while_serving<T>(phase: &mut watch::Receiver<Phase>, accept: impl Future<Output = T>) -> T {
    tokio::pin!(accept);
    loop {
        // Its sender lives as long as the app.
        let _ = phase.wait_for(|phase| *phase == Phase::Serving).await;
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => (),
            accepted = &mut accept => return accepted,
        }
    }
}

/// The phase, for all who go by it.
#[derive(Debug)]
pub(crate) struct Succession(watch::Sender<Phase>);

impl Default for Succession {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }
}

impl Succession {
    pub(super) fn enter(&self, phase: Phase) {
        self.0.send_replace(phase);
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
    }

    /// Whether another process serves.
    pub(crate) fn is_over(&self) -> bool {
        matches!(*self.0.borrow(), Phase::Succeeded(_))
    }

    /// Completes once another process serves, with the time that is left here.
    pub(crate) async fn over(&self) -> Duration {
        let mut phase = self.0.subscribe();
        loop {
            if let Phase::Succeeded(window) = *phase.borrow_and_update() {
                return window;
            }
            if phase.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// The way of what is published: to this process's hub, or to its successor.
#[derive(Debug, Default)]
pub(crate) struct Passage(RwLock<Option<Successor>>);

/// Publishes in the place of this process.
#[derive(Debug, Clone)]
pub(crate) struct Successor(Arc<Mutex<Link>>);

impl Successor {
    pub(super) fn new(link: Arc<Mutex<Link>>) -> Self {
        Self(link)
    }

    /// Has the events published, in their order, and tells what became of them.
    pub(crate) async fn publish(&self, publications: Vec<Publication>) -> Vec<Result<Receipt, PublishError>> {
        let (link, count) = (self.0.clone(), publications.len());
        let exchange = move || {
            let message = Message::Publish(publications.iter().map(forms::publication).collect());
            let mut link = link.lock();
            let answer = link.within(FORWARD_MAX).send(&message).and_then(|()| link.receive());
            if answer.is_err() {
                // What comes too late is not to be taken for the answer to the next.
                link.shut();
            }
            answer
        };
        let answer = tokio::task::spawn_blocking(exchange).await;
        let outcomes = match answer.map(|received| received.map(|received| received.message)) {
            Ok(Ok(Message::Published(outcomes))) if outcomes.len() == count => outcomes,
            other => {
                tracing::warn!(?other, "the successor does not publish");
                return (0..count).map(|_| Err(PublishError::Elsewhere)).collect();
            }
        };
        outcomes.into_iter().map(forms::outcome_of).collect()
    }
}

impl Passage {
    /// Waits while a successor takes over. It cannot while what comes back is held.
    pub(crate) async fn enter(&self) -> RwLockReadGuard<'_, Option<Successor>> {
        self.0.read().await
    }

    /// The same for what only the process that serves may change; its successor would not know of it.
    ///
    /// # Errors
    /// [`PublishError::Elsewhere`] if another process serves.
    pub(crate) async fn enter_here(&self) -> Result<RwLockReadGuard<'_, Option<Successor>>, PublishError> {
        let way = self.enter().await;
        if way.is_some() { Err(PublishError::Elsewhere) } else { Ok(way) }
    }

    /// Has everybody wait who publishes, once those are done who do just now.
    pub(super) async fn close(&self) -> RwLockWriteGuard<'_, Option<Successor>> {
        self.0.write().await
    }
}
