//! Who is asking, as far as a browser tells: hosts and origins.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HOST, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use hyper::{Request, StatusCode, Version};

use super::Problem;
use crate::config::{Config, WebOrigin};

/// `Sec-Fetch-Site`, which browsers send and pages cannot forge (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses names that are not this server's: while no key protects it, a page that has its own name resolve to loopback
/// must not reach it (FAILURES I6).
///
/// # Errors
/// 421, or 400 when it cannot be told whom the request is for.
pub(crate) fn check_host<B>(request: &Request<B>, config: &Config) -> Result<(), Problem> {
    check_name(request, config, &config.listen, config.publisher_is_keyed())
}

/// The same on the admin listener, which only its token protects.
///
/// # Errors
/// As [`check_host`].
pub(crate) fn check_admin_host<B>(request: &Request<B>, config: &Config) -> Result<(), Problem> {
    check_name(request, config, config.admin_listen.as_slice(), config.admin_token.is_some())
}

fn check_name<B>(
    request: &Request<B>,
    config: &Config,
    listens: &[SocketAddr],
    is_protected: bool,
) -> Result<(), Problem> {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = match authority {
        Some(authority) => Some(authority),
        None => request.headers().get(HOST).map(|host| host.to_str().unwrap_or("")),
    };
    // One of an HTTP/1.1 request (RFC 9112, 3.2).
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(Problem::bad("Host", format!("{hosts} Host fields are not one")));
    }
    // RFC 9113, 8.3.1: the two must not differ.
    if request.version() == Version::HTTP_2
        && let (Some(authority), Some(named)) = (authority, request.headers().get(HOST))
        && !named.as_bytes().eq_ignore_ascii_case(authority.as_bytes())
    {
        return Err(Problem::bad("Host", "the Host field differs from :authority"));
    }
    // HTTP/1.0 clients may send none; a browser always does.
    let Some(host) = host else { return Ok(()) };
    let name = host_name(host);
    let is_loopback = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let is_named = config.host.iter().any(|known| known.as_str().eq_ignore_ascii_case(name));
    let is_listener = name.parse::<IpAddr>().is_ok_and(|ip| listens.iter().any(|listen| listen.ip() == ip));
    if is_loopback || is_named || is_listener || is_protected {
        return Ok(());
    }
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "host", "this server does not answer to that Host; see --host"))
}

/// The host of `host[:port]`, IPv6 without its brackets.
fn host_name(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or("");
    }
    authority.split(':').next().unwrap_or("")
}

/// Refuses a publish that a foreign page makes a browser send.
///
/// # Errors
/// 403.
pub(crate) fn check_publisher_origin<B>(request: &Request<B>, config: &Config) -> Result<(), Problem> {
    let forbidden = |detail: &str| Problem::new(StatusCode::FORBIDDEN, "origin", detail);
    let headers = request.headers();
    if let Some(origin) = headers.get(ORIGIN) {
        // `*` lets every page read, which is not letting every page write.
        let is_named = matches!(allowed(origin, config), Some(WebOrigin::Exact(_)));
        let is_publisher =
            config.publish_origin.iter().any(|known| origin.to_str().is_ok_and(|text| known.matches(text)));
        if is_named || is_publisher || is_own(origin, request) {
            return Ok(());
        }
        return Err(forbidden("pages of that origin may not publish here"));
    }
    match headers.get(SEC_FETCH_SITE) {
        Some(site) if site == "cross-site" => Err(forbidden("pages of other sites may not publish here")),
        _ => Ok(()),
    }
}

/// Refuses what a page of anybody's but this server makes a browser send.
///
/// # Errors
/// 403.
pub(crate) fn check_own_origin<B>(request: &Request<B>) -> Result<(), Problem> {
    let headers = request.headers();
    let is_foreign = match headers.get(ORIGIN) {
        Some(origin) => !is_own(origin, request),
        None => headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site"),
    };
    if is_foreign {
        return Err(Problem::new(StatusCode::FORBIDDEN, "origin", "pages of other origins may not do this"));
    }
    Ok(())
}

/// Whether the page came from this very server.
fn is_own<B>(origin: &HeaderValue, request: &Request<B>) -> bool {
    let authority = request.uri().authority().filter(|_| request.version() == Version::HTTP_2);
    let host = authority.map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| request.headers().get(HOST).map(HeaderValue::as_bytes));
    let page = origin.as_bytes().splitn(3, |&byte| byte == b'/').nth(2);
    page.zip(host).is_some_and(|(page, host)| page.eq_ignore_ascii_case(host))
}

/// Adds what lets an allowed origin's page read the answer. `origin` is the request's.
pub(crate) fn add_cors(headers: &mut HeaderMap, origin: Option<&HeaderValue>, config: &Config) {
    if config.cors_origin.is_empty() {
        return;
    }
    vary_by_origin(headers);
    let Some(origin) = origin else { return };
    let Some(allowed) = allowed(origin, config) else { return };
    match allowed {
        // `*` goes without credentials: what a cookie protects must name its readers.
        WebOrigin::Any => headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        WebOrigin::Exact(_) => {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())
        }
    };
    headers
        .insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Last-Event-ID, Mercure-Last-Event-ID, Link"));
}

/// An answer may have been made for others too.
fn vary_by_origin(headers: &mut HeaderMap) {
    let value = match headers.get(VARY).map(HeaderValue::as_bytes) {
        Some(b"Accept-Encoding" | b"Accept-Encoding, Origin") => "Accept-Encoding, Origin",
        _ => "Origin",
    };
    headers.insert(VARY, HeaderValue::from_static(value));
}

/// Adds the answer to a preflight (Fetch, 3.2.2).
pub(crate) fn add_preflight(headers: &mut HeaderMap, request: &HeaderMap, methods: &'static str, config: &Config) {
    add_cors(headers, request.get(ORIGIN), config);
    if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    let allowed =
        HeaderValue::from_static("Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID");
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
}

/// The setting that lets `origin` in. Compared exactly: neither suffixes nor `null` pass by accident.
fn allowed<'a>(origin: &HeaderValue, config: &'a Config) -> Option<&'a WebOrigin> {
    let exact = |allowed: &&WebOrigin| match allowed {
        WebOrigin::Any => false,
        WebOrigin::Exact(text) => text.as_bytes().eq_ignore_ascii_case(origin.as_bytes()),
    };
    let any = || config.cors_origin.iter().find(|allowed| matches!(allowed, WebOrigin::Any));
    config.cors_origin.iter().find(exact).or_else(any)
}
