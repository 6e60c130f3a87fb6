//! Small DATA frames that a client may not have read yet.
//!
//! A DATA frame costs its reader some memory beside its bytes, which no window counts. So libraries bound it: h2, which most
//! clients in Rust use, adds up what frames that wait to be read lack to 256 bytes, and ends the connection above 25,600,
//! whatever streams they belong to; what larger frames have above 256 is taken off (TRAPS S5). How many wait the server
//! cannot know: the client opens its window again for half of it at a time. So it expects it to read as fast as it did until
//! then, and fills frames up before there may be too many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

/// A frame of so many bytes costs its reader nothing.
const FULL_BYTES: usize = 256;
/// What frames that wait may lack: less than the bound, as answers that are no streams have frames too, and each stream's
/// end is an empty one.
const LACK_MAX: f64 = 16_384.0;
/// Frames in a second that any client reads.
const PACE_MIN: f64 = 10.0;
/// Browsers open wider windows than this when they connect, and have no such bound: their frames stay as they are. (Chromium,
/// Firefox and Safari open 10 MiB and more, hyper 5 MiB, h2 and Node 64 KiB.)
const WIDE_WINDOW_BYTES: i64 = 8 << 20;
/// What a connection lets in before it says more (RFC 9113, 6.9.2).
const WINDOW_BYTES: i64 = 65_535;

/// Those of one connection.
#[derive(Debug)]
pub(crate) struct SmallFrames {
    is_wide: AtomicBool,
    unread: Mutex<Unread>,
}

/// What may wait to be read.
#[derive(Debug)]
struct Unread {
    /// What the connection's window lets in, and what it let in at most.
    window: i64,
    widest: i64,
    /// Frames and bytes that have left since the window was opened for others before them.
    frames: f64,
    bytes: f64,
    opened_at: Instant,
    /// Frames that the client reads in a second.
    pace: f64,
    /// Frames that it has not read at this pace by that time, and what they lack.
    waiting: f64,
    lack: f64,
    at: Instant,
}

impl SmallFrames {
    pub(super) fn new(now: Instant) -> Self {
        let unread = Unread {
            window: WINDOW_BYTES,
            widest: WINDOW_BYTES,
            frames: 0.0,
            bytes: 0.0,
            opened_at: now,
            pace: PACE_MIN,
            waiting: 0.0,
            lack: 0.0,
            at: now,
        };
        Self { is_wide: AtomicBool::new(false), unread: Mutex::new(unread) }
    }

    /// The client lets in so much more on its connection, mostly as it has read as much.
    pub(super) fn opened(&self, bytes: u64, now: Instant) {
        let mut unread = self.unread.lock();
        unread.read_on(now);
        unread.window = unread.window.saturating_add_unsigned(bytes);
        unread.widest = unread.widest.max(unread.window);
        if unread.window >= WIDE_WINDOW_BYTES {
            self.is_wide.store(true, Ordering::Relaxed);
        }
        unread.was_read(bytes as f64, now);
    }

    /// How large a frame of so many bytes has to be made, which leaves then.
    pub(crate) fn leaves(&self, bytes: usize, now: Instant) -> usize {
        if self.is_wide.load(Ordering::Relaxed) {
            return bytes;
        }
        self.unread.lock().leaves(bytes, now)
    }
}

impl Unread {
    fn leaves(&mut self, bytes: usize, now: Instant) -> usize {
        self.read_on(now);
        let lack = FULL_BYTES as f64 - bytes as f64;
        let is_filled = lack > 0.0 && self.lack + lack > LACK_MAX;
        let bytes = if is_filled { FULL_BYTES } else { bytes };
        self.lack = (self.lack + FULL_BYTES as f64 - bytes as f64).max(0.0);
        self.waiting += 1.0;
        self.frames += 1.0;
        self.bytes += bytes as f64;
        self.window = self.window.saturating_sub_unsigned(bytes as u64);
        bytes
    }

    /// Takes off what the client reads until now, in the mixture in which it waits.
    fn read_on(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(std::mem::replace(&mut self.at, now));
        if self.window < self.widest / 2 {
            // Had it read as much, it would have opened its window.
            return;
        }
        let left = (self.waiting - passed.as_secs_f64() * self.pace).max(0.0);
        if self.waiting > 0.0 {
            self.lack *= left / self.waiting;
        }
        self.waiting = left;
    }

