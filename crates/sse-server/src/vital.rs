//! What the server cannot go on without: once one of these threads has panicked, streams or publishers wait for nothing.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

/// Starts vital threads, and tells when one has failed.
#[derive(Debug, Clone)]
pub(crate) struct Vitals {
    failed: Arc<watch::Sender<Option<String>>>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self { failed: Arc::new(watch::Sender::new(None)) }
    }
}

impl Vitals {
    /// Starts a thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub(crate) fn spawn(&self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        let watched = Watched { name: name.clone(), failed: self.failed.clone() };
        thread::Builder::new().name(name).spawn(move || {
            // Dropped when the thread ends, in whatever way.
            let _watched = watched;
            run();
        })
    }

    /// Whether one has panicked: the process is about to end.
    pub(crate) fn have_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    /// Completes with the name of a thread that has panicked.
    pub(crate) async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        let name = failed.wait_for(Option::is_some).await.ok().and_then(|name| name.clone());
        name.unwrap_or_default()
    }
}

/// Tells of the end of the thread that has it.
#[derive(Debug)]
struct Watched {
    name: String,
    failed: Arc<watch::Sender<Option<String>>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if thread::panicking() {
            self.failed.send_replace(Some(std::mem::take(&mut self.name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_panics_is_told_of_and_one_that_ends_is_not() {
        let vitals = Vitals::default();
        vitals.spawn("good".to_owned(), || ()).unwrap().join().unwrap();
        assert!(vitals.failed.borrow().is_none());
        let bad = vitals.spawn("bad".to_owned(), || panic!("on purpose")).unwrap();
        assert_eq!(vitals.failed().await, "bad");
        assert!(bad.join().is_err());
    }
}
