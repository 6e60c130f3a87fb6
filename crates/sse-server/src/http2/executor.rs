//! The tasks of a connection's streams, which can be ended one by one.

use std::future::Future;
use std::sync::Arc;

use hyper::rt::Executor;
use parking_lot::Mutex;

use super::watch::{ConnectionWatch, Exchange, OpenStream};

/// Runs the streams of one connection. hyper calls the service for a request and gives what comes of it to the executor in
/// the same breath, which is how a task is known to be that request's.
#[derive(Debug, Clone)]
pub(super) struct StreamExecutor {
    watch: Arc<ConnectionWatch>,
    next: Arc<Mutex<Option<OpenStream>>>,
}

impl StreamExecutor {
    pub(super) fn new(watch: Arc<ConnectionWatch>) -> Self {
        Self { watch, next: Arc::default() }
    }

    /// A request has come, whose task is the next to be run.
    pub(super) fn begin(&self) -> Exchange {
        let (exchange, stream) = self.watch.begin();
        *self.next.lock() = Some(stream);
        exchange
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let stream = self.next.lock().take();
        let key = stream.as_ref().map(OpenStream::key);
        let task = tokio::spawn(async move {
            task.await;
            drop(stream);
        });
        if let Some(key) = key {
            self.watch.runs(key, task.abort_handle());
        }
    }
}
