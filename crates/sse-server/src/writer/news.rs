//! How a writer hears that there is something to write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Instant;

use metrics::Histogram;
use mio::{Registry, Token};
use parking_lot::Mutex;

use crate::fan_out::FanOut;
use crate::signals::Signals;

/// The token under which the poller reports a wake-up.
pub(super) const WAKE_TOKEN: Token = Token(usize::MAX);

/// One thing that has news.
#[derive(Debug)]
pub(super) struct News {
    pub(super) of: NewsOf,
    /// When it was told.
    pub(super) at: Instant,
    /// What is to be told once everybody has it.
    pub(super) fan_out: Option<FanOut>,
}

/// Keys are reused, so each comes with the generation of what it named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewsOf {
    Lane { key: u32, generation: u32 },
    Entry { key: u32, generation: u32 },
}

/// Where news is left for one writer. Each lane and each entry is in it at most once: the hub wakes a waker once, and the
/// writer arms it again only after it has looked.
#[derive(Debug)]
pub(crate) struct NewsBox {
    news: Mutex<Vec<News>>,
    /// The writer is running and will look into the box before it sleeps: no need to wake it.
    awake: AtomicBool,
    waker: mio::Waker,
    fan_out_duration: Histogram,
}

impl NewsBox {
    pub(super) fn new(registry: &Registry, signals: &Signals) -> io::Result<Arc<Self>> {
        let waker = mio::Waker::new(registry, WAKE_TOKEN)?;
        let fan_out_duration = signals.fan_out().clone();
        Ok(Arc::new(Self { news: Mutex::default(), awake: AtomicBool::new(true), waker, fan_out_duration }))
    }

    /// Makes the writer look, at its commands as well.
    pub(crate) fn wake(&self) {
        // Sequentially consistent with `about_to_sleep`: either this sees it awake and it sees what was left for it, or
        // this wakes it.
        if !self.awake.swap(true, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "cannot wake a writer");
        }
    }

    fn leave(&self, of: NewsOf) {
        let fan_out = FanOut::join(&self.fan_out_duration);
        self.news.lock().push(News { of, at: Instant::now(), fan_out });
        self.wake();
    }

    /// Takes what was left.
    pub(super) fn take(&self, into: &mut Vec<News>) {
        into.append(&mut self.news.lock());
    }

    /// Says that whoever leaves something from now on has to wake the writer; the writer looks once more after this.
    pub(super) fn about_to_sleep(&self) {
        self.awake.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.news.lock().is_empty()
    }

    pub(super) fn woke_up(&self) {
        self.awake.store(true, Ordering::SeqCst);
    }

    /// A waker that leaves this news.
    pub(super) fn waker(self: &Arc<Self>, of: NewsOf) -> Waker {
        Arc::new(NewsWaker { news: self.clone(), of }).into()
    }
}

struct NewsWaker {
    news: Arc<NewsBox>,
    of: NewsOf,
}

impl Wake for NewsWaker {
    fn wake(self: Arc<Self>) {
        self.news.leave(self.of);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.news.leave(self.of);
    }
}
