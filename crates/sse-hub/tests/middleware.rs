//! The axum example, and what middleware around it does to its streams.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use sse_hub::{Hub, Publication, TopicName};
use sse_wire::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

#[expect(dead_code, reason = "its `main` is not called")]
#[path = "../examples/axum.rs"]
mod example;

const WITHIN: Duration = Duration::from_secs(5);

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// What zlib ends a part with that is to be decoded before more comes: an empty stored block.
const FLUSHED: &[u8] = b"\0\0\xff\xff";

/// A client that takes gzip.
struct Client(TcpStream);

impl Client {
    async fn follow(address: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = b"GET /events/news HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n";
        socket.write_all(request).await.unwrap();
        Self(socket)
    }

    /// What comes up to `end`, which has to come before anything else is published.
    async fn read_through(&mut self, end: &[u8]) -> String {
        let mut read = Vec::new();
        while !read.windows(end.len()).any(|part| part == end) {
            let more = timeout(WITHIN, self.0.read_buf(&mut read)).await.expect("it is held back").unwrap();
            assert!(more > 0, "the stream has ended");
        }
        String::from_utf8_lossy(&read).to_ascii_lowercase()
    }
}

fn publish(hub: &Hub, data: &'static str) {
    hub.publish(Publication::new(TopicName::parse("news").unwrap(), Event::new(data))).unwrap();
}

#[tokio::test]
async fn the_layer_leaves_event_streams_as_they_are() {
    let hub = Hub::builder().build().unwrap();
    let address = serve(example::routes(hub.clone()).layer(CompressionLayer::new())).await;
    let mut client = Client::follow(address).await;
    let opening = client.read_through(b"\n\n").await;
    assert!(!opening.contains("content-encoding"), "{opening}");
    for data in ["one", "two"] {
        publish(&hub, data);
        client.read_through(format!("data: {data}\n\n").as_bytes()).await;
    }
}

/// Who gives the layer a predicate of their own loses the exception for event streams. Events then come at once all the
/// same, as the layer flushes whenever nothing more is there; but each stream pays for a compressor of its own.
#[tokio::test]
async fn the_layer_flushes_what_it_compresses() {
    let hub = Hub::builder().build().unwrap();
    let layer = CompressionLayer::new().compress_when(SizeAbove::new(0));
    let address = serve(example::routes(hub.clone()).layer(layer)).await;
    let mut client = Client::follow(address).await;
    let opening = client.read_through(FLUSHED).await;
    assert!(opening.contains("content-encoding: gzip"), "{opening}");
    for data in ["one", "two"] {
        publish(&hub, data);
        client.read_through(FLUSHED).await;
    }
}

#[tokio::test]
async fn who_leaves_through_the_layer_is_gone() {
    let hub = Hub::builder().build().unwrap();
    let address = serve(example::routes(hub.clone()).layer(CompressionLayer::new())).await;
    let mut client = Client::follow(address).await;
    client.read_through(b"\n\n").await;
    let followers = || hub.topic_infos(1).iter().map(|info| info.followers).sum::<usize>();
    assert_eq!(followers(), 1);
    drop(client);
    let left = async {
        while followers() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WITHIN, left).await.expect("its subscription is dropped");
}
