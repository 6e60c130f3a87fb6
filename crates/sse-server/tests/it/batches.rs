//! Writers that send to many streams by one system call, and those that call for each: nobody can tell, but for the CPU.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{Server, Stream};

/// Of one topic on one writer: enough for several batches.
const STREAMS: usize = 100;
const EVENTS: usize = 40;

#[test]
fn by_io_uring_everybody_gets_everything() {
    let server = start("auto");
    let rings = rings(&server);
    let refused =
        server.log.lines().iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains("io_uring")));
    // Where the kernel gives none to this process, that is said and changes nothing.
    assert!(rings == 1 || refused, "{rings} rings");
    everybody_gets_everything(&server);
}

#[test]
fn one_by_one_everybody_gets_everything() {
    let server = start("off");
    assert_eq!(rings(&server), 0);
    everybody_gets_everything(&server);
}

fn start(io_uring: &str) -> Server {
    let flags = ["--writers", "1", "--io-uring", io_uring, "--lag-grace", "1m", "--write-timeout", "1m"];
    Server::start(&[flags.as_slice(), &["--ring-bytes-max", "64MiB", "--ring-frames-max", "10000"]].concat())
}

/// Rings of the kernel that the server holds.
fn rings(server: &Server) -> usize {
    // Its writers open them as they start, before anything can be served by them.
    server.subscribe("first").open();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let is_ring = |target: &std::path::PathBuf| target.to_string_lossy().contains("io_uring");
    descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).filter(is_ring).count()
}

/// Some read as it comes, some only afterwards, when their sockets are long full, and some leave in between.
fn everybody_gets_everything(server: &Server) {
    let text = |event: usize| format!("{event:04} {}", "x".repeat(if event.is_multiple_of(4) { 100_000 } else { 100 }));
    let open = |count: usize| (0..count).map(|_| server.subscribe("a").open()).collect::<Vec<Stream>>();
    let (mut readers, mut leaving) = (open(STREAMS / 2), open(EVENTS));
    let mut sleepers: Vec<Stream> = (0..10).map(|_| server.subscribe("a").open_with_tiny_buffer()).collect();
    for event in 0..EVENTS {
        server.publish("a", &text(event));
        leaving.pop();
        readers.iter_mut().for_each(|stream| assert_eq!(stream.next_data(), text(event)));
    }
    for stream in &mut sleepers {
        (0..EVENTS).for_each(|event| assert_eq!(stream.next_data(), text(event)));
    }
}

/// Rounds to many streams take turns with everything else: who leaves between two turns takes nobody along.
#[test]
fn who_leaves_within_a_round_takes_nobody_along() {
    const STAY: usize = 300;
    let server = start("auto");
    let open = |count: usize| (0..count).map(|_| server.subscribe("a").open()).collect::<Vec<Stream>>();
    let (mut leave, mut stay) = (Vec::new(), Vec::new());
    // One after the other, so that they lie among each other in the writer's lists.
    for _ in 0..STAY {
        stay.extend(open(1));
        leave.extend(open(1));
    }
    let done = AtomicBool::new(false);
    let ids = std::thread::scope(|scope| {
        let leaving = scope.spawn(|| {
            for stream in leave {
                drop(stream);
                std::thread::sleep(Duration::from_millis(2));
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut ids = Vec::new();
        while !done.load(Ordering::Relaxed) {
            ids.push(server.publish("a", "x"));
        }
        leaving.join().unwrap();
        ids
    });
    let last = server.publish("a", "for all who stayed");
    for stream in &mut stay {
        for id in ids.iter().chain([&last]) {
            assert_eq!(&stream.next_event().id, id);
        }
    }
}
