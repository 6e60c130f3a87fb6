//! Who holds the memory: jemalloc samples those who ask it for some, and this gives them names.
//!
//! jemalloc writes its samples to a file, as text: every stack that holds memory, and how much of what was sampled it holds.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::ptr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pprof::Symbol;
use rustix::fs::{MemfdFlags, memfd_create};

use super::encoding::{self, Measure, Sample};
use super::{ProfileError, TURN, forget_names, off_the_runtime};

mod dump;

use dump::Dump;

/// What jemalloc reads when it starts: one sample in 64 KiB, so that what ten thousand streams hold is a hundred samples, and
/// a thread that gives freed memory back, as nobody asks it to.
#[expect(unsafe_code, reason = "jemalloc looks for this name")]
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 68] = b"prof:true,prof_active:true,lg_prof_sample:16,background_thread:true\0";

/// The functions that programs ask for memory.
const DOORS: [&[u8]; 5] = [b"malloc", b"calloc", b"realloc", b"posix_memalign", b"aligned_alloc"];

/// Tells who holds the memory of the process, as pprof reads it.
///
/// # Errors
/// A [`ProfileError`].
pub(crate) async fn take() -> Result<Bytes, ProfileError> {
    let turn = TURN.try_acquire().map_err(|_| ProfileError::Busy)?;
    let profile = off_the_runtime(move || {
        let _turn = turn;
        let dump =
            Dump::parse(&dumped()?).ok_or_else(|| ProfileError::Failed("the samples cannot be read".to_owned()))?;
        let profile = encode(&dump);
        forget_names();
        Ok(profile)
    });
    profile.await
}

/// What jemalloc writes, in a file that is only in memory.
fn dumped() -> Result<String, ProfileError> {
    let failed = |error: std::io::Error| ProfileError::Failed(error.to_string());
    let mut file = File::from(memfd_create("heap-profile", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?);
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(|error| failed(error.into()))?;
    dump_to(&path).map_err(failed)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

#[expect(unsafe_code, reason = "jemalloc has no safe interface to this")]
fn dump_to(path: &CStr) -> std::io::Result<()> {
    let mut path = path.as_ptr();
    // SAFETY: `prof.dump` reads a pointer to a text, which outlives the call, and gives nothing back; any thread may ask for it.
    let code = unsafe {
        tikv_jemalloc_sys::mallctl(
            c"prof.dump".as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            (&raw mut path).cast(),
            size_of_val(&path),
        )
    };
    if code == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(code)) }
}

fn encode(dump: &Dump) -> Bytes {
    let mut names: HashMap<usize, Vec<Symbol>> = HashMap::new();
    for address in dump.holders.iter().flat_map(|holder| &holder.stack) {
        names.entry(*address).or_insert_with(|| symbols(*address));
    }
    let space = ("space", "bytes");
    let measure =
        Measure { values: [("inuse_objects", "count"), ("inuse_space", "bytes")], of: space, period: dump.period };
    let samples = dump.holders.iter().map(|holder| {
        let frames: Vec<&[Symbol]> = holder.stack.iter().map(|address| names[address].as_slice()).collect();
        let asked = frames.iter().position(|frame| frame.iter().any(is_door)).map_or(0, |door| door + 1);
        Sample { frames: frames[asked..].to_vec(), thread: None, values: [holder.objects, holder.bytes] }
    });
    encoding::encode(measure, samples, SystemTime::now(), Duration::ZERO)
}

/// Where programs enter the allocator: what is further in is its own, and the same in all samples.
fn is_door(symbol: &Symbol) -> bool {
    DOORS.contains(&symbol.raw_name())
}

/// Innermost first, if several functions are inlined there.
fn symbols(address: usize) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    backtrace::resolve(ptr::without_provenance_mut(address), |symbol| symbols.push(Symbol::from(symbol)));
    symbols
}
