//! What a service manager is told, on the socket that it names.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{DEADLINE, DataDir, Launch};

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _dir: DataDir,
}

impl Manager {
    fn new() -> Self {
        let dir = DataDir::new();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, path, _dir: dir }
    }

    fn launch(&self, flags: &[&str]) -> Launch {
        Launch::new(flags).environment("NOTIFY_SOCKET", self.path.to_str().unwrap())
    }

    /// The lines of the next message.
    #[track_caller]
    fn next(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let len = self.socket.recv(&mut message).expect("a message");
        String::from_utf8(message[..len].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_service_manager_is_told_of_the_start_and_of_the_end() {
    let manager = Manager::new();
    let mut server = manager.launch(&["--drain-window", "1s"]).start();
    let status = format!("STATUS=serving on {}", server.addr());
    assert_eq!(manager.next(), ["READY=1", &status]);
    server.publish("a", "ready means that it serves");
    server.signal(Signal::TERM);
    // The window, and what ending may take beyond it.
    assert_eq!(manager.next(), ["STOPPING=1", "EXTEND_TIMEOUT_USEC=11000000", "STATUS=draining over 1 s"]);
    assert!(server.wait_exit().success());
}

#[test]
fn the_service_manager_is_told_of_a_reload_and_of_its_end() {
    let manager = Manager::new();
    let server = manager.launch(&[]).start();
    assert_eq!(manager.next()[0], "READY=1");
    server.signal(Signal::HUP);
    let reloading = manager.next();
    assert!(reloading[0] == "RELOADING=1" && reloading[1].starts_with("MONOTONIC_USEC="), "{reloading:?}");
    assert_eq!(manager.next(), ["READY=1"]);
    server.publish("a", "it serves on");
}

#[test]
fn the_watchdog_is_told_in_time_while_the_server_works_and_while_it_drains() {
    let manager = Manager::new();
    let mut server = manager.launch(&["--drain-window", "1s"]).environment("WATCHDOG_USEC", "2000000").start();
    assert_eq!(manager.next()[0], "READY=1");
    let _stream = server.subscribe("a").open();
    let mut last = Instant::now();
    for _ in 0..3 {
        assert_eq!(manager.next(), ["WATCHDOG=1"]);
        assert!(last.elapsed() < Duration::from_secs(2), "{:?}", last.elapsed());
        last = Instant::now();
    }
    server.signal(Signal::TERM);
    let mut told = [manager.next(), manager.next()].concat();
    told.sort();
    assert_eq!(told.last().unwrap(), "WATCHDOG=1", "{told:?}");
    assert!(server.wait_exit().success());
}

#[test]
fn a_manager_that_is_not_there_is_no_reason_not_to_serve() {
    let server = Launch::new(&[]).environment("NOTIFY_SOCKET", "/nowhere/notify").start();
    server.publish("a", "served");
    server.log.wait_for("cannot notify the service manager", |_| true);
}
