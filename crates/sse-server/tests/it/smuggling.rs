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

/// The chunks count, and the connection ends behind them (RFC 9112, 6.1).
#[test]
fn a_length_beside_chunks_hides_nothing() {
    let server = Server::start(&[]);
    for fields in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked", HIDDEN.len() + 5),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}", HIDDEN.len() + 5),
        "Content-Length: 3\r\nTransfer-Encoding: chunked".to_owned(),
        "Content-Length: 0\r\nTransfer-Encoding: chunked".to_owned(),
    ] {
        let mut connection = server.connect();
        connection.send(format!("POST /events/a HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n0\r\n\r\n{HIDDEN}"));
        let (answer, _) = connection.rest();
        assert_eq!(String::from_utf8_lossy(&answer).matches("HTTP/1.1 ").count(), 1, "{fields:?}");
    }
    server.expect_untouched("canary");
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
