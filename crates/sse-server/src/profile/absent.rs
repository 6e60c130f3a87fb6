//! Where the C library cannot be walked through from a signal, as musl: no samples would be better than wrong ones, and that is said.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;

#[path = "heap_absent.rs"]
pub(crate) mod heap;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// This build has nothing to take it from.
    #[error("{0}")]
    Absent(&'static str),
}

impl ProfileError {
    /// What an answer says to programs.
    pub(crate) fn status(&self) -> (StatusCode, &'static str) {
        (StatusCode::NOT_IMPLEMENTED, "profile_unsupported")
    }
}

/// Takes none.
///
/// # Errors
/// Always.
pub(crate) async fn take(_: Duration) -> Result<Bytes, ProfileError> {
    Err(ProfileError::Absent(
        "this build takes no profiles: its C library does not let stacks be walked from a signal; builds for glibc do",
    ))
}
