//! The place of a connection to an engine: one is made when it is needed, and another once it has failed.

use std::sync::Arc;

use parking_lot::Mutex;

use super::engine::EngineError;

/// Why something was not done.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: EngineError,
    pub(super) link: Fate,
}

/// What is to become of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    /// It leads nowhere, or to where it should not.
    Gone,
}

impl Fault {
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self { error: EngineError::Refused(why.into()), link: Fate::Gone }
    }

    pub(super) fn away(why: impl Into<String>) -> Self {
        Self { error: EngineError::Unavailable(why.into()), link: Fate::Gone }
    }

    /// Not now, but the connection is fine.
    pub(super) fn not_now(why: impl Into<String>) -> Self {
        Self { error: EngineError::Unavailable(why.into()), link: Fate::Kept }
    }
}

/// What was answered is not what was asked for, but the connection is fine.
impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self { error, link: Fate::Kept }
    }
}

impl From<Fault> for EngineError {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

/// The place of a connection that is shared by whoever needs one.
#[derive(Debug)]
pub(super) struct Slot<L> {
    link: Mutex<Option<Arc<L>>>,
}

impl<L> Default for Slot<L> {
    fn default() -> Self {
        Self { link: Mutex::new(None) }
    }
}

impl<L> Slot<L> {
    pub(super) fn kept(&self) -> Option<Arc<L>> {
        self.link.lock().clone()
    }

    /// From now on it is this one; the old one ends with the last answer that somebody waits for.
    pub(super) fn put(&self, link: L) -> Arc<L> {
        let link = Arc::new(link);
        *self.link.lock() = Some(link.clone());
        link
    }

    pub(super) fn forget(&self, link: &Arc<L>) {
        self.link.lock().take_if(|kept| Arc::ptr_eq(kept, link));
    }

    /// Waits for an answer. If it fails, or nobody waits any longer, the connection is given up where that may be why.
    pub(super) async fn on<T>(
        &self,
        link: &Arc<L>,
        answer: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut doubt = Doubt { slot: self, link: Some(link) };
        let answer = answer.await;
        if !matches!(answer, Err(Fault { link: Fate::Gone, .. })) {
            doubt.link = None;
        }
        answer
    }
}

/// Has a connection forgotten when it is dropped.
struct Doubt<'a, L> {
    slot: &'a Slot<L>,
    link: Option<&'a Arc<L>>,
}

impl<L> Drop for Doubt<'_, L> {
    fn drop(&mut self) {
        if let Some(link) = self.link {
            self.slot.forget(link);
        }
    }
}
