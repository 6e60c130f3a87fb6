//! HTTP/2: many streams on one connection. hyper keeps them all, and reads the same hub.
//!
//! hyper asks a body for more only while the stream's window is open, so whatever has to end a stream that cannot write is
//! watched for out here (TRAPS S3), for each stream by itself: the others of its connection belong to other tabs.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;

use crate::app::App;
use crate::carrier::Carrier;
use crate::connection::draining;
use crate::gauge::ConnectionPermit;
use crate::http;
use crate::request_scan::HEAD_BYTES_MAX;
use crate::stream::EndReason;
use crate::transport::Transport;

mod io;
mod scan;
mod small_frames;
mod tasks;
mod watch;

use io::ScannedIo;
pub(crate) use scan::PREFACE;
pub(crate) use small_frames::SmallFrames;
use tasks::Tasks;
pub(crate) use watch::Exchange;
use watch::{ConnectionWatch, Overdue};

/// Streams at a time; one more is refused (TRAPS S6).
const STREAMS_MAX: u32 = 100;
/// Requests on one connection, after which its client is asked to open another.
const REQUESTS_MAX: u64 = 10_000;
/// Bytes of requests' bodies that a client may send ahead: for one request, and for all.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// A stream is asked for more once less than this of it waits for the socket: what is published meanwhile leaves in one
/// DATA frame then, as clients end connections that bring many small ones (TRAPS S5).
const SEND_BUFFER_BYTES: usize = 1;
/// Streams that were given up before anybody looked at them, and streams reset because of what the client did wrong.
const PENDING_RESETS_MAX: usize = 100;
const ERROR_RESETS_MAX: usize = 500;
/// A client that is gone without a word does not answer a PING.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection that ends may take to write the rest.
const CLOSING_MAX: Duration = Duration::from_secs(2);
/// How often the deadlines are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Serves one connection until it closes. `first` has been read from the socket already, and begins as the preface does.
pub(crate) async fn serve(
    app: Arc<App>,
    transport: Transport,
    first: &[u8],
    remote_addr: SocketAddr,
    permit: ConnectionPermit,
) {
    let watch = ConnectionWatch::new(remote_addr, permit);
    let io = ScannedIo::new(transport, first, watch.clone(), app.signals.clone());
    let mut tasks = Tasks::new(watch.clone());
    let service = {
        let (app, executor) = (app.clone(), tasks.executor());
        service_fn(move |request: Request<Incoming>| {
            let answer = http::handle(app.clone(), Carrier::Stream(executor.begin()), request);
            // hyper would keep the room of the handler's future in every stream.
            Box::pin(answer) as Pin<Box<dyn Future<Output = _> + Send>>
        })
    };
    let connection = http2::Builder::new(tasks.executor())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let mut ticks = tokio::time::interval(WATCH_EVERY);
    let mut draining = std::pin::pin!(draining(&app));
    let (mut is_draining, mut is_last, mut closing_since) = (false, false, None::<Instant>);
    let overdue = std::future::poll_fn(|cx: &mut Context<'_>| {
        if !is_draining && draining.as_mut().poll(cx).is_ready() {
            (is_draining, closing_since) = (true, Some(Instant::now()));
            watch.drain_streams(&app);
        }
        if tasks.poll(cx, connection.as_mut()).is_ready() {
            return Poll::Ready(None);
        }
        // A new connection's first request is answered all the same.
        if is_draining && !is_last && watch.has_begun() {
            is_last = true;
            connection.as_mut().graceful_shutdown();
            tasks.wake_connection();
        }
        while ticks.poll_tick(cx).is_ready() {
            // The others of the connection go on.
            watch.overdue_streams(&app).into_iter().for_each(|key| tasks.end(key));
            match watch.overdue(app.times.write_timeout) {
                Some(Overdue::Now(reason)) => return Poll::Ready(Some(reason)),
                Some(Overdue::Politely(reason)) if closing_since.is_none() => {
                    closing_since = Some(Instant::now());
                    app.signals.connection_rejected(reason);
                    connection.as_mut().graceful_shutdown();
                    tasks.wake_connection();
                }
                _ => (),
            }
            if closing_since.is_some_and(|since| since.elapsed() >= CLOSING_MAX) && watch.is_idle() {
                return Poll::Ready(None);
            }
        }
        Poll::Pending
    })
    .await;
    if let Some(reason) = overdue {
        app.signals.connection_rejected(reason);
        tracing::debug!(%remote_addr, reason, "connection closed");
    }
    let reason = if overdue == Some("stalled") { EndReason::Stalled } else { EndReason::Disconnected };
    watch.end_streams(reason);
}
