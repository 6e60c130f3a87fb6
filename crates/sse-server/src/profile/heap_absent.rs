//! Builds whose allocator keeps no record of who asked it for memory: all but those with the feature `heap-profile`, for glibc.

use bytes::Bytes;

use super::ProfileError;

/// Takes none.
///
/// # Errors
/// Always.
pub(crate) async fn take() -> Result<Bytes, ProfileError> {
    Err(ProfileError::Absent(
        "this build's allocator keeps no record of who holds memory; one made with `--features heap-profile`, for glibc, does",
    ))
}
