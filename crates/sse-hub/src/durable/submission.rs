//! An event on its way to being published.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::Mutex;
use crate::{PublishError, Receipt};

type Outcome = Result<Receipt, PublishError>;

/// An event that was submitted: resolves when it is published, which without a log it is at once. Dropping it does not take
/// the event back.
#[derive(Debug)]
#[must_use = "the event may be refused"]
pub struct Submission(State);

#[derive(Debug)]
enum State {
    Known(Option<Outcome>),
    Waiting(Arc<Answer>),
}

/// Where the committer leaves what became of an event.
#[derive(Debug, Default)]
pub(crate) struct Answer(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

impl Answer {
    pub(crate) fn give(&self, outcome: Outcome) {
        let waker = {
            let mut asked = self.0.lock();
            asked.outcome = Some(outcome);
            asked.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Submission {
    /// One of which it is known already what became of it: a host's that publishes elsewhere.
    pub fn known(outcome: Outcome) -> Self {
        Self(State::Known(Some(outcome)))
    }

    pub(crate) fn waiting(answer: Arc<Answer>) -> Self {
        Self(State::Waiting(answer))
    }

    /// Whether it is known already that the event was not taken.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.0, State::Known(Some(Err(_))))
    }

    /// What is known at once: everything without a log; with one only why it was refused before it was queued.
    pub fn now_or_never(mut self) -> Option<Outcome> {
        match &mut self.0 {
            State::Known(outcome) => outcome.take(),
            State::Waiting(_) => None,
        }
    }

    /// Waits on this thread. Not for threads that the host's committer or runtime needs.
    ///
    /// # Errors
    /// Why it was not published.
    pub fn wait(mut self) -> Outcome {
        struct Unpark(std::thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut cx) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

impl Future for Submission {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.0 {
            State::Known(outcome) => Poll::Ready(outcome.take().expect("a future is not polled after it was ready")),
            State::Waiting(answer) => {
                let mut asked = answer.0.lock();
                match asked.outcome.take() {
                    Some(outcome) => Poll::Ready(outcome),
                    None => {
                        asked.waker = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            }
        }
    }
}
