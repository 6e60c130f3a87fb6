//! What a client says it can decode.

use hyper::header::{ACCEPT_ENCODING, HeaderMap};

/// Whether the client takes gzip, and would not rather have the text as it is (RFC 9110, 12.5.3).
pub(crate) fn accepts_gzip(request: &HeaderMap) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, None);
    for value in request.get_all(ACCEPT_ENCODING) {
        let Ok(list) = value.to_str() else { return false };
        for (coding, weight) in list.split(',').filter_map(coding) {
            let slot = match coding.to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => &mut gzip,
                "identity" => &mut identity,
                "*" => &mut any,
                _ => continue,
            };
            *slot = (*slot).max(Some(weight));
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// A coding and its weight in thousandths. One that is not written as it should be is not accepted.
fn coding(item: &str) -> Option<(&str, u16)> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = match (parts.next(), parts.next()) {
        (None, _) => 1000,
        (Some(parameter), None) => weight(parameter).unwrap_or(0),
        (Some(_), Some(_)) => 0,
    };
    Some((name, weight))
}

/// `q=0.5` (RFC 9110, 12.4.2).
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim_end().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, decimals) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn check(fields: &[&'static str], expected: bool) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(field));
        }
        assert_eq!(accepts_gzip(&headers), expected, "{fields:?}");
    }

    #[test]
    fn a_client_says_that_it_takes_gzip() {
        for list in [
            "gzip",
            "x-gzip",
            "GZip",
            "gzip, deflate, br, zstd",
            "br;q=1.0, gzip;q=0.8, *;q=0.1",
            "gzip;q=0.001",
            "gzip ; Q=1.000 , identity;q=0.5",
            "*",
            "identity;q=0, *;q=0.2",
            ",,gzip,",
        ] {
            check(&[list], true);
        }
        check(&["br", "gzip"], true);
    }

    #[test]
    fn or_that_it_does_not() {
        for list in [
            "",
            "identity",
            "br",
            "gzip;q=0",
            "gzip;q=0.000",
            "*, gzip;q=0",
            "*;q=0",
            "identity, gzip;q=0.9",
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.0001",
            "gzip;q=",
            "gzip;q=-1",
            "gzip;level=1",
            "gzip;q=0.5;q=1",
            "gzipped",
        ] {
            check(&[list], false);
        }
        check(&[], false);
    }
}
