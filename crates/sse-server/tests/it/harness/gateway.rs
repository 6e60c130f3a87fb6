//! What stands between a test and the server, so that the same bytes test another transport.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;

use super::tls;

/// Takes HTTP/1.1 and asks the server in HTTP/2 or over TLS, over a connection of its own for each that it takes.
pub(super) struct Gateway {
    addr: SocketAddr,
    runtime: Option<Runtime>,
}

/// What the server may send ahead: the protocol's own default.
const WINDOW_BYTES: u32 = 65_535;

/// What it holds itself.
const BUFFER_BYTES: usize = 64 * 1024;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

impl Gateway {
    pub(super) fn to_http2(server: SocketAddr) -> Self {
        Self::open(move |client, ends| carry(client, ends, server))
    }

    /// Takes bytes and passes them on over TLS.
    pub(super) fn to_tls(server: SocketAddr) -> Self {
        Self::open(move |client, ends| tunnel(client, ends, server))
    }

    fn open<F>(serve: impl Fn(TcpStream, (SocketAddr, SocketAddr)) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((client, from)) = listener.accept().await {
                client.set_nodelay(true).unwrap();
                SockRef::from(&client).set_send_buffer_size(8 * 1024).unwrap();
                tokio::spawn(serve(client, (from, addr)));
            }
        });
        Self { addr, runtime: Some(runtime) }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Streams may still be open.
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// By client and gateway, the address that the server sees.
static SEEN_AS: Mutex<BTreeMap<(SocketAddr, SocketAddr), SocketAddr>> = Mutex::new(BTreeMap::new());

/// The address that a connection's server sees.
pub(super) fn seen_as(client: SocketAddr, server: SocketAddr) -> SocketAddr {
    SEEN_AS.lock().get(&(client, server)).copied().unwrap_or(client)
}

struct Forget((SocketAddr, SocketAddr));

impl Drop for Forget {
    fn drop(&mut self) {
        SEEN_AS.lock().remove(&self.0);
    }
}

async fn carry(client: TcpStream, ends: (SocketAddr, SocketAddr), server: SocketAddr) {
    let Ok(upstream) = TcpStream::connect(server).await else { return };
    upstream.set_nodelay(true).unwrap();
    SEEN_AS.lock().insert(ends, upstream.local_addr().unwrap());
    let _forget = Forget(ends);
    // It holds little that its client has not read.
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
    let Ok((sender, connection)) = builder.handshake(TokioIo::new(upstream)).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let sender = sender.clone();
        ask(sender, server, request)
    });
    let client = http1::Builder::new().max_buf_size(BUFFER_BYTES).serve_connection(TokioIo::new(client), service);
    let (mut client, mut connection) = (std::pin::pin!(client), std::pin::pin!(connection));
    // Either may leave at any time, and then the other does.
    tokio::select! {
        _ = client.as_mut() => return,
        _ = connection.as_mut() => client.as_mut().graceful_shutdown(),
    }
    let _ = client.await;
}

async fn tunnel(mut client: TcpStream, ends: (SocketAddr, SocketAddr), server: SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    // It holds little that its client has not read.
    socket.set_recv_buffer_size(WINDOW_BYTES).unwrap();
    let Ok(upstream) = socket.connect(server).await else { return };
    upstream.set_nodelay(true).unwrap();
    SEEN_AS.lock().insert(ends, upstream.local_addr().unwrap());
    let _forget = Forget(ends);
    let Ok(mut upstream) = tls::connector(&[]).connect(tls::name(), upstream).await else { return };
    // Either may leave at any time.
    let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, 4096, 4096).await;
}

async fn ask(
    mut sender: http2::SendRequest<Incoming>,
    server: SocketAddr,
    mut request: Request<Incoming>,
) -> hyper::Result<Response<Body>> {
    let authority = match request.headers_mut().remove(HOST) {
        // The gateway's own address stands for the server's.
        Some(host) if !host.as_bytes().starts_with(b"127.0.0.1:") => host.to_str().unwrap().to_owned(),
        _ => server.to_string(),
    };
    let target = request.uri().path_and_query().unwrap().clone();
    *request.uri_mut() = Uri::builder().scheme("http").authority(authority).path_and_query(target).build().unwrap();
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(CONNECTION);
    // A server that leaves without an answer is one that closes the connection, as it would be in HTTP/1.1.
    let answer = sender.send_request(request).await?;
    for name in [CONNECTION, TRANSFER_ENCODING] {
        assert_eq!(answer.headers().get(&name), None, "{answer:?}");
    }
    assert!(answer.status() != StatusCode::NO_CONTENT || answer.headers().get(CONTENT_LENGTH).is_none());
    Ok(answer.map(BodyExt::boxed_unsync))
}
