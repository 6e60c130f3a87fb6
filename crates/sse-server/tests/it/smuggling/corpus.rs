//! Requests that two parsers could read differently. `cargo xtask proxies` sends them through proxies, too.

/// What an attacker would have the server do.
pub(super) const HIDDEN: &str = "POST /events/canary HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nsmuggled";

/// Names and values that are not clean.
pub(super) const UNCLEAN: &[&str] = &[
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
];

/// Two lengths that differ, or are one list.
pub(super) const TWO_LENGTHS: &[&str] = &[
    "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nX: y\r\ncontent-length: 96\r\n\r\n",
    "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5, 5\r\n\r\nhello",
    "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 96\r\nContent-Length: 0\r\n\r\n",
];

/// A length that is said twice.
pub(super) const SAME_LENGTHS: &str =
    "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nX: y\r\ncontent-length: 5\r\n\r\nhello";

/// Lines that end in LF alone.
pub(super) const BARE_LINE_FEEDS: &[&str] = &[
    "POST /events/a HTTP/1.1\nHost: localhost\nContent-Length: 5\n\nhello",
    "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\nhello",
    "POST /events/a HTTP/1.1\r\nHost: localhost\nContent-Length: 5\r\n\r\nhello",
    "\nPOST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
];

/// Requests that are none.
pub(super) const NO_REQUESTS: &[&str] = &[
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
];

/// Lengths that are no numbers.
pub(super) fn no_lengths() -> Vec<String> {
    const LENGTHS: &[&str] = &[
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
    let request =
        |length: &&str| format!("POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nhello");
    LENGTHS.iter().map(request).collect()
}

/// A length beside chunks.
pub(super) fn lengths_beside_chunks() -> Vec<String> {
    let fields = [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked", HIDDEN.len() + 5),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}", HIDDEN.len() + 5),
        "Content-Length: 3\r\nX: y\r\nTransfer-Encoding: chunked".to_owned(),
        "content-length: 0\r\nTRANSFER-ENCODING: chunked".to_owned(),
    ];
    let request = |fields: &String| format!("POST /events/a HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n0\r\n\r\n");
    fields.iter().map(request).collect()
}

/// Encodings there are not.
pub(super) fn no_encodings() -> Vec<String> {
    const ENCODINGS: &[&str] =
        &["identity", "xchunked", "chunked, identity", "chunked, gzip", "gzip", "\u{b}chunked", "chunkedx", "x"];
    let request = |encoding: &&str| {
        format!(
            "POST /events/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {encoding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )
    };
    ENCODINGS.iter().map(request).collect()
}

/// Chunks whose size is no number, or not theirs.
pub(super) fn no_chunks() -> Vec<String> {
    const CHUNKS: &[&str] = &[
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
    ];
    let request = |chunks: &&str| {
        format!("POST /events/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
    };
    CHUNKS.iter().map(request).collect()
}

/// Requests that are answered before their body has come, which is the hidden request behind them.
pub(super) fn bodies_that_nobody_reads() -> Vec<String> {
    const HEADS: &[&str] = &[
        "POST /nowhere",
        "PUT /events/a",
        "HEAD /events/a",
        "OPTIONS /events/a",
        "DELETE /events/never",
        "GET /events/a",
        "GET /events",
        "GET /events/a?last_event_id=%00",
        "POST /events/%00",
        "POST /.well-known/mercure?x=%zz",
    ];
    let request =
        |head: &&str| format!("{head} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", HIDDEN.len());
    let encoded = format!(
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        HIDDEN.len()
    );
    HEADS.iter().map(request).chain([encoded]).collect()
}
