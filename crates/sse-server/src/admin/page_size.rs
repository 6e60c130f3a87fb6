//! How much one listing shows.

use crate::http::Problem;

/// What it shows if nothing else is asked for.
pub(super) const SHOWN: usize = 100;
/// What it shows at most.
const SHOWN_MAX: usize = 1000;

/// # Errors
/// 400 for what is no number.
pub(super) fn page_size(text: &str) -> Result<usize, Problem> {
    let count: usize = text.parse().map_err(|_| Problem::bad("limit", "limit is a number"))?;
    Ok(count.min(SHOWN_MAX))
}
