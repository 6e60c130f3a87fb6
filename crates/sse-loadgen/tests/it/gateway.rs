//! Speaks TLS and HTTP/2 for the tiny server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::server::Server;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What stands before the server.
pub(crate) struct Gateway {
    addr: SocketAddr,
    /// The certificate, if it speaks TLS.
    certificate: Option<tempfile::NamedTempFile>,
}

impl Gateway {
    /// Speaks HTTP/1.1 and HTTP/2.
    pub(crate) fn plain(server: &Server) -> Self {
        Self { addr: start(server.addr(), None), certificate: None }
    }

    /// The same over TLS, as 127.0.0.1.
    pub(crate) fn tls(server: &Server) -> Self {
        let pair = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![pair.cert.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let certificate = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(certificate.path(), pair.cert.pem()).unwrap();
        Self { addr: start(server.addr(), Some(TlsAcceptor::from(Arc::new(config)))), certificate: Some(certificate) }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/events/{{topic}}", self.addr)
    }

    pub(crate) fn ca_file(&self) -> Option<PathBuf> {
        self.certificate.as_ref().map(|file| file.path().to_owned())
    }
}

/// Starts one that goes on until the test process ends.
fn start(server: SocketAddr, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let socket = listener.accept().await.unwrap().0;
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => serve(tls.accept(socket).await?, server).await,
                        None => serve(socket, server).await,
                    }
                });
            }
        })
    });
    addr
}

async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    server: SocketAddr,
) -> Result<(), Failure> {
    let service = service_fn(move |request| forward(request, server));
    auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await
}

/// Asks the server on a connection of its own.
async fn forward(mut request: Request<Incoming>, server: SocketAddr) -> Result<Response<Incoming>, Failure> {
    let socket = TokioIo::new(TcpStream::connect(server).await?);
    let (mut sender, connection) =
        hyper::client::conn::http1::Builder::new().title_case_headers(true).handshake(socket).await?;
    tokio::spawn(connection);
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse::<Uri>()?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("server"));
    let mut response = sender.send_request(request).await?;
    for field in [CONNECTION, TRANSFER_ENCODING] {
        response.headers_mut().remove(field);
    }
    Ok(response)
}
