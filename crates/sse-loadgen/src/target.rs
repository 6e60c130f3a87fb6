//! Where requests go: a URL template, taken apart into an address and a path.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::template::Template;

/// What a server's logs may call this tool.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Only plain HTTP is spoken.
    #[error("{0:?} does not begin with http://")]
    Scheme(String),
    /// The host and port do not resolve.
    #[error("{authority:?} is not an address that can be reached")]
    Authority {
        /// What stood between `http://` and the path.
        authority: String,
        /// What the resolver said.
        source: std::io::Error,
    },
    /// A header line that would break the request.
    #[error("{0:?} is not a header, NAME: VALUE")]
    Header(String),
}

/// One URL template with the headers that go along.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) template: Template,
    /// `Host`, `User-Agent` and the user's headers, each line with its end.
    headers: String,
}

impl Target {
    pub(crate) fn parse(url: &str, headers: &[String]) -> Result<Self, TargetError> {
        let rest = url.strip_prefix("http://").ok_or_else(|| TargetError::Scheme(url.to_owned()))?;
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let addr =
            resolve(authority).map_err(|source| TargetError::Authority { authority: authority.to_owned(), source })?;
        let mut lines = format!("Host: {authority}\r\nUser-Agent: {USER_AGENT}\r\n");
        for header in headers {
            lines.push_str(check_header(header)?);
            lines.push_str("\r\n");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { addr, template: Template::parse(&path), headers: lines })
    }

    /// The request that follows `topics`.
    pub(crate) fn follow(&self, topics: &[String]) -> Vec<u8> {
        let (path, _) = self.template.render(topics);
        format!("GET {path} HTTP/1.1\r\nAccept: text/event-stream\r\n{}\r\n", self.headers).into_bytes()
    }

    /// Appends the head of a publish to `topics` with a body of `length` bytes.
    pub(crate) fn publish(&self, topics: &[String], length: usize, out: &mut Vec<u8>) {
        let (path, _) = self.template.render(topics);
        let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {length}\r\n{}\r\n", self.headers);
        out.extend_from_slice(head.as_bytes());
    }
}

fn resolve(authority: &str) -> std::io::Result<SocketAddr> {
    let mut addrs = match authority.to_socket_addrs() {
        Ok(addrs) => addrs,
        Err(_) => (authority, 80).to_socket_addrs()?,
    };
    addrs.next().ok_or_else(|| std::io::ErrorKind::AddrNotAvailable.into())
}

fn check_header(line: &str) -> Result<&str, TargetError> {
    let name = line.split(':').next().unwrap_or_default();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    if is_name && line.len() > name.len() && !line.contains(['\r', '\n', '\0']) {
        Ok(line)
    } else {
        Err(TargetError::Header(line.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_host_topic_and_headers() {
        let target = Target::parse("http://127.0.0.1:81/events/{topic}", &["X-A: b".to_owned()]).unwrap();
        assert_eq!(target.addr, SocketAddr::from(([127, 0, 0, 1], 81)));
        let request = String::from_utf8(target.follow(&["t".to_owned()])).unwrap();
        let expected = format!(
            "GET /events/t HTTP/1.1\r\nAccept: text/event-stream\r\nHost: 127.0.0.1:81\r\n\
            User-Agent: {USER_AGENT}\r\nX-A: b\r\n\r\n"
        );
        assert_eq!(request, expected);
        let mut publish = Vec::new();
        target.publish(&["t".to_owned()], 5, &mut publish);
        assert!(publish.starts_with(b"POST /events/t HTTP/1.1\r\nContent-Length: 5\r\n"));
    }

    #[test]
    fn a_port_and_a_path_may_be_left_out() {
        let target = Target::parse("http://127.0.0.1?{topic=*}", &[]).unwrap();
        assert_eq!(target.addr.port(), 80);
        assert!(target.follow(&["t".to_owned()]).starts_with(b"GET /?topic=t HTTP/1.1\r\n"));
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        assert!(matches!(Target::parse("https://127.0.0.1/", &[]), Err(TargetError::Scheme(_))));
        assert!(matches!(Target::parse("http://127.0.0.1:x/", &[]), Err(TargetError::Authority { .. })));
        for header in ["no colon", ": v", "A: b\r\nC: d", "A B: c"] {
            let result = Target::parse("http://127.0.0.1/", &[header.to_owned()]);
            assert!(matches!(result, Err(TargetError::Header(_))), "{header}");
        }
    }
}
