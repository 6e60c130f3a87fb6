//! Requests that two parsers could read differently: they are refused, the connection ends, and what hides in them is
//! never run (FAILURES D7).

use crate::harness::Server;

/// What an attacker would have the server do.
const HIDDEN: &str = "POST /events/canary HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nsmuggled";

/// Sends each head with the hidden request behind it.
#[track_caller]
fn expect_refused(requests: &[&str]) {
    let server = Server::start(&[]);
    for request in requests {
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
    expect_refused(&[
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\n\tContent-Length: 5\r\n\r\nhello",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length : 5\r\n\r\nhello",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nX\0: y\r\nContent-Length: 0\r\n\r\n",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nX: y\0z\r\nContent-Length: 0\r\n\r\n",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nX: y\rContent-Length: 0\r\n\r\n",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nX\r\nContent-Length: 0\r\n\r\n",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\n: y\r\nContent-Length: 0\r\n\r\n",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nX(): y\r\n\r\n",
    ]);
}

#[test]
fn lengths_that_are_no_numbers() {
    let request =
        |length: &str| format!("POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nhello");
    let lengths = [
        "",
        "-1",
        "+5",
        "5 5",
        "0x5",
        "5e0",
        "5.0",
        "five",
        "5, 6",
        "5;",
        "\u{661}",
        "18446744073709551616",
        "99999999999999999999999",
    ];
    let requests: Vec<String> = lengths.iter().map(|length| request(length)).collect();
    expect_refused(&requests.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn two_lengths_that_differ() {
    expect_refused(&[
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nX: y\r\ncontent-length: 96\r\n\r\n",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5, 5\r\n\r\nhello",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 96\r\nContent-Length: 0\r\n\r\n",
    ]);
}

#[test]
fn a_length_beside_chunks_is_refused() {
    for fields in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked", HIDDEN.len() + 5),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}", HIDDEN.len() + 5),
        "Content-Length: 3\r\nX: y\r\nTransfer-Encoding: chunked".to_owned(),
        "content-length: 0\r\nTRANSFER-ENCODING: chunked".to_owned(),
    ] {
        expect_problem(&format!("POST /events/a HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n0\r\n\r\n"));
    }
}

#[test]
fn a_length_said_twice_is_refused() {
    expect_problem(
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nX: y\r\ncontent-length: 5\r\n\r\nhello",
    );
}

#[test]
fn lines_that_end_in_lf_alone_are_refused() {
    for request in [
        "POST /events/a HTTP/1.1\nHost: localhost\nContent-Length: 5\n\nhello",
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\nhello",
        "POST /events/a HTTP/1.1\r\nHost: localhost\nContent-Length: 5\r\n\r\nhello",
        "\nPOST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        expect_problem(request);
    }
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
    let request = |encoding: &str| {
        format!(
            "POST /events/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {encoding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )
    };
    let encodings =
        ["identity", "xchunked", "chunked, identity", "chunked, gzip", "gzip", "\u{b}chunked", "chunkedx", "x"];
    let requests: Vec<String> = encodings.iter().map(|encoding| request(encoding)).collect();
    expect_refused(&requests.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn chunks_whose_size_is_no_number() {
    let server = Server::start(&[]);
    let head = "POST /events/canary HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in [
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "five\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5;x=\ny\r\nhello\r\n0\r\n\r\n",
        "5\rX\nhello\r\n0\r\n\r\n",
    ] {
        let mut connection = server.connect();
        connection.try_send(format!("{head}{chunks}{HIDDEN}"));
        let (answer, _) = connection.rest();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{chunks:?}: {answer}");
    }
    server.expect_untouched("canary");
}

#[test]
fn requests_that_are_none() {
    expect_refused(&[
        "POST  /events/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /events/a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /events/a\r\nHost: localhost\r\n\r\n",
        "POST /events/a HTTP/1.2\r\nHost: localhost\r\n\r\n",
        "POST /events/a HTTP/3.0\r\nHost: localhost\r\n\r\n",
        "POST /events/a http/1.1\r\nHost: localhost\r\n\r\n",
        "POST /events/\u{e9} \r\nHost: localhost\r\n\r\n",
        "\0\0\0\0",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "SSH-2.0-OpenSSH_9.6\r\n",
    ]);
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
