//! What the index of SQLite's write-ahead log says of it (<https://sqlite.org/walformat.html>, section 2.1).
//!
//! It is memory that processes share, in a file that is never synced: after a crash of the process it says how far commits
//! went, after one of the machine nothing. The machine's run is noted beside, so that the two can be told apart.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::wal::checksum;

/// The bytes of a header; there are two, which are the same unless one was being written.
const HEADER: usize = 48;
const VERSION: u32 = 3_007_000;

/// The last commit that the process knew of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WalIndex {
    salts: [u8; 8],
    /// Frames up to the commit's end.
    frames: u32,
    /// The sums of the last of them.
    sums: (u32, u32),
}

impl WalIndex {
    /// The index in the file, if there is one and it is whole.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut headers = [0; 2 * HEADER];
        let read = File::open(path).and_then(|file| file.read_exact_at(&mut headers, 0));
        match read {
            Ok(()) => Ok(Self::parse(&headers)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(headers: &[u8; 2 * HEADER]) -> Option<Self> {
        let (header, other) = headers.split_at(HEADER);
        // Numbers are as the machine has them.
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let sums = checksum(&header[..40], (0, 0), cfg!(target_endian = "big"));
        let is_whole = header == other && word(0) == VERSION && header[12] == 1 && sums == (word(40), word(44));
        let salts = header[32..40].try_into().ok()?;
        is_whole.then_some(Self { salts, frames: word(16), sums: (word(24), word(28)) })
    }

    /// Whether the last commit that the process knew of is the one that ends with this frame.
    pub(super) fn ends_with(&self, salts: &[u8], frames: usize, sums: (u32, u32)) -> bool {
        self.salts == salts && self.frames as usize == frames && (frames == 0 || self.sums == sums)
    }
}

/// Whether whoever held the lock last did so since the machine was started.
pub(super) fn is_of_this_boot(lock: &File) -> bool {
    boot().is_some_and(|boot| noted(lock, boot.len()).is_ok_and(|noted| noted == boot.as_bytes()))
}

/// Notes when the machine was started.
pub(super) fn note_boot(lock: &File) {
    let Some(boot) = boot().filter(|_| !is_of_this_boot(lock)) else { return };
    // Where it fails, on a full disk, the index will not be believed.
    let _ = lock.set_len(0).and_then(|()| lock.write_all_at(boot.as_bytes(), 0));
}

fn noted(lock: &File, len: usize) -> io::Result<Vec<u8>> {
    let mut noted = vec![0; len];
    lock.read_exact_at(&mut noted, 0)?;
    Ok(noted)
}

/// The kernel's name for the machine's present run. Elsewhere than on Linux it has none, and nothing is believed.
fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
}
