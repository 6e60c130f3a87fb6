//! `/api/topics`: what there is to follow.

use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use serde::Serialize;
use sse_hub::{TopicInfo, TopicName, TopicsFound};

use super::page_size::{SHOWN, page_size};
use crate::app::App;
use crate::http::{Problem, ReplyBody, json, query_pairs};

#[derive(Serialize)]
struct Topic {
    topic: String,
    followers: usize,
    frames: usize,
    bytes: usize,
    events_per_second: f64,
    closed: bool,
}

#[derive(Serialize)]
struct Listing {
    /// Of all topics.
    total: usize,
    /// Of those that were asked for, shown or not.
    found: usize,
    topics: Vec<Topic>,
}

/// Which topics come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Followers,
    Activity,
}

#[derive(Debug)]
struct Search {
    text: String,
    order: Order,
    shown_max: usize,
}

/// # Errors
/// 400 for a query that is none, 503 when others search for too long.
pub(super) async fn list(app: &Arc<App>, query: &str) -> Result<Response<ReplyBody>, Problem> {
    let search = Search::parse(query)?;
    let turn = app.admin.turn().await?;
    let searching = {
        let app = app.clone();
        // There may be a million. Whoever asked may leave: the turn lasts for as long as the search.
        tokio::task::spawn_blocking(move || (search.run(&app), turn))
    };
    let failed = |_| Problem::unavailable("listing_failed", "the listing failed, see the log", Duration::from_secs(1));
    let (found, _turn) = searching.await.map_err(failed)?;
    let topics = found.topics.into_iter().map(|info| Topic {
        followers: followers(app, &info),
        topic: info.name.as_str().to_owned(),
        frames: info.frames,
        bytes: info.bytes,
        events_per_second: (info.frames_per_second * 10.0).round() / 10.0,
        closed: info.is_closed,
    });
    Ok(json(&Listing { total: app.hub.topics(), found: found.total, topics: topics.collect() }))
}

impl Search {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut search = Self { text: String::new(), order: Order::Followers, shown_max: SHOWN };
        for (name, value) in query_pairs(query)? {
            match (&*name, &*value) {
                ("q", text) => search.text = text.to_lowercase(),
                ("sort", "followers") => search.order = Order::Followers,
                ("sort", "activity") => search.order = Order::Activity,
                ("sort", _) => return Err(Problem::bad("sort", "topics are sorted by followers or activity")),
                ("limit", count) => search.shown_max = page_size(count)?,
                _ => return Err(Problem::bad("query", "the query takes q, sort and limit")),
            }
        }
        Ok(search)
    }

    fn run(&self, app: &App) -> TopicsFound {
        let is_wanted = |name: &TopicName| self.text.is_empty() || name.as_str().to_lowercase().contains(&self.text);
        app.hub.find_topics(self.shown_max, is_wanted, |info| self.rank(app, info))
    }

    /// The one counts first, and where topics are alike the other.
    fn rank(&self, app: &App, info: &TopicInfo) -> u64 {
        const MAX: u64 = u32::MAX as u64;
        let followers = (followers(app, info) as u64).min(MAX);
        let activity = ((info.frames_per_second * 10.0) as u64).min(MAX);
        match self.order {
            Order::Followers => followers << 32 | activity,
            Order::Activity => activity << 32 | followers,
        }
    }
}

/// Streams that follow it by name. Those that follow it alone are counted by who writes them, as a writer's are one to the hub.
fn followers(app: &App, info: &TopicInfo) -> usize {
    let of_several = info.followers - info.feeds - info.alone;
    let of_writers = app.writers.as_ref().map_or(0, |writers| writers.followers(&info.name));
    of_several + of_writers + app.hyper_streams.followers(&info.name)
}
