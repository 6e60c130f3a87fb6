//! The log in a directory: what it keeps, what it refuses, what it notices.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod damage;
mod handing_over;
mod keeping;
mod opening;
mod retaining;
mod setting;
mod tools;
mod torn;
