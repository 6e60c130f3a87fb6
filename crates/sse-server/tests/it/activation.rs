//! Sockets of a service manager: the server takes them in the place of its own, and they are there while it is not.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use crate::harness::{Connection, Launch, Request, Sockets};

const NAMES: (&str, &str) = ("NAMES", "public:admin");

fn launch(sockets: &Sockets, flags: &[&str]) -> Launch {
    Launch::new(flags).sockets(sockets).environment(NAMES.0, NAMES.1)
}

#[test]
fn it_serves_on_the_sockets_that_it_is_passed() {
    let sockets = Sockets::open();
    let server = launch(&sockets, &[]).start();
    assert_eq!(server.addrs(), [sockets.public.local_addr().unwrap()]);
    assert_eq!(server.admin_addr(), sockets.admin.local_addr().unwrap());
    let mut stream = server.subscribe("a").open();
    server.publish("a", "through the socket");
    assert_eq!(stream.next_data(), "through the socket");
    assert_eq!(server.admin("/readyz").send().status(), 200);
}

#[test]
fn a_socket_without_a_name_is_public() {
    let sockets = Sockets::open();
    let names = "sse-server.socket:unknown";
    let server = Launch::new(&[]).sockets(&sockets).environment("NAMES", names).start();
    let passed = [&sockets.public, &sockets.admin].map(|listener| listener.local_addr().unwrap());
    assert_eq!(server.addrs(), passed);
    assert!(!passed.contains(&server.admin_addr()), "it listens for itself");
}

#[test]
fn who_comes_while_it_is_away_is_served_when_it_is_back() {
    let sockets = Sockets::open();
    let addr = sockets.public.local_addr().unwrap();
    let mut early = Request::new(addr, "POST", "/events/a").body("early").start();
    let mut server = launch(&sockets, &[]).start();
    assert_eq!(early.reply().status(), 200);
    server.signal(Signal::TERM);
    assert!(server.wait_exit().success());
    let mut between = Request::new(addr, "POST", "/events/a").body("between").start();
    let _server = launch(&sockets, &[]).start();
    assert_eq!(between.reply().status(), 200);
}

/// Every publish on a connection of its own, through five restarts.
#[test]
fn no_request_is_refused_or_broken_off_during_restarts() {
    const RESTARTS: usize = 5;
    let sockets = Sockets::open();
    let addr = sockets.public.local_addr().unwrap();
    let flags = ["--drain-window", "100ms"];
    let mut server = launch(&sockets, &flags).start();
    let is_over = AtomicBool::new(false);
    let publish = || {
        let (mut answered, mut broken) = (0, 0);
        while !is_over.load(Ordering::Relaxed) {
            let request = Request::new(addr, "POST", "/events/a").field("Connection", "close").body("x");
            // Refused, and the test fails here.
            let mut connection = Connection::open(addr);
            connection.send(request.bytes());
            if connection.is_answered() {
                assert_eq!(connection.reply().status(), 200);
                answered += 1;
            } else {
                broken += 1;
            }
        }
        (answered, broken)
    };
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..4).map(|_| scope.spawn(publish)).collect();
        for _ in 0..RESTARTS {
            let mut stream = server.subscribe("b").open();
            server.signal(Signal::TERM);
            assert_eq!(stream.next_event().event_type, "sse.reconnect");
            drop(stream);
            assert!(server.wait_exit().success());
            server = launch(&sockets, &flags).start();
        }
        is_over.store(true, Ordering::Relaxed);
        for publisher in publishers {
            let (answered, broken) = publisher.join().unwrap();
            assert!(answered > RESTARTS && broken == 0, "{answered} answered, {broken} broken off");
        }
    });
}

#[test]
fn what_is_no_listener_of_the_server_ends_the_start() {
    let refusal = |names: &str| {
        let output = Launch::new(&[]).sockets(&Sockets::open()).environment("NAMES", names).finish();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refusal("public:admn").contains("no listener `admn`"), "{}", refusal("public:admn"));
    assert!(refusal("admin:admin").contains("two sockets for the admin listener"), "{}", refusal("admin:admin"));
    assert!(refusal("public").contains("LISTEN_FDS"), "one name for two sockets: {}", refusal("public"));
}

/// A unit that listens everywhere is no way around the rule.
#[test]
fn an_address_off_loopback_needs_a_key_as_any_other() {
    let open = || std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let sockets = Sockets { public: open(), admin: open() };
    let output = launch(&sockets, &[]).finish();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("socket of the service manager: 0.0.0.0:") && said.contains("no publisher key"), "{said}");
}
