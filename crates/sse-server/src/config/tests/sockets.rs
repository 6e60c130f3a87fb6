//! Sockets that a service manager passes take the place of addresses, and are held to the same rules.

use std::net::SocketAddr;

use super::super::Command;
use super::load_with_sockets;

const FILE: &str = "listen = [\"127.0.0.1:1\"]\nadmin_listen = \"127.0.0.1:2\"";

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn they_take_the_place_of_addresses_of_every_layer() {
    let sockets = [("listen", addr("127.0.0.1:80")), ("listen", addr("[::1]:80")), ("admin_listen", addr("[::1]:81"))];
    let loaded = load_with_sockets(&sockets, FILE, &[("SSE_LISTEN", "127.0.0.1:3")], &["--admin-listen", "off"]);
    let Ok(Command::Serve(config)) = loaded else { panic!("expected to serve, got {loaded:?}") };
    assert_eq!(config.listen, [addr("127.0.0.1:80"), addr("[::1]:80")]);
    assert_eq!(config.admin_listen, Some(addr("[::1]:81")));
    let loaded = load_with_sockets(&sockets[..2], FILE, &[], &[]);
    let Ok(Command::Serve(config)) = loaded else { panic!("expected to serve, got {loaded:?}") };
    assert_eq!(config.admin_listen, Some(addr("127.0.0.1:2")), "no socket was passed for it");
}

/// Otherwise a unit that listens everywhere would be open to everybody, whatever the file says.
#[test]
fn they_need_the_keys_that_an_address_needs() {
    let sockets = [("listen", addr("0.0.0.0:80")), ("admin_listen", addr("0.0.0.0:81"))];
    let error = load_with_sockets(&sockets, FILE, &[], &[]).expect_err("no key protects it");
    let shown = error.to_string();
    assert!(shown.contains("socket of the service manager: 0.0.0.0:80 is not loopback"), "{shown}");
    assert!(shown.contains("socket of the service manager: ") && shown.contains("admin"), "{shown}");
}
