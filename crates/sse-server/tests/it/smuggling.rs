//! Requests that two parsers could read differently: they are refused, the connection ends, and what hides in them is
//! never run (FAILURES D7).

mod corpus;

use crate::harness::Server;
use corpus::HIDDEN;

/// Sends each head with the hidden request behind it.
#[track_caller]
fn expect_refused<T: AsRef<str>>(requests: &[T]) {
    let server = Server::start(&[]);
    for request in requests.iter().map(AsRef::as_ref) {
        let mut connection = server.connect();
        connection.try_send(format!("{request}{HIDDEN}"));
        let status = connection.head().status;
        assert!(matches!(status, 400 | 431 | 501 | 505), "{status} for {request:?}");
        let (rest, _) = connection.rest();
        let rest = String::from_utf8_lossy(&rest);
        assert!(!rest.contains("HTTP/1."), "a second answer to {request:?}: {rest}");
    }
    server.expect_untouched("canary");
    server.expect_untouched("a");
}

#[test]
fn names_and_values_that_are_not_clean() {
    expect_refused(corpus::UNCLEAN);
}

#[test]
fn lengths_that_are_no_numbers() {
    expect_refused(&corpus::no_lengths());
}

#[test]
fn two_lengths_that_differ() {
    expect_refused(corpus::TWO_LENGTHS);
}

#[test]
fn a_length_beside_chunks_is_refused() {
    corpus::lengths_beside_chunks().iter().for_each(|request| expect_problem(request));
}

#[test]
fn a_length_said_twice_is_refused() {
    expect_problem(corpus::SAME_LENGTHS);
}

#[test]
fn lines_that_end_in_lf_alone_are_refused() {
    corpus::BARE_LINE_FEEDS.iter().for_each(|request| expect_problem(request));
}

/// The request is refused with a problem, alone on its connection, in pieces, and behind another; nothing behind it runs.
#[track_caller]
fn expect_problem(request: &str) {
    let server = Server::start(&[]);
    let first = "POST /events/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nfirst";
    let mut alone = server.connect();
    alone.send(format!("{request}{HIDDEN}"));
    let mut in_pieces = server.connect();
    for piece in request.as_bytes().chunks(9) {
        in_pieces.try_send(piece);
    }
    let mut behind = server.connect();
    behind.send(format!("{first}{request}{HIDDEN}"));
    assert_eq!(behind.reply().status(), 200);
    for mut connection in [alone, in_pieces, behind] {
        connection.reply().problem(400);
        let (rest, _) = connection.rest();
        assert_eq!(String::from_utf8_lossy(&rest), "", "a second answer to {request:?}");
    }
    server.expect_untouched("canary");
    server.expect_untouched("a");
}

#[test]
fn encodings_there_are_not() {
    expect_refused(&corpus::no_encodings());
}

#[test]
fn chunks_whose_size_is_no_number() {
    let server = Server::start(&[]);
    for request in corpus::no_chunks() {
        let mut connection = server.connect();
        connection.try_send(format!("{request}{HIDDEN}"));
        let (answer, _) = connection.rest();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{request:?}: {answer}");
    }
    server.expect_untouched("canary");
    server.expect_untouched("a");
}

#[test]
fn requests_that_are_none() {
    expect_refused(corpus::NO_REQUESTS);
}

/// However early the answer is, and whether it is a stream: a body is a body.
#[test]
fn bodies_that_nobody_reads_are_no_requests() {
    let server = Server::start(&[]);
    for request in corpus::bodies_that_nobody_reads() {
        let mut connection = server.connect();
        connection.send(format!("{request}{HIDDEN}"));
        connection.head();
        // What comes behind it is the next one, if there may be one.
        connection.try_send("HEAD /events/b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    }
    server.expect_untouched("canary");
}

/// In order they are two requests: what looks hidden is simply the next.
#[test]
fn a_request_behind_another_is_answered_in_turn() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    let first =
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    connection.send(format!("{first}{HIDDEN}"));
    assert_eq!([connection.reply().status(), connection.reply().status()], [200, 200]);
    let mut stream = server.subscribe("canary").last_event_id("earliest").open();
    assert_eq!(stream.next_data(), "smuggled");
}

#[test]
fn many_requests_at_once_are_answered_in_turn() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    let sized = |n: usize| format!("POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n{n:03}");
    let chunked = |n: usize| {
        format!(
            "POST /events/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n2;x\r\n{:02}\r\n0\r\nX: y\r\n\r\n",
            n / 100,
            n % 100
        )
    };
    let requests: String = (0..300).map(|n| if n % 2 == 0 { sized(n) } else { chunked(n) }).collect();
    connection.send(requests);
    for _ in 0..300 {
        assert_eq!(connection.reply().status(), 200);
    }
    let mut stream = server.subscribe("a").last_event_id("earliest").open();
    for n in 0..300 {
        assert_eq!(stream.next_data(), format!("{n:03}"));
    }
}
