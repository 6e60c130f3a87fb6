//! The token of a request, wherever it stands.

use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, ORIGIN, REFERER};
use hyper::{Method, Request};

use super::AccessError;
use crate::config::OriginPattern;

/// A token as it came, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credential<'a> {
    pub(crate) token: &'a str,
    pub(crate) by: Carrier,
}

/// How a token came. Browsers send cookies by themselves, so a page of anybody's can have one sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Header,
    Query,
    Cookie,
}

/// Finds the token: header, query, cookie; the first that is there is used alone, good or not.
///
/// # Errors
/// [`AccessError::Invalid`] for a credential that cannot be read.
pub(crate) fn find<'a, B>(
    request: &'a Request<B>,
    query_token: Option<&'a str>,
    cookie_name: &str,
) -> Result<Option<Credential<'a>>, AccessError> {
    if let Some(token) = bearer(request.headers())? {
        return Ok(Some(Credential { token, by: Carrier::Header }));
    }
    if let Some(token) = query_token {
        return Ok(Some(Credential { token, by: Carrier::Query }));
    }
    let cookie = cookie(request.headers(), cookie_name)?;
    Ok(cookie.map(|token| Credential { token, by: Carrier::Cookie }))
}

/// The token of the one `Authorization` field. The scheme's name is read in any case (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AccessError> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(AccessError::Invalid);
    }
    let text = field.to_str().map_err(|_| AccessError::Invalid)?;
    let (scheme, token) = text.split_once(' ').ok_or(AccessError::Invalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AccessError::Invalid);
    }
    Ok(Some(token.trim_matches(' ')))
}

/// The cookie's value. Of two with the name, which a browser sends for two paths, nobody can tell which counts.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, AccessError> {
    let mut found = None;
    for field in headers.get_all(COOKIE) {
        // Other cookies may hold any bytes.
        for pair in field.as_bytes().split(|&byte| byte == b';') {
            let pair = pair.trim_ascii();
            let Some(value) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) else {
                continue;
            };
            let value = std::str::from_utf8(value).map_err(|_| AccessError::Invalid)?;
            if found.is_some_and(|earlier| earlier != value) {
                return Err(AccessError::Invalid);
            }
            found = Some(value);
        }
    }
    Ok(found.filter(|value| !value.is_empty()))
}

/// Whether a page that has a browser send the cookie may do more than read: its origin must be known and let in.
pub(crate) fn may_write_with_cookie<B>(request: &Request<B>, origins: &[OriginPattern]) -> bool {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return true;
    }
    let origin = match request.headers().get(ORIGIN) {
        Some(origin) => origin.to_str().ok(),
        None => request.headers().get(REFERER).and_then(|referer| referer.to_str().ok()).and_then(origin_of),
    };
    origin.is_some_and(|origin| origins.iter().any(|allowed| allowed.matches(origin)))
}

/// `scheme://authority` of a URL.
fn origin_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    url.get(..scheme.len() + "://".len() + authority.len())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::config::WebOrigin;

    fn found(fields: &[(&'static str, &'static str)], query: Option<&str>) -> Result<Option<String>, AccessError> {
        let mut request = Request::new(());
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        find(&request, query, "auth").map(|found| found.map(|found| format!("{:?} {}", found.by, found.token)))
    }

    #[test]
    fn the_first_that_is_there_is_used_alone() {
        let all = [("authorization", "Bearer h"), ("cookie", "auth=c")];
        assert_eq!(found(&all, Some("q")), Ok(Some("Header h".to_owned())));
        assert_eq!(found(&all[1..], Some("q")), Ok(Some("Query q".to_owned())));
        assert_eq!(found(&all[1..], None), Ok(Some("Cookie c".to_owned())));
        assert_eq!(found(&[], None), Ok(None));
        for unreadable in ["Basic x", "Bearer", "h", "Bearerh"] {
            let fields = [("authorization", unreadable), ("cookie", "auth=c")];
            assert_eq!(found(&fields, Some("q")), Err(AccessError::Invalid), "{unreadable}");
        }
        let twice = [("authorization", "Bearer h"), ("authorization", "Bearer h")];
        assert_eq!(found(&twice, None), Err(AccessError::Invalid));
        assert_eq!(found(&[("authorization", "bEARER  h ")], None), Ok(Some("Header h".to_owned())));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let cookie = |text| found(&[("cookie", text)], None);
        assert_eq!(cookie("a=1; auth=x.y.z;b=2"), Ok(Some("Cookie x.y.z".to_owned())));
        assert_eq!(cookie("xauth=1; auth2=2; Auth=3"), Ok(None));
        assert_eq!(cookie("auth="), Ok(None));
        assert_eq!(cookie("auth=x; auth=y"), Err(AccessError::Invalid));
        assert_eq!(found(&[("cookie", "auth=x"), ("cookie", "auth=x")], None), Ok(Some("Cookie x".to_owned())));
    }

    #[test]
    fn the_origin_is_taken_from_the_referer_too() {
        for (url, origin) in [
            ("https://a.test/x?y", Some("https://a.test")),
            ("https://a.test", Some("https://a.test")),
            ("https://a.test:8443?x", Some("https://a.test:8443")),
            ("about:blank", None),
        ] {
            assert_eq!(origin_of(url), origin, "{url}");
        }
    }

    #[test]
    fn a_cookie_writes_only_for_pages_that_are_let_in() {
        let origins = [OriginPattern::Plain(WebOrigin::Exact("https://a.test".into()))];
        let may = |method: Method, field: Option<(&'static str, &'static str)>| {
            let mut request = Request::new(());
            *request.method_mut() = method;
            if let Some((name, value)) = field {
                request.headers_mut().append(name, HeaderValue::from_static(value));
            }
            may_write_with_cookie(&request, &origins)
        };
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(may(method.clone(), None) && may(method, Some(("origin", "https://b.test"))));
        }
        for method in [Method::POST, Method::DELETE, Method::PUT] {
            assert!(!may(method.clone(), None), "{method}");
            assert!(may(method.clone(), Some(("origin", "https://a.test"))), "{method}");
            assert!(!may(method.clone(), Some(("origin", "https://b.test"))), "{method}");
            assert!(may(method.clone(), Some(("referer", "https://a.test/page"))), "{method}");
            assert!(!may(method.clone(), Some(("referer", "https://b.test/https://a.test"))), "{method}");
        }
    }
}
