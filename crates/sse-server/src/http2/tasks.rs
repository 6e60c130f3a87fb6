//! The parts of one connection, polled in one task: hyper's connection, and each of its streams.
//!
//! An event wakes all streams of a connection. Were each a task of the runtime, each would be queued and run by itself, and
//! take hyper's locks against the others. Here the first wakes the task, and all have given their bytes before the
//! connection writes them in one go.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use hyper::rt::Executor;
use parking_lot::Mutex;
use slab::Slab;

use super::watch::{ConnectionWatch, Exchange, OpenStream};

/// After so many rounds others of the runtime have their turn.
const ROUNDS_MAX: usize = 8;
/// The connection's own key; no stream has it.
const CONNECTION: usize = usize::MAX;

type StreamFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a connection's parts are polled by.
pub(super) struct Tasks {
    ready: Arc<Ready>,
    connection: Arc<Part>,
    streams: Slab<Task>,
    executor: StreamExecutor,
    /// Those that are polled in this round; kept for its room.
    round: Vec<usize>,
}

/// One stream: its request is handled and answered.
struct Task {
    future: StreamFuture,
    part: Arc<Part>,
    /// Its room on the connection, if it is a request's.
    _open: Option<OpenStream>,
}

impl Tasks {
    pub(super) fn new(watch: Arc<ConnectionWatch>) -> Self {
        let ready = Arc::new(Ready::default());
        let connection = Part::new(CONNECTION, &ready);
        connection.wake_by_ref();
        let executor = StreamExecutor { watch, next: Arc::default(), started: Arc::default() };
        Self { ready, connection, streams: Slab::new(), executor, round: Vec::new() }
    }

    /// Where hyper puts the streams that it starts.
    pub(super) fn executor(&self) -> StreamExecutor {
        self.executor.clone()
    }

    /// Has the connection polled the next time.
    pub(super) fn wake_connection(&self) {
        self.connection.wake_by_ref();
    }

    /// Gives up a stream.
    pub(super) fn end(&mut self, key: usize) {
        drop(self.streams.try_remove(key));
    }

    /// Polls whatever has been woken, until the connection is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, mut connection: Pin<&mut impl Future>) -> Poll<()> {
        self.ready.runs_in(cx.waker());
        for _ in 0..ROUNDS_MAX {
            if !self.ready.take(&mut self.round) {
                return Poll::Pending;
            }
            let mut round = std::mem::take(&mut self.round);
            let is_connection_ready = round.contains(&CONNECTION);
            round.drain(..).for_each(|key| self.poll_stream(key));
            self.round = round;
            if is_connection_ready {
                let waker = self.connection.begin();
                let is_over = connection.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                self.adopt();
                if is_over {
                    self.poll_last();
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls those that were woken once more, as what came with a connection's end has come. None may stay with the
    /// executor, which hyper's streams hold: it would never be dropped.
    fn poll_last(&mut self) {
        if self.ready.take(&mut self.round) {
            std::mem::take(&mut self.round).drain(..).for_each(|key| self.poll_stream(key));
        }
    }

    fn poll_stream(&mut self, key: usize) {
        // A waker may outlive its stream, and wake the next one that has its key: that finds nothing to do.
        let Some(task) = self.streams.get_mut(key) else { return };
        let waker = task.part.begin();
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.end(key);
        }
    }

    /// Takes over what hyper has started.
    fn adopt(&mut self) {
        let started = std::mem::take(&mut *self.executor.started.lock());
        for Started { future, open } in started {
            let entry = self.streams.vacant_entry();
            let part = Part::new(entry.key(), &self.ready);
            part.wake_by_ref();
            if let Some(open) = &open {
                self.executor.watch.runs(open.key(), entry.key());
            }
            entry.insert(Task { future, part, _open: open });
        }
    }
}

/// Who is to be polled.
#[derive(Debug, Default)]
struct Ready {
    inner: Mutex<ReadyInner>,
}

#[derive(Debug, Default)]
struct ReadyInner {
    keys: Vec<usize>,
    /// The task is running, or will be: nobody has to wake it.
    is_awake: bool,
    task: Option<Waker>,
}

impl Ready {
    /// The task is being polled.
    fn runs_in(&self, task: &Waker) {
        let mut inner = self.inner.lock();
        inner.is_awake = true;
        if !inner.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            inner.task = Some(task.clone());
        }
    }

    /// Moves the keys into `round`, which is empty; false if there are none, and the task may rest.
    fn take(&self, round: &mut Vec<usize>) -> bool {
        let mut inner = self.inner.lock();
        std::mem::swap(&mut inner.keys, round);
        inner.is_awake = !round.is_empty();
        inner.is_awake
    }

    fn push(&self, key: usize) {
        let mut inner = self.inner.lock();
        inner.keys.push(key);
        if std::mem::replace(&mut inner.is_awake, true) {
            return;
        }
        let task = inner.task.clone();
        drop(inner);
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// What wakes the connection or a stream.
#[derive(Debug)]
struct Part {
    key: usize,
    /// It has been woken since it was polled last.
    is_ready: AtomicBool,
    ready: Arc<Ready>,
}

impl Part {
    fn new(key: usize, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { key, is_ready: AtomicBool::new(false), ready: ready.clone() })
    }

    /// It is about to be polled: what happens from here on wakes it again.
    fn begin(self: &Arc<Self>) -> Waker {
        self.is_ready.store(false, Ordering::SeqCst);
        Waker::from(self.clone())
    }
}

impl Wake for Part {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_ready.swap(true, Ordering::SeqCst) {
            self.ready.push(self.key);
        }
    }
}

/// Takes the streams of one connection. hyper calls the service for a request and gives what comes of it to the executor in
/// the same breath, which is how a stream is known to be that request's.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    watch: Arc<ConnectionWatch>,
    next: Arc<Mutex<Option<OpenStream>>>,
    /// Until the connection has been polled; as many as may be open at a time.
    started: Arc<Mutex<Vec<Started>>>,
}

