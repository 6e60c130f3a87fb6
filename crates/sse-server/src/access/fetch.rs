//! Fetching one small document, within bounds.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::header::ACCEPT;
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::config::JwksUrl;

/// From the first packet to the last byte.
const FETCH_MAX: Duration = Duration::from_secs(5);
/// Bytes of a document: a hundred keys take some 50 KiB.
const BYTES_MAX: usize = 256 * 1024;

/// Why a document could not be had. What it says is nobody's secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("no answer within {FETCH_MAX:?}")]
    Timeout,
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// A redirect is one: whoever configured an address meant that one.
    #[error("the answer has status {0}, not 200")]
    Status(StatusCode),
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLarge,
    #[error("it is not a set of keys")]
    Malformed,
    #[error("it has no key that could check a signature")]
    NoKeys,
}

impl FetchError {
    /// The word that metrics carry.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::NoKeys => "no_keys",
        }
    }
}

/// Where the document is, and what it is fetched with.
#[derive(Debug)]
pub(crate) enum Fetcher {
    File(PathBuf),
    Http(Box<HttpFetcher>),
}

/// A client for one address.
#[derive(Debug)]
pub(crate) struct HttpFetcher {
    uri: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Fetcher {
    /// # Errors
    /// When the address is none, or the system's certificates cannot be had.
    pub(crate) fn new(url: &JwksUrl) -> io::Result<Self> {
        if let Some(path) = url.as_str().strip_prefix("file://") {
            return Ok(Self::File(path.into()));
        }
        let uri: Uri = url.as_str().parse().map_err(io::Error::other)?;
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector(&uri)?);
        Ok(Self::Http(Box::new(HttpFetcher { uri, client })))
    }

    /// # Errors
    /// A [`FetchError`].
    pub(crate) async fn fetch(&self) -> Result<Bytes, FetchError> {
        let fetched = async {
            match self {
                Self::File(path) => read(path.clone()).await,
                Self::Http(http) => http.get().await,
            }
        };
        tokio::time::timeout(FETCH_MAX, fetched).await.unwrap_or(Err(FetchError::Timeout))
    }
}

/// What connects to such an address.
///
/// # Errors
/// When it is https, and the system's certificates cannot be had.
pub(crate) fn connector(uri: &Uri) -> io::Result<HttpsConnector<HttpConnector>> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let roots = || HttpsConnectorBuilder::new().with_provider_and_native_roots(provider);
    Ok(match uri.scheme_str() {
        Some("https") => roots()?.https_only().enable_http1().build(),
        // Plain http needs no certificates, and a machine may have none.
        _ => HttpsConnectorBuilder::new().with_tls_config(no_roots()?).https_or_http().enable_http1().build(),
    })
}

fn no_roots() -> io::Result<rustls::ClientConfig> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

async fn read(path: PathBuf) -> Result<Bytes, FetchError> {
    let read = move || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(io::Error::other).flatten();
    let bytes = read.map_err(|error: io::Error| FetchError::Unreachable(error.to_string()))?;
    if bytes.len() > BYTES_MAX { Err(FetchError::TooLarge) } else { Ok(bytes.into()) }
}

impl HttpFetcher {
    async fn get(&self) -> Result<Bytes, FetchError> {
        let request = Request::get(self.uri.clone()).header(ACCEPT, "application/json").body(Empty::new());
        let request = request.map_err(|error| FetchError::Unreachable(error.to_string()))?;
        let answer = self.client.request(request).await.map_err(|error| FetchError::Unreachable(chain(&error)))?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        match Limited::new(answer.into_body(), BYTES_MAX).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge),
            Err(error) => Err(FetchError::Unreachable(error.to_string())),
        }
    }
}

/// The error with its causes, the last of which is the one that helps.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
