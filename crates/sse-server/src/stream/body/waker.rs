//! What wakes the task of a body.

use std::sync::Arc;
use std::task::{Wake, Waker};

use metrics::Histogram;
use parking_lot::Mutex;

use crate::fan_out::FanOut;
use crate::signals::Signals;

/// Wakes the task that polls the body, and takes a share of the fan-out that it is woken for.
#[derive(Debug)]
pub(super) struct BodyWaker {
    fan_out_duration: Histogram,
    woken: Mutex<Woken>,
}

#[derive(Debug, Default)]
struct Woken {
    task: Option<Waker>,
    fan_out: Option<FanOut>,
}

impl BodyWaker {
    pub(super) fn new(signals: &Signals) -> Arc<Self> {
        Arc::new(Self { fan_out_duration: signals.fan_out().clone(), woken: Mutex::default() })
    }

    /// Has `task` woken from now on, and gives up what the last wake brought.
    pub(super) fn arm(&self, task: &Waker) -> Option<FanOut> {
        let mut woken = self.woken.lock();
        if !woken.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            woken.task = Some(task.clone());
        }
        woken.fan_out.take()
    }
}

impl Wake for BodyWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let fan_out = FanOut::join(&self.fan_out_duration);
        let mut woken = self.woken.lock();
        woken.fan_out = fan_out.or(woken.fan_out.take());
        let task = woken.task.clone();
        drop(woken);
        if let Some(task) = task {
            task.wake();
        }
    }
}
