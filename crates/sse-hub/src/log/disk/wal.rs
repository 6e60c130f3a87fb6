//! A look at SQLite's write-ahead log before SQLite reads it.
//!
//! SQLite takes the first frame that does not fit for the end, and says nothing of what lies behind it. After a crash that is
//! right, as the last transaction may have been on its way; damage in the middle would lose commits in silence. So: a
//! commit of the present run that does not fit, or lies behind a frame that does not, is damage.
//!
//! Unless it is known that it was never completed. The file is written again and again from its beginning: a process that is
//! killed between the head of a commit's last frame and its page leaves a commit that does not fit, of which nobody was told.
//! The index of the log says how far commits went.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::OpenLogError;
use super::directory::{self, io_error};
use super::wal_index::{self, WalIndex};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// What a write-ahead log looks like.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// Commits are lost in the middle.
    pub(super) is_damaged: bool,
    /// Bytes behind the last commit that belong to one that was never completed.
    pub(super) incomplete_bytes: u64,
}

/// Looks at the write-ahead log of a directory that is locked.
pub(super) fn look_in(dir: &Path, lock: &File) -> Result<Tail, OpenLogError> {
    let (wal, index) = (dir.join(directory::WAL), dir.join(directory::WAL_INDEX));
    let index = if wal_index::is_of_this_boot(lock) { WalIndex::read(&index).map_err(io_error(&index))? } else { None };
    look(&wal, index).map_err(io_error(&wal))
}

/// Looks at the file; one that is missing or empty has nothing to show. `index` is that of the process which wrote it, if that
/// can be believed.
fn look(path: &Path, index: Option<WalIndex>) -> io::Result<Tail> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tail::default()),
        Err(error) => return Err(error),
    };
    let mut wal = Vec::new();
    file.read_to_end(&mut wal)?;
    Ok(if wal.len() > HEADER {
        tail(&wal, index)
    } else {
        Tail { incomplete_bytes: wal.len() as u64, ..Tail::default() }
    })
}

fn tail(wal: &[u8], index: Option<WalIndex>) -> Tail {
    let damaged = Tail { is_damaged: true, incomplete_bytes: 0 };
    let word = |at: usize| u32::from_be_bytes([wal[at], wal[at + 1], wal[at + 2], wal[at + 3]]);
    let big_endian = match word(0) ^ MAGIC {
        0 => false,
        1 => true,
        _ => return damaged,
    };
    let page = word(8) as usize;
    let mut sums = checksum(&wal[..24], (0, 0), big_endian);
    if !page.is_power_of_two() || !(512..=65536).contains(&page) || sums != (word(24), word(28)) {
        return damaged;
    }
    let (salts, frame) = (&wal[16..24], FRAME_HEADER + page);
    let (mut is_broken, mut committed) = (false, HEADER);
    // Whether there was no commit behind the last whole one.
    let is_last = |frames, sums| index.is_some_and(|index| index.ends_with(salts, frames, sums));
    let mut is_all = is_last(0, sums);
    // The last frame of the present run, whole or not.
    let mut end = HEADER;
    for (number, bytes) in wal[HEADER..].chunks(frame).enumerate() {
        let at = HEADER + number * frame;
        let has_salts = bytes.get(8..16) == Some(salts);
        if has_salts || bytes.len() < 16 {
            end = at + bytes.len();
        }
        if bytes.len() < frame {
            break;
        }
        let is_commit = word(at + 4) != 0;
        let next = checksum(&bytes[FRAME_HEADER..], checksum(&bytes[..8], sums, big_endian), big_endian);
        is_broken |= !has_salts || next != (word(at + 16), word(at + 20));
        match (is_broken, has_salts && is_commit) {
            (true, true) if !is_all => return damaged,
            (false, true) => (committed, is_all) = (at + frame, is_last(number + 1, next)),
            _ => (),
        }
        sums = next;
    }
    Tail { is_damaged: false, incomplete_bytes: (end.max(committed) - committed) as u64 }
}

/// SQLite's checksum of the write-ahead log's format, section 4.2.
pub(super) fn checksum(bytes: &[u8], (mut first, mut second): (u32, u32), big_endian: bool) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        let word = |at: usize| {
            let word = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
            if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
        };
        first = first.wrapping_add(word(0)).wrapping_add(second);
        second = second.wrapping_add(word(4)).wrapping_add(first);
    }
    (first, second)
}