/// A stream that is to be polled from now on, and its room on the connection.
struct Started {
    future: StreamFuture,
    open: Option<OpenStream>,
}

impl StreamExecutor {
    /// A request has come, which is the next to be started.
    pub(super) fn begin(&self) -> Exchange {
        let (exchange, stream) = self.watch.begin();
        *self.next.lock() = Some(stream);
        exchange
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let open = self.next.lock().take();
        self.started.lock().push(Started { future: Box::pin(stream), open });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::config::Config;
    use crate::gauge::ConnectionGauge;
    use crate::limits::Limits;

    /// hyper's streams hold the executor: one that stayed there would hold itself, and the connection's place.
    #[test]
    fn a_stream_that_starts_at_the_end_is_polled_and_dropped() {
        let limits = Limits::new(&Config::for_memory(1 << 30));
        let gauge = ConnectionGauge::new(1);
        let permit = gauge.enter(&limits, [127, 0, 0, 1].into()).unwrap();
        let mut tasks = Tasks::new(ConnectionWatch::new(([127, 0, 0, 1], 1).into(), permit));
        let polled = Arc::new(AtomicBool::new(false));
        let executor = tasks.executor();
        let connection = std::future::poll_fn(|_| {
            let (held, polled) = (executor.clone(), polled.clone());
            let exchange = executor.begin();
            executor.execute(std::future::poll_fn(move |_| {
                polled.store(true, Ordering::SeqCst);
                let _held = (&held, &exchange);
                Poll::<()>::Pending
            }));
            Poll::Ready(())
        });
        let connection = std::pin::pin!(connection);
        assert!(tasks.poll(&mut Context::from_waker(Waker::noop()), connection).is_ready());
        drop((tasks, executor));
        assert!(polled.load(Ordering::SeqCst));
        assert_eq!(gauge.open(), 0);
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn take(&self) -> usize {
            self.0.swap(0, Ordering::SeqCst)
        }
    }

    #[test]
    fn many_that_are_woken_wake_the_task_once() {
        let (ready, task) = (Arc::new(Ready::default()), Arc::new(Count::default()));
        let parts = [0, 1, 2].map(|key| Part::new(key, &ready));
        let mut round = Vec::new();
        ready.runs_in(&Waker::from(task.clone()));
        assert!(!ready.take(&mut round));
        parts.iter().chain(&parts).for_each(|part| part.wake_by_ref());
        assert_eq!(task.take(), 1);
        assert!(ready.take(&mut round));
        assert_eq!(round, [0, 1, 2], "each once");
        // While the task runs it finds out by itself.
        round.clear();
        let _ = parts[1].begin();
        parts.iter().for_each(|part| part.wake_by_ref());
        assert_eq!(task.take(), 0);
        assert!(ready.take(&mut round));
        assert_eq!(round, [1]);
        round.clear();
        assert!(!ready.take(&mut round));
        let _ = parts[0].begin();
        parts[0].wake_by_ref();
        assert_eq!(task.take(), 1, "it rested");
    }
}
