//! Why a request is not let in.

/// Why there is no [`Access`](super::Access). All that is wrong with a token is one case, so that answers tell nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccessError {
    /// There is no credential, and one is needed.
    #[error("this needs a token")]
    Missing,
    /// The credential does not count.
    #[error("the token is not valid here")]
    Invalid,
    /// A cookie came with a publish of a page that may not publish.
    #[error("pages of that origin may not publish with a cookie")]
    Origin,
    /// The keys to check tokens with are not there yet.
    #[error("the keys for tokens cannot be had at the moment")]
    NoKeys,
}

impl AccessError {
    /// The word that metrics carry.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "no_token",
            Self::Invalid => "bad_token",
            Self::Origin => "origin",
            Self::NoKeys => "no_keys",
        }
    }
}
