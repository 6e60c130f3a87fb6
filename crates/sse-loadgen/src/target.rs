//! Where requests go: a URL template, taken apart into an address and a path.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use crate::template::Template;
use crate::tls::{Protocol, Trust};

/// What a server's logs may call this tool.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Nothing but HTTP is spoken.
    #[error("{0:?} does not begin with http:// or https://")]
    Scheme(String),
    /// Nobody is trusted but who is named.
    #[error("https:// needs a file with the certificates to trust")]
    NoCaFile,
    /// The certificates to trust, or the host's name, cannot be used.
    #[error("TLS with {host:?} cannot be spoken")]
    Tls {
        /// Whom the server's certificate has to name.
        host: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The host and port do not resolve.
    #[error("{authority:?} is not an address that can be reached")]
    Authority {
        /// What stood between the scheme and the path.
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
    /// How to speak TLS, where that is spoken.
    pub(crate) trust: Option<Trust>,
    authority: String,
    /// `User-Agent` and the user's headers, each line with its end.
    headers: String,
}

impl Target {
    pub(crate) fn parse(
        url: &str,
        headers: &[String],
        ca_file: Option<&Path>,
        protocol: Protocol,
    ) -> Result<Self, TargetError> {
        let (rest, is_tls) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => return Err(TargetError::Scheme(url.to_owned())),
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let addr = resolve(authority, if is_tls { 443 } else { 80 })
            .map_err(|source| TargetError::Authority { authority: authority.to_owned(), source })?;
        let trust = if is_tls { Some(trust(authority, ca_file, protocol)?) } else { None };
        let mut lines = format!("User-Agent: {USER_AGENT}\r\n");
        for header in headers {
            lines.push_str(check_header(header)?);
            lines.push_str("\r\n");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { addr, template: Template::parse(&path), trust, authority: authority.to_owned(), headers: lines })
    }

    /// The request that follows `topics`.
    pub(crate) fn follow(&self, topics: &[String]) -> Vec<u8> {
        let (path, _) = self.template.render(topics);
        let Self { authority, headers, .. } = self;
        format!("GET {path} HTTP/1.1\r\nAccept: text/event-stream\r\nHost: {authority}\r\n{headers}\r\n").into_bytes()
    }

    /// The same request as the fields of HTTP/2 (RFC 9113, section 8.3.1).
    pub(crate) fn follow_fields(&self, topics: &[String]) -> Vec<(String, String)> {
        let (path, _) = self.template.render(topics);
        let scheme = if self.trust.is_some() { "https" } else { "http" };
        let fields = [
            (":method", "GET"),
            (":scheme", scheme),
            (":authority", &self.authority),
            (":path", &path),
            ("accept", "text/event-stream"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let lines = self.headers.lines().filter_map(|line| line.split_once(':'));
        fields.into_iter().chain(lines.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))).collect()
    }

    /// Appends the head of a publish to `topics` with a body of `length` bytes.
    pub(crate) fn publish(&self, topics: &[String], length: usize, out: &mut Vec<u8>) {
        let (path, _) = self.template.render(topics);
        let Self { authority, headers, .. } = self;
        let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {length}\r\nHost: {authority}\r\n{headers}\r\n");
        out.extend_from_slice(head.as_bytes());
    }
}

fn trust(authority: &str, ca_file: Option<&Path>, protocol: Protocol) -> Result<Trust, TargetError> {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = authority.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(authority, |(host, _)| host);
    let ca_file = ca_file.ok_or(TargetError::NoCaFile)?;
    Trust::new(ca_file, host, protocol).map_err(|source| TargetError::Tls { host: host.to_owned(), source })
}

fn resolve(authority: &str, port: u16) -> std::io::Result<SocketAddr> {
    let mut addrs = match authority.to_socket_addrs() {
        Ok(addrs) => addrs,
        Err(_) => (authority, port).to_socket_addrs()?,
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

    fn parse(url: &str, headers: &[String]) -> Result<Target, TargetError> {
        Target::parse(url, headers, None, Protocol::Http1)
    }

    #[test]
    fn a_request_names_host_topic_and_headers() {
        let target = parse("http://127.0.0.1:81/events/{topic}", &["X-A: b".to_owned()]).unwrap();
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
        let fields = target.follow_fields(&["t".to_owned()]);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        assert_eq!(
            fields[..4],
            [(":method", "GET"), (":scheme", "http"), (":authority", "127.0.0.1:81"), (":path", "/events/t")]
        );
        assert_eq!(fields[4..], [("accept", "text/event-stream"), ("user-agent", USER_AGENT), ("x-a", "b")]);
    }

    #[test]
    fn a_port_and_a_path_may_be_left_out() {
        let target = parse("http://127.0.0.1?{topic=*}", &[]).unwrap();
        assert_eq!(target.addr.port(), 80);
        assert!(target.follow(&["t".to_owned()]).starts_with(b"GET /?topic=t HTTP/1.1\r\n"));
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        assert!(matches!(parse("ftp://127.0.0.1/", &[]), Err(TargetError::Scheme(_))));
        assert!(matches!(parse("https://127.0.0.1/", &[]), Err(TargetError::NoCaFile)));
        let file = Some(Path::new("/nonexistent"));
        let result = Target::parse("https://127.0.0.1/", &[], file, Protocol::Http1);
        assert!(matches!(result, Err(TargetError::Tls { host, .. }) if host == "127.0.0.1"));
        assert!(matches!(parse("http://127.0.0.1:x/", &[]), Err(TargetError::Authority { .. })));
        for header in ["no colon", ": v", "A: b\r\nC: d", "A B: c"] {
            let result = parse("http://127.0.0.1/", &[header.to_owned()]);
            assert!(matches!(result, Err(TargetError::Header(_))), "{header}");
        }
    }
}
