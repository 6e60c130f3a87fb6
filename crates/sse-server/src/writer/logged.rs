//! Streams that the ring no longer serves: they leave their lane for the log, and come back.

use bytes::Bytes;
use sse_hub::SubscribeError;

use super::behind::Step;
use super::entry::{EntrySource, Own, Place};
use super::news::NewsOf;
use super::thread::WriterThread;
use crate::stream::EndReason;

impl WriterThread {
    /// The ring went past those who were caught up: each goes on by itself.
    pub(super) fn leave_to_log(&mut self, lane_key: u32) {
        let lane = &mut self.lanes[lane_key as usize];
        let (members, from) = (std::mem::take(&mut lane.caught_up), lane.head);
        lane.head = lane.feed.newest();
        let standing = lane.shared.as_ref().map(|shared| shared.head());
        if let Some(shared) = &mut lane.shared {
            shared.interrupt();
        }
        for key in members {
            if let Some(standing) = standing {
                self.gzip.leave(key, standing);
            }
            self.entries[key as usize].source = EntrySource::Lane { lane: lane_key, place: Place::Off };
            self.fall_behind(key, Bytes::new(), from);
            self.go_on_later(key);
        }
    }

    /// Reads the log for a stream from where it stands.
    pub(super) fn read_log(&mut self, key: u32, lane_key: u32) -> Step {
        let lane = &self.lanes[lane_key as usize];
        let entry = &mut self.entries[key as usize];
        let Some(behind) = entry.behind.as_ref() else { return Step::Done };
        let subscription = match lane.feed.subscribe_after(behind.cursor, lane.key.grants.clone()) {
            Ok(subscription) => subscription,
            Err(SubscribeError::Ended) => return self.end_behind(key, EndReason::Ended),
            Err(_) => return self.end_behind(key, EndReason::Lagged),
        };
        let generation = entry.generation;
        let waker = self.news_box.waker(NewsOf::Entry { key, generation });
        let (shape, framing, notices) = (lane.key.shape, lane.key.framing, lane.key.notices);
        let lane = Some(Box::new(lane.key.clone()));
        entry.source = EntrySource::Own(Box::new(Own { subscription, waker, shape, framing, notices, lane }));
        self.settings.signals.lane_left();
        self.leave_lane(lane_key);
        Step::Continue
    }

    /// The log is read: the stream goes on with the ring, together with the others.
    pub(super) fn return_to_lane(&mut self, key: u32) -> Step {
        let entry = &mut self.entries[key as usize];
        let (EntrySource::Own(own), Some(behind)) = (&mut entry.source, entry.behind.as_mut()) else {
            return Step::Done;
        };
        let (Some(lane_key), Some(cursor)) = (own.lane.take(), own.subscription.ring_cursor()) else {
            return Step::Done;
        };
        behind.cursor = cursor;
        let Ok(feed) = own.subscription.feed(&lane_key.topic) else { return Step::Remove(EndReason::Lagged) };
        self.settings.signals.lane_joined();
        let lane = self.lane(*lane_key, feed);
        self.entries[key as usize].source = EntrySource::Lane { lane, place: Place::Off };
        Step::Continue
    }

    fn end_behind(&mut self, key: u32, reason: EndReason) -> Step {
        self.end_stream(key, reason);
        Step::Continue
    }
}