    /// So many of the bytes that have left were read.
    fn was_read(&mut self, bytes: f64, now: Instant) {
        if self.bytes == 0.0 {
            return;
        }
        let part = (bytes / self.bytes).min(1.0);
        let frames = self.frames * part;
        let passed = now.saturating_duration_since(std::mem::replace(&mut self.opened_at, now));
        self.pace = (frames / passed.as_secs_f64().max(f64::EPSILON)).max(PACE_MIN);
        self.frames -= frames;
        self.bytes -= self.bytes * part;
        // No more wait than that, of whatever size.
        self.waiting = self.waiting.min(self.frames);
        self.lack = self.lack.min(self.frames * FULL_BYTES as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use super::*;

    /// A client that counts as h2 does, with a window of this size.
    struct Client {
        waiting: VecDeque<usize>,
        /// Bytes that have come since it opened its window.
        came: usize,
        /// Bytes read for which it has not opened its window.
        unclaimed: usize,
        window: usize,
        lack: usize,
        lack_max: usize,
        filled: usize,
    }

    impl Client {
        fn new(window: usize) -> Self {
            Self { waiting: VecDeque::new(), came: 0, unclaimed: 0, window, lack: 0, lack_max: 0, filled: 0 }
        }

        fn gets(&mut self, small: &SmallFrames, bytes: usize, now: Instant) {
            let sent = small.leaves(bytes, now);
            self.filled += usize::from(sent > bytes);
            self.waiting.push_back(sent);
            self.came += sent;
            self.lack = (self.lack + FULL_BYTES).saturating_sub(sent);
            self.lack_max = self.lack_max.max(self.lack);
        }

        fn reads(&mut self, small: &SmallFrames, now: Instant) {
            let Some(bytes) = self.waiting.pop_front() else { return };
            self.lack -= FULL_BYTES.saturating_sub(bytes).min(self.lack);
            self.unclaimed += bytes;
            if self.unclaimed >= self.window / 2 {
                self.came -= self.unclaimed;
                small.opened(std::mem::take(&mut self.unclaimed) as u64, now);
            }
        }

        fn has_room(&self) -> bool {
            self.came + FULL_BYTES <= self.window
        }
    }

    /// Frames of so many bytes at one rate to a client that reads at another.
    fn run(bytes: usize, frames_per_second: u32, reads_per_second: u32, seconds: u32) -> Client {
        let start = Instant::now();
        let (small, mut client) = (SmallFrames::new(start), Client::new(65_535));
        for tick in 0..seconds * 1000 {
            let now = start + Duration::from_millis(tick.into());
            let in_tick = |rate: u32| (tick + 1) * rate / 1000 - tick * rate / 1000;
            for _ in 0..in_tick(frames_per_second) {
                if client.has_room() {
                    client.gets(&small, bytes, now);
                }
            }
            (0..in_tick(reads_per_second)).for_each(|_| client.reads(&small, now));
        }
        client
    }

    #[test]
    fn nobody_has_to_keep_many_small_frames() {
        for bytes in [1, 40, 85, 250] {
            for frames_per_second in [15, 30, 100, 500, 5_000, 50_000] {
                for reads_per_second in [10, 20, 100, 1_000] {
                    let client = run(bytes, frames_per_second, reads_per_second, 20);
                    let lack = client.lack_max;
                    assert!(lack < 25_600, "{bytes} bytes, {frames_per_second}/s to {reads_per_second}/s: {lack}");
                }
            }
        }
    }

    #[test]
    fn frames_stay_as_they_are_for_clients_that_keep_up() {
        assert_eq!(run(50, 9, 1_000, 60).filled, 0);
        for frames_per_second in [50, 100, 500] {
            let client = run(50, frames_per_second, 1_000, 60);
            // Until it has opened its window for the first time.
            assert!((50..200).contains(&client.filled), "{} of {frames_per_second}/s", client.filled);
        }
    }

    #[test]
    fn larger_frames_make_up_for_small_ones() {
        let now = Instant::now();
        let small = SmallFrames::new(now);
        let as_it_is = |frames: usize| (0..frames).filter(|_| small.leaves(56, now) == 56).count();
        assert_eq!(as_it_is(1000), 81);
        assert_eq!(small.leaves(256 + 2000, now), 256 + 2000);
        assert_eq!(as_it_is(1000), 10);
    }

    #[test]
    fn who_opens_a_wide_window_gets_frames_as_they_are() {
        let now = Instant::now();
        let small = SmallFrames::new(now);
        small.opened((8 << 20) - 65_536, now);
        assert_eq!((0..1000).map(|_| small.leaves(1, now)).max(), Some(256));
        small.opened(1_000_000, now);
        assert_eq!((0..1000).map(|_| small.leaves(1, now)).max(), Some(1));
    }

    #[test]
    fn what_was_read_widens_no_window() {
        let now = Instant::now();
        let (small, mut client) = (SmallFrames::new(now), Client::new(65_535));
        for _ in 0..100_000 {
            client.gets(&small, 200, now);
            client.reads(&small, now);
        }
        assert!(!small.is_wide.load(Ordering::Relaxed));
    }
}
