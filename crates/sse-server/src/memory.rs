//! Memory that streams leave behind when they go.
//!
//! The allocator is the system's: of those measured it keeps the least per idle stream (docs/decisions/allocator.md). It
//! keeps what is freed in the middle of its heap, though, until it is asked to give it back.

#[cfg(all(target_os = "linux", target_env = "gnu", not(feature = "heap-profile")))]
#[path = "memory/glibc.rs"]
mod allocator;
#[cfg(not(all(target_os = "linux", target_env = "gnu", not(feature = "heap-profile"))))]
#[path = "memory/other.rs"]
mod allocator;

pub use allocator::set_up;
pub(crate) use allocator::{allocated, trim};

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
