//! Memory that streams leave behind when they go.
//!
//! The allocator is the system's: of those measured it keeps the least per idle stream (docs/decisions/allocator.md). It
//! keeps what is freed in the middle of its heap, though, until it is asked to give it back.

/// Arenas that threads share. glibc would give each of them its own, and each keeps what a burst of connections left in it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_MAX: libc::c_int = 2;

/// Bounds what the allocator sets aside. Called once, before there are threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "glibc has no safe interface to this")]
pub fn set_up() {
    // SAFETY: `mallopt` takes no pointer; there are no other threads yet.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX) };
}

/// Other C libraries have no such setting.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn set_up() {}

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

/// What the allocator has of the system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Allocated {
    /// What the program holds.
    in_use: usize,
    /// What was freed and is kept for later, some of it given back to the system in the meantime.
    free: usize,
    /// What the program holds in blocks of their own, as it is large.
    mapped: usize,
}

/// What the allocator tells of itself, if it does.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "glibc has no safe interface to this")]
pub(crate) fn allocated() -> Option<Allocated> {
    // SAFETY: `mallinfo2` takes no pointer, locks the arenas itself and may be called from any thread at any time.
    let info = unsafe { libc::mallinfo2() };
    Some(Allocated { in_use: info.uordblks, free: info.fordblks, mapped: info.hblkhd })
}

/// Other C libraries do not tell.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn allocated() -> Option<Allocated> {
    None
}
