//! What the process tells of its time and its memory.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Reply, Server};

const TOKEN: [&str; 2] = ["--admin-token", "a-token-of-some-length"];

/// Fetches a profile while events go to many streams, until one has caught a function.
#[test]
fn a_profile_shows_the_rounds_and_streams_go_on() {
    let server = Server::start(&TOKEN);
    let mut streams: Vec<_> = (0..50).map(|_| server.subscribe("a").open()).collect();
    let is_over = AtomicBool::new(false);
    let (profile, published) = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut published = 0;
            while !is_over.load(Ordering::Relaxed) {
                server.publish("a", &published.to_string());
                published += 1;
                for stream in &mut streams {
                    assert_eq!(stream.next_data(), (published - 1).to_string());
                }
            }
            published
        });
        let profile = fetch(&server, "?seconds=2");
        is_over.store(true, Ordering::Relaxed);
        (profile, publisher.join().unwrap())
    });
    assert!(published > 10, "{published}");
    assert_eq!(profile.status(), 200, "{}", profile.text());
    let texts = String::from_utf8_lossy(&profile.body);
    for wanted in ["sse_server::writer", "nanoseconds", "writer/round.rs", "thread"] {
        assert!(texts.contains(wanted), "{wanted}");
    }
}

fn fetch(server: &Server, query: &str) -> Reply {
    let request = server.admin(&format!("/debug/pprof/profile{query}"));
    request.field("Authorization", "Bearer a-token-of-some-length").send()
}

#[test]
fn profiles_are_one_at_a_time_and_bounded() {
    let server = Server::start(&TOKEN);
    server.admin("/debug/pprof/profile?seconds=1").send().problem(401);
    server.admin("/debug/memory").send().problem(401);
    for wrong in ["?seconds=0", "?seconds=46", "?seconds=x", "?seconds="] {
        let problem = fetch(&server, wrong).problem(400);
        assert_eq!(problem.field.as_deref(), Some("seconds"));
    }
    let long = server.admin("/debug/pprof/profile?seconds=45").bearer(TOKEN[1]);
    crate::harness::eventually("a refusal", || {
        // Whichever comes first has the turn.
        let _long = long.start();
        (fetch(&server, "?seconds=1").status() == 409).then_some(())
    });
    // Who breaks off frees it.
    crate::harness::eventually("another turn", || (fetch(&server, "?seconds=1").status() == 200).then_some(()));
}

/// The system's allocator keeps no record; another build tells (`faults heap`).
#[cfg(not(feature = "heap-profile"))]
#[test]
fn who_holds_memory_is_not_told_by_this_build() {
    let server = Server::start(&TOKEN);
    server.admin("/debug/pprof/heap").send().problem(401);
    let request = server.admin("/debug/pprof/heap").field("Authorization", "Bearer a-token-of-some-length");
    let problem = request.send().problem(501);
    assert!(problem.detail.contains("--features heap-profile"), "{problem:?}");
}

#[test]
fn the_allocator_tells_of_itself() {
    let server = Server::start(&[]);
    server.publish("a", "x");
    let memory = server.admin("/debug/memory").send().json();
    assert!(memory["allocator"]["in_use"].as_u64() > Some(10_000), "{memory}");
    assert!(memory["ring_bytes"].as_u64() > Some(0), "{memory}");
    assert_eq!(memory["topics"], 1, "{memory}");
}
