//! Variables that Kubernetes sets in every pod for each service of its namespace.
//!
//! A service called `sse` or `sse-server` makes names that begin as this server's do: `SSE_SERVICE_HOST`,
//! `SSE_SERVER_PORT_8080_TCP_ADDR` and so on. Nobody meant the server by them. They are told by their values too, so that
//! a mistake such as `SSE_PORT=8080` is still refused.

use std::net::IpAddr;

/// Whether a variable is one of a service.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    if name.ends_with("_SERVICE_HOST") {
        return value.parse::<IpAddr>().is_ok();
    }
    if name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return is_port(value);
    }
    if name.ends_with("_PORT") && is_address(value) {
        return true;
    }
    match link_part(name) {
        Some("") => is_address(value),
        Some("_PROTO") => matches!(value, "tcp" | "udp" | "sctp"),
        Some("_PORT") => is_port(value),
        Some("_ADDR") => value.parse::<IpAddr>().is_ok(),
        _ => false,
    }
}

/// `tcp://10.0.0.1:8080`.
fn is_address(value: &str) -> bool {
    let Some((protocol, address)) = value.split_once("://") else { return false };
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    matches!(protocol, "tcp" | "udp" | "sctp") && host.parse::<IpAddr>().is_ok() && port.parse::<u16>().is_ok()
}

/// What follows `.._PORT_8080_TCP`.
fn link_part(name: &str) -> Option<&str> {
    let (_, link) = name.split_once("_PORT_")?;
    let (port, rest) = link.split_once('_')?;
    let part = ["TCP", "UDP", "SCTP"].iter().find_map(|protocol| rest.strip_prefix(protocol))?;
    port.parse::<u16>().is_ok().then_some(part)
}
