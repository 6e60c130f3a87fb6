//! Fuzz target: the bytes of HTTP/1.1. However they are cut they are the same requests, and hyper finds no request in them that we
//! did not see.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bolero::{TypeGenerator, check};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pieces::text;
use crate::request_scan::{HeadFault, RequestScan};

const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /events/a HTTP/1.1\r\n",
    "Host: a\r\n",
    "\r\n",
    "\n",
    "\r",
    "Content-Length: 0\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length:\t5 \r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length : 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding:\x0bchunked\r\n",
    " folded\r\n",
    "0\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
    "5\r\nabcde\r\n",
    "5;x=y\r\nabcde\r\n",
    "5 \r\nabcde\r\n",
    "+5\r\n",
    "0x5\r\n",
    "ffffffffffffffff\r\n",
    "10000000000000005\r\n",
    "hello",
    "Connection: close\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: h2c\r\n",
    "HTTP/1.0\r\n",
    " ",
    ":",
];

#[derive(Debug, Clone, TypeGenerator)]
struct Sent {
    bytes: Vec<u8>,
    piece: u8,
}

/// The bytes of each request that came whole, and of what began another.
#[derive(Debug, PartialEq, Eq)]
struct Scanned {
    requests: Vec<usize>,
    begun: usize,
    fault: Option<HeadFault>,
}

fn scan(bytes: &[u8], piece: usize) -> Scanned {
    let (mut scan, mut requests, mut len) = (RequestScan::default(), Vec::new(), 0);
    for piece in bytes.chunks(piece) {
        let mut rest = piece;
        while !rest.is_empty() {
            match scan.take(rest) {
                Ok(taken) => {
                    assert!((1..=rest.len()).contains(&taken), "it goes on");
                    len += taken;
                    rest = &rest[taken..];
                }
                // How much of a head had come by then depends on the cuts.
                Err(fault) => return Scanned { requests, begun: 0, fault: Some(fault) },
            }
            if scan.is_between() {
                requests.push(std::mem::take(&mut len));
            }
        }
    }
    Scanned { requests, begun: len, fault: None }
}

/// A client that sends these bytes, and takes what it gets.
struct Client<'a>(&'a [u8]);

impl AsyncRead for Client<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, later) = self.0.split_at(self.0.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How many requests hyper gives to its service.
fn served(bytes: &[u8]) -> usize {
    /// It lets others in now and then, though there are none.
    const POLLS: usize = 64;
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        seen.fetch_add(1, Ordering::Relaxed);
        async move {
            // As every handler that looks at a body: whole, or until it breaks off.
            let _ = request.into_body().collect().await;
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut connection =
        pin!(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(Client(bytes)), service));
    let mut cx = Context::from_waker(Waker::noop());
    let _ = (0..POLLS).any(|_| connection.as_mut().poll(&mut cx).is_ready());
    requests.load(Ordering::Relaxed)
}

#[test]
fn request_bytes() {
    check!().with_type::<Sent>().for_each(|sent| {
        let bytes = text(PIECES, &sent.bytes);
        let whole = scan(&bytes, bytes.len().max(1));
        assert_eq!(scan(&bytes, 1), whole, "byte by byte");
        assert_eq!(scan(&bytes, 1 + usize::from(sent.piece)), whole, "in pieces");
        // hyper is given what belongs to one request at a time (`io.rs`), so what it would take for a second stays unseen.
        let mut rest = &bytes[..];
        for len in whole.requests.iter().copied().chain([whole.begun]) {
            let (request, behind) = rest.split_at(len);
            assert!(served(request) <= 1, "{:?} is one request", String::from_utf8_lossy(request));
            rest = behind;
        }
    });
}
