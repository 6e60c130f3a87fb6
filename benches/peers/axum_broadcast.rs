//! The hub that many axum services have: `Sse` over a tokio broadcast channel for each topic.
//!
//! `GET /events/{topic}` follows, `POST /events/{topic}` publishes the body to all who follow. A follower that is more
//! than the channel's length behind misses events, which the load generator counts as lost.
//!
//! `axum_broadcast [--listen 127.0.0.1:0] [--ready-file FILE]`

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use axum::serve::ListenerExt;
use futures_util::Stream;
use futures_util::stream::unfold;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

/// Events that may wait for the slowest follower of a topic.
const CHANNEL_EVENTS: usize = 256;

/// One event: its number and its data.
type Numbered = (u64, Arc<str>);

#[derive(Default)]
struct Hub {
    topics: Mutex<HashMap<String, Sender<Numbered>>>,
    sequence: AtomicU64,
}

impl Hub {
    fn topic(&self, name: String) -> Sender<Numbered> {
        self.topics.lock().entry(name).or_insert_with(|| channel(CHANNEL_EVENTS).0).clone()
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let (mut listen, mut ready_file) = ("127.0.0.1:0".to_owned(), None);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        match (flag.as_str(), args.next()) {
            ("--listen", Some(value)) => listen = value,
            ("--ready-file", Some(value)) => ready_file = Some(value),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("what is {flag}?"))),
        }
    }
    let listener = tokio::net::TcpListener::bind(listen).await?;
    if let Some(path) = ready_file {
        // Renamed into place, so that nobody reads half of it.
        let part = format!("{path}.part");
        std::fs::write(&part, format!("{{\"listen\":[\"{}\"]}}\n", listener.local_addr()?))?;
        std::fs::rename(part, path)?;
    }
    let app = Router::new().route("/events/{topic}", get(follow).post(publish)).with_state(Arc::new(Hub::default()));
    // Small writes must not wait for the acknowledgement of those before.
    let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
    axum::serve(listener, app).await
}

async fn follow(
    State(hub): State<Arc<Hub>>,
    Path(topic): Path<String>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(unfold(hub.topic(topic).subscribe(), next))
}

async fn next(mut receiver: Receiver<Numbered>) -> Option<(Result<Event, Infallible>, Receiver<Numbered>)> {
    loop {
        match receiver.recv().await {
            Ok((number, data)) => return Some((Ok(Event::default().id(number.to_string()).data(data)), receiver)),
            Err(RecvError::Lagged(_)) => (),
            Err(RecvError::Closed) => return None,
        }
    }
}

async fn publish(State(hub): State<Arc<Hub>>, Path(topic): Path<String>, data: String) -> StatusCode {
    let number = hub.sequence.fetch_add(1, Ordering::Relaxed) + 1;
    // An error says that nobody follows: nobody misses it.
    let _ = hub.topic(topic).send((number, data.into()));
    StatusCode::OK
}
