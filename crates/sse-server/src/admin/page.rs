//! The admin page: three files, from the binary.

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response};

use crate::http::{Problem, ReplyBody, full};

/// What the page may do: load its own files, and ask this listener. Nothing that gets into it from outside is ever run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A file of the page.
#[derive(Debug)]
pub(super) struct PageFile {
    path: &'static str,
    media_type: &'static str,
    text: &'static str,
}

const FILES: [PageFile; 4] = [
    PageFile { path: "/", media_type: "text/html; charset=utf-8", text: include_str!("../../page/index.html") },
    PageFile { path: "/page.css", media_type: "text/css; charset=utf-8", text: include_str!("../../page/page.css") },
    PageFile {
        path: "/page.js",
        media_type: "text/javascript; charset=utf-8",
        text: include_str!("../../page/page.js"),
    },
    PageFile { path: "/icon.svg", media_type: "image/svg+xml", text: include_str!("../../page/icon.svg") },
];

impl PageFile {
    /// The file at this path. There is nothing secret in any: the page asks for the token.
    pub(super) fn at(path: &str) -> Option<&'static Self> {
        FILES.iter().find(|file| file.path == path)
    }

    /// # Errors
    /// 405.
    pub(super) fn answer(&self, method: &Method) -> Result<Response<ReplyBody>, Problem> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Problem::method_not_allowed("GET, HEAD"));
        }
        let mut response = Response::new(full(self.text));
        let fields = [
            (CONTENT_TYPE, self.media_type),
            // Another version of the server has another page.
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (OPENER_POLICY, "same-origin"),
            (RESOURCE_POLICY, "same-origin"),
        ];
        for (name, value) in fields {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }
}
