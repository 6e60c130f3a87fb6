//! The admin listener: health and metrics, apart from the public traffic.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use sse_hub::PublishError;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::backplane::Said;
use crate::health;
use crate::http::{HealthRoute, Problem, ReplyBody, check_admin_host};
use crate::listener::is_descriptor_shortage;
use crate::reserve::Reserve;
use crate::upgrade::while_serving;

mod debug;
mod desk;
mod follow;
mod page;
mod page_size;
mod publish;
mod revocations;
mod rights;
mod stats;
mod subscribers;
mod topics;

pub(crate) use desk::Desk;
use page::PageFile;
pub(crate) use subscribers::kick_as_told;

/// Admin connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// Connections at a time for which descriptors are kept back, while the public listener has taken all the others.
const SCRAPES_WHILE_FULL: usize = 2;
/// One connection may last this long: scrapers come again.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// When somebody may try again to have the other nodes told.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Tells the other nodes, if there are any; `done` says how things stand if they may not have heard it.
async fn tell_nodes(app: &App, said: Said, done: &'static str) -> Result<(), Problem> {
    let Some(peers) = &app.peers else { return Ok(()) };
    peers.say_surely(said).await.map_err(|error| Problem::unavailable(error.as_str(), done, TELL_AGAIN_AFTER))
}

/// Accepts until the future is dropped.
pub(crate) async fn accept_loop(app: Arc<App>, listener: TcpListener) {
    let mut phase = app.succession.watch();
    let (places, reserve) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(Reserve::of(SCRAPES_WHILE_FULL)));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match while_serving(&mut phase, listener.accept()).await {
            Ok((socket, _)) => {
                let (app, reserve) = (app.clone(), reserve.clone());
                tokio::spawn(async move {
                    serve(app, socket).await;
                    // At once: the public listener pauses after a shortage, and would take the descriptor next.
                    reserve.refill();
                    drop(place);
                });
            }
            Err(error) if is_descriptor_shortage(&error) && reserve.give() => (),
            Err(error) => {
                tracing::warn!(%error, "cannot accept an admin connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn serve(app: Arc<App>, socket: TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(route(&app, request).await.unwrap_or_else(Problem::into_response)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(socket), service);
    // A scraper that breaks off, or that is cut at the deadline, is nobody's concern.
    let _ = tokio::time::timeout(CONNECTION_MAX, connection).await;
}

async fn route(app: &Arc<App>, request: Request<Incoming>) -> Result<Response<ReplyBody>, Problem> {
    // A page whose name resolves to loopback must not read it (FAILURES I6).
    check_admin_host(&request, &app.config())?;
    if let Some(route) = HealthRoute::parse(request.uri().path()) {
        return health::answer(app, route, request.method());
    }
    if let Some(file) = PageFile::at(request.uri().path()) {
        return file.answer(request.method());
    }
    authorize(app, &request)?;
    if app.succession.is_over() {
        // What is said or done here would concern nobody any more.
        return Err(PublishError::Elsewhere.into());
    }
    if let Some(id) = request.uri().path().strip_prefix("/api/subscribers/") {
        return subscribers::answer_one(app, &request, id).await;
    }
    match request.uri().path() {
        "/debug/memory" => {
            asked(&request)?;
            debug::memory(app)
        }
        "/debug/pprof/heap" => {
            asked(&request)?;
            debug::heap().await
        }
        "/debug/pprof/profile" => debug::profile(asked(&request)?).await,
        "/api/revocations" => revocations::answer(app, request).await,
        "/api/publish" => publish::answer(app, request).await,
        "/api/subscribers" => subscribers::answer(app, &request).await,
        "/api/topics" => topics::list(app, asked(&request)?).await,
        "/api/stats" => stats::show(app, asked(&request)?),
        "/api/follow" => {
            asked(&request)?;
            follow::answer(app, &request).await
        }
        _ => Err(Problem::not_found()),
    }
}

/// The query of a request that only asks.
fn asked<B>(request: &Request<B>) -> Result<&str, Problem> {
    match *request.method() {
        Method::GET | Method::HEAD => Ok(request.uri().query().unwrap_or("")),
        _ => Err(Problem::method_not_allowed("GET, HEAD")),
    }
}

/// Health, metrics and the page's own files need no token; everything else does where one is set.
fn authorize<B>(app: &App, request: &Request<B>) -> Result<(), Problem> {
    let Some(token) = &app.config().admin_token else { return Ok(()) };
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if given.is_some_and(|given| constant_time_eq::constant_time_eq(given, token.reveal().as_bytes())) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "the admin API needs its token as a bearer token"))
}
