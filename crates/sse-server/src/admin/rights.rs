//! What whoever reaches the admin listener may publish and follow there.

use serde::Serialize;
use sse_hub::Grants;

use crate::app::App;
use crate::http::Problem;

/// With the admin token, everything. Where none is set, what anybody on this machine may do on the public listener: the
/// admin listener is no way around the keys for tokens.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Rights {
    publish: bool,
    follow: bool,
    /// Private events are followed too.
    private: bool,
}

impl Rights {
    /// Of a request that was let in.
    pub(super) fn of(app: &App) -> Self {
        let has_token = app.config().admin_token.is_some();
        Self {
            publish: has_token || app.config().open_publish,
            follow: has_token || app.config().anonymous,
            private: has_token,
        }
    }

    /// # Errors
    /// 403.
    pub(super) fn check_publish(self) -> Result<(), Problem> {
        if self.publish { Ok(()) } else { Err(refused("publishing")) }
    }

    /// # Errors
    /// 403.
    pub(super) fn check_follow(self) -> Result<(), Problem> {
        if self.follow { Ok(()) } else { Err(refused("following")) }
    }

    pub(super) fn grants(self) -> Grants {
        if self.private { Grants::All } else { Grants::None }
    }
}

fn refused(what: &str) -> Problem {
    Problem::not_granted(format!("{what} takes a token here, so it takes --admin-token on the admin listener"))
}
