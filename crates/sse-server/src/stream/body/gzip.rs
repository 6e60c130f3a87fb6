//! What a compressed body has beside.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use sse_hub::{Ahead, Batch, Subscription};

use super::lane::{BodyLane, Next, with_alone};
use crate::compression::{Passenger, Ride, Secrecy};
use crate::signals::Signals;
use crate::stream::{Framing, HEARTBEAT};

/// Its place among those it is compressed with.
#[derive(Debug)]
pub(super) struct Gzip {
    passenger: Passenger,
    lane: Arc<BodyLane>,
    /// The last thing of its topic has been read for it.
    is_over: bool,
    /// What was there before it is replayed to it.
    replay_to: u64,
    signals: Signals,
}

/// What there is for a compressed body.
pub(super) enum Polled {
    /// These bytes as they are.
    Bytes(Bytes),
    /// These events, for it alone.
    Batch(Batch),
    /// Its subscription has to be asked.
    Delivery,
    /// It has had the last thing of its topic.
    Over,
    /// It will be woken.
    Pending,
}

impl Gzip {
    /// A stream that begins with this text, and the bytes of it.
    pub(super) fn begin(text: &[u8], lane: Arc<BodyLane>, signals: &Signals) -> (Box<Self>, Bytes) {
        signals.compressed_stream_opened();
        let (passenger, bytes) = Passenger::begin(text);
        let (replay_to, signals) = (lane.newest(), signals.clone());
        (Box::new(Self { passenger, lane, is_over: false, replay_to, signals }), bytes.into())
    }

    pub(super) fn poll(&mut self, subscription: &mut Subscription, cx: &Context<'_>) -> Polled {
        while !self.is_over {
            let after = match subscription.poll_ahead(cx) {
                Poll::Ready(Ahead::InRing { after }) => after,
                Poll::Ready(Ahead::Delivery) => return Polled::Delivery,
                Poll::Pending => return Polled::Pending,
            };
            match self.lane.next(&mut self.passenger, after) {
                Next::Ride { ride, ends } => return Polled::Bytes(self.ride(ride, ends, subscription)),
                Next::Own { batch, cursor } => {
                    let bytes = batch.items().iter().map(|item| item.frame.chunk().len() as u64).sum();
                    subscription.pass(cursor, bytes);
                    self.signals.replayed(batch.frames_up_to(self.replay_to));
                    self.is_over = batch.items().last().is_some_and(|item| item.is_end);
                    return Polled::Batch(batch);
                }
                Next::CaughtUp { cursor, ends } => {
                    subscription.pass(cursor, 0);
                    self.is_over = ends;
                }
                Next::Elsewhere => return Polled::Delivery,
            }
        }
        Polled::Over
    }

    fn ride(&mut self, ride: Ride, ends: bool, subscription: &mut Subscription) -> Bytes {
        let text_bytes = ride.text_bytes();
        subscription.pass(ride.cursor, text_bytes);
        self.is_over = ends;
        self.signals.delivered(ride.frames);
        if ride.cursor <= self.replay_to {
            self.signals.replayed(ride.frames);
        }
        self.signals.saved((text_bytes as usize).saturating_sub(ride.bytes.len()));
        ride.bytes
    }

    /// A heartbeat, or what came first.
    pub(super) fn heartbeat(&mut self, subscription: &mut Subscription) -> Bytes {
        match self.lane.heartbeat(&mut self.passenger) {
            Some((ride, ends)) => self.ride(ride, ends, subscription),
            None => self.own(HEARTBEAT.text_bytes(), Secrecy::Public),
        }
    }

    /// The bytes of a text for this stream alone.
    pub(super) fn own(&mut self, text: &[u8], secrecy: Secrecy) -> Bytes {
        with_alone(|alone| self.passenger.own(text, secrecy, Framing::UntilClose, alone))
    }

    /// The end of the stream, behind this text.
    pub(super) fn end(&mut self, text: &[u8]) -> Bytes {
        let told = self.own(text, Secrecy::Public);
        [told, self.passenger.end(Framing::UntilClose)].concat().into()
    }
}

impl Drop for Gzip {
    fn drop(&mut self) {
        self.signals.compressed_stream_closed();
    }
}
