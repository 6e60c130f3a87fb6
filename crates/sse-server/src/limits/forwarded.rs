//! What proxies say about whom they forward for: `X-Forwarded-For`, and `Forwarded` (RFC 7239).

use std::net::{IpAddr, SocketAddr};

use hyper::header::{FORWARDED, HeaderMap, HeaderName};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client behind the trusted proxy `peer`. Each proxy appends the address it was asked from, and whatever stands to
/// the left of the first one that is not trusted was written by the client itself: so this walks from the right, and
/// stops there.
///
/// A proxy that writes one of the two fields lets the other through as the client sent it. Where both are there and differ,
/// neither is believed.
pub(super) fn client(peer: SocketAddr, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> SocketAddr {
    let last = |name: &HeaderName, read: fn(&str) -> Vec<Option<SocketAddr>>| {
        let values = headers.get_all(name);
        let hops: Vec<_> = values.iter().flat_map(|value| read(value.to_str().unwrap_or(""))).collect();
        headers.contains_key(name).then(|| walk(peer, &hops, &is_trusted))
    };
    match (last(&X_FORWARDED_FOR, plain_hops), last(&FORWARDED, forwarded_hops)) {
        (Some(one), Some(other)) if one.ip() != other.ip() => peer,
        (Some(client), _) | (None, Some(client)) => client,
        (None, None) => peer,
    }
}

/// The last hop from the right that a trusted one vouches for. One that is not told ends the walk.
fn walk(peer: SocketAddr, hops: &[Option<SocketAddr>], is_trusted: &impl Fn(IpAddr) -> bool) -> SocketAddr {
    let mut client = peer;
    for hop in hops.iter().rev() {
        match hop {
            Some(hop) if is_trusted(client.ip()) => client = *hop,
            _ => break,
        }
    }
    client
}

fn plain_hops(value: &str) -> Vec<Option<SocketAddr>> {
    value.split(',').map(|hop| parse(hop.trim())).collect()
}

fn forwarded_hops(value: &str) -> Vec<Option<SocketAddr>> {
    split_outside_quotes(value, ',').into_iter().map(forwarded_for).collect()
}

/// The `for` of one element.
fn forwarded_for(element: &str) -> Option<SocketAddr> {
    split_outside_quotes(element, ';')
        .into_iter()
        .find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
        })
        .and_then(parse)
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(|c: char| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
    .collect()
}

/// An address with or without a port, IPv6 with or without brackets. A port that is not told is 0.
fn parse(text: &str) -> Option<SocketAddr> {
    let without_brackets = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = without_brackets.parse().map(|address: IpAddr| SocketAddr::new(address, 0));
    let address = address.ok().or_else(|| text.parse().ok())?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    /// The client that a chain of proxies in 10.0.0.0/8 tells of, the last of which is the peer 10.0.0.1.
    fn check(fields: &[(&str, &str)], expected: &str) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let is_trusted = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.octets()[0] == 10);
        let found = client("10.0.0.1:5000".parse().unwrap(), &headers, is_trusted);
        assert_eq!(found.to_string(), expected, "{fields:?}");
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_counts() {
        check(&[], "10.0.0.1:5000");
        for (value, expected) in [
            ("192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1:4711", "192.0.2.1:4711"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("::ffff:192.0.2.1", "192.0.2.1:0"),
            // What the client wrote itself stands further left.
            ("198.51.100.7, 192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1, 10.0.0.2", "192.0.2.1:0"),
            ("198.51.100.7, 192.0.2.1, 10.0.0.3,10.0.0.2", "192.0.2.1:0"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3:0"),
            ("192.0.2.1, unknown", "10.0.0.1:5000"),
            ("192.0.2.1, , 10.0.0.2", "10.0.0.2:0"),
            ("evil\"; drop", "10.0.0.1:5000"),
            ("", "10.0.0.1:5000"),
        ] {
            check(&[("X-Forwarded-For", value)], expected);
        }
        check(&[("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-For", "192.0.2.1")], "192.0.2.1:0");
    }

    #[test]
    fn forwarded_is_read_too() {
        for (value, expected) in [
            ("for=192.0.2.1", "192.0.2.1:0"),
            ("For=\"192.0.2.1:4711\";proto=http;by=10.0.0.9", "192.0.2.1:4711"),
            ("for=198.51.100.7, proto=https; for=\"[2001:db8::1]:80\"", "[2001:db8::1]:80"),
            ("for=192.0.2.1;host=\"a,b;for=198.51.100.7\", for=10.0.0.2", "192.0.2.1:0"),
            ("for=192.0.2.1, for=_hidden", "10.0.0.1:5000"),
            ("proto=https", "10.0.0.1:5000"),
        ] {
            check(&[("Forwarded", value)], expected);
        }
    }

    /// A proxy that knows one field passes the other on as the client wrote it.
    #[test]
    fn two_fields_that_differ_are_not_believed() {
        check(&[("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1")], "192.0.2.1:0");
        check(&[("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=198.51.100.7")], "10.0.0.1:5000");
    }
}
