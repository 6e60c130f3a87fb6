//! Memory that streams leave behind when they go.
//!
//! The allocator is the system's: of those measured it keeps the least per idle stream (docs/decisions/allocator.md). It
//! keeps what is freed in the middle of its heap, though, until it is asked to give it back.

/// Gives freed memory back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "glibc has no safe interface to this")]
pub(crate) fn trim() {
    // SAFETY: `malloc_trim` takes no pointer, locks the arenas itself and may be called from any thread at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries give memory back by themselves, or have no way to be asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn trim() {}
