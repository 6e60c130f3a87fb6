//! `/api/topics`: what there is to follow.

use hyper::Response;
use serde::Serialize;

use crate::app::App;
use crate::http::{ReplyBody, json};

/// Topics that one listing shows.
const SHOWN_MAX: usize = 1000;

#[derive(Serialize)]
struct Topic {
    topic: String,
    followers: usize,
    frames: usize,
}

#[derive(Serialize)]
struct Listing {
    total: usize,
    topics: Vec<Topic>,
}

pub(super) fn list(app: &App) -> Response<ReplyBody> {
    let infos = app.hub.topic_infos(SHOWN_MAX);
    let topics = infos.into_iter().map(|info| Topic {
        topic: info.name.as_str().to_owned(),
        followers: info.followers,
        frames: info.frames,
    });
    json(&Listing { total: app.hub.topics(), topics: topics.collect() })
}
