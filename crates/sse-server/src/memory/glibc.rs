//! What glibc's allocator is asked for.

use super::Allocated;

/// Arenas that threads share. glibc would give each of them its own, and each keeps what a burst of connections left in it.
const ARENAS_MAX: libc::c_int = 2;

/// Bounds what the allocator sets aside. Called once, before there are threads.
#[expect(unsafe_code, reason = "glibc has no safe interface to this")]
pub fn set_up() {
    // SAFETY: `mallopt` takes no pointer; there are no other threads yet.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX) };
}

/// Gives freed memory back to the system.
#[expect(unsafe_code, reason = "glibc has no safe interface to this")]
pub(crate) fn trim() {
    // SAFETY: `malloc_trim` takes no pointer, locks the arenas itself and may be called from any thread at any time.
    unsafe { libc::malloc_trim(0) };
}

/// What the allocator tells of itself, if it does.
#[expect(unsafe_code, reason = "glibc has no safe interface to this")]
pub(crate) fn allocated() -> Option<Allocated> {
    // SAFETY: `mallinfo2` takes no pointer, locks the arenas itself and may be called from any thread at any time.
    let info = unsafe { libc::mallinfo2() };
    Some(Allocated { in_use: info.uordblks, free: info.fordblks, mapped: info.hblkhd })
}
