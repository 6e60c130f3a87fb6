//! The hub's behaviour, as a host sees it.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod announcing;
mod closing;
mod forgetting;
mod gaps;
mod leaving;
mod limits;
mod live;
mod logged;
#[path = "../support/memory_log.rs"]
mod memory_log;
mod moving;
#[path = "../support/pages.rs"]
mod pages;
mod private;
mod resume;
mod selectors;
mod several;
mod shared;
mod slow;
mod story;
mod topics;
