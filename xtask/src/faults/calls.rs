//! What strace wrote down, read back: writes and syncs of files, and answers, in the order they happened.

use std::collections::HashMap;
use std::io::BufRead;

use anyhow::{Context, Result};

/// Flags for a trace that can be read here. Pages are 4 KiB; streams would be cut, and are not looked at.
pub const FLAGS: [&str; 5] =
    ["-y", "-s", "4200", "-e", "trace=pwrite64,ftruncate,fsync,fdatasync,write,writev,sendto,sendmsg"];

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Bytes reached the page cache.
    Write {
        file: String,
        at: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        length: u64,
    },
    /// What was written before this may be said to be on the disk once it ends.
    SyncBegins {
        thread: u32,
        file: String,
    },
    /// Whether it succeeded.
    SyncEnds {
        thread: u32,
        file: String,
        is_done: bool,
    },
    /// A 200 was about to leave for a publisher; the ids in it.
    Answer {
        ids: Vec<String>,
    },
}

/// Reads a trace, line by line.
pub fn read(lines: impl BufRead, mut take: impl FnMut(Call) -> Result<()>) -> Result<()> {
    let mut open: HashMap<u32, String> = HashMap::new();
    for line in lines.split(b'\n') {
        let line = String::from_utf8_lossy(&line.context("reading a trace")?).into_owned();
        let Some((thread, rest)) = line.trim_start().split_once(' ') else { continue };
        let Ok(thread) = thread.parse() else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            begins(thread, begun).into_iter().try_for_each(&mut take)?;
            open.insert(thread, begun.to_owned());
        } else if rest.starts_with("<... ") {
            let Some(begun) = open.remove(&thread) else { continue };
            let Some((_, ended)) = rest.split_once(" resumed>") else { continue };
            ends(thread, &format!("{begun}{ended}")).into_iter().try_for_each(&mut take)?;
        } else {
            begins(thread, rest).into_iter().chain(ends(thread, rest)).try_for_each(&mut take)?;
        }
    }
    Ok(())
}

/// What has happened when a call begins.
fn begins(thread: u32, call: &str) -> Option<Call> {
    let (name, _) = call.split_once('(')?;
    match name {
        "fsync" | "fdatasync" => Some(Call::SyncBegins { thread, file: file(call)? }),
        "write" | "writev" | "sendto" | "sendmsg" if call.contains("\"HTTP/1.1 200 OK") => {
            let ids =
                call.split(r#"\"id\":\""#).skip(1).filter_map(|rest| Some(rest.split_once(r#"\""#)?.0.to_owned()));
            Some(Call::Answer { ids: ids.collect() })
        }
        _ => None,
    }
}

/// What has happened when it has ended.
fn ends(thread: u32, call: &str) -> Option<Call> {
    let (name, _) = call.split_once('(')?;
    let (_, result) = call.rsplit_once(" = ")?;
    let result: i64 = result.split(' ').next()?.parse().ok()?;
    match name {
        "fsync" | "fdatasync" => Some(Call::SyncEnds { thread, file: file(call)?, is_done: result == 0 }),
        "pwrite64" if result > 0 => {
            let at = call.rsplit_once(')')?.0.rsplit_once(", ")?.1.parse().ok()?;
            let mut bytes = unescape(call.split_once(">, \"")?.1);
            bytes.truncate(result as usize);
            Some(Call::Write { file: file(call)?, at, bytes })
        }
        "ftruncate" if result == 0 => {
            let length = call.rsplit_once(')')?.0.rsplit_once(", ")?.1.parse().ok()?;
            Some(Call::Truncate { file: file(call)?, length })
        }
        _ => None,
    }
}

/// The name of the file that a call is about.
fn file(call: &str) -> Option<String> {
    let path = call.split_once('<')?.1.split_once('>')?.0;
    Some(path.rsplit('/').next()?.to_owned())
}

/// The bytes of a text in C's notation, up to the quote that ends it.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'"' => break,
            b'\\' => {
                let Some((escaped, tail)) = rest.split_first() else { break };
                rest = tail;
                bytes.push(match escaped {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'v' => 11,
                    b'f' => 12,
                    b'0'..=b'7' => {
                        let more = rest.iter().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                        let digits = rest[..more].iter();
                        let value =
                            digits.fold(u32::from(escaped - b'0'), |value, digit| value * 8 + u32::from(digit - b'0'));
                        rest = &rest[more..];
                        value as u8
                    }
                    other => *other,
                });
            }
            plain => bytes.push(*plain),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r#"7 pwrite64(9</d/log.sqlite-wal>, "\0\1a\"\\\3777", 7, 32) = 7
7 fdatasync(9</d/log.sqlite-wal> <unfinished ...>
8 sendto(4<socket:[1]>, "HTTP/1.1 200 OK\r\n\r\n{\"id\":\"e-1\",\"durability\":\"fsync\"}", 60, MSG_NOSIGNAL, NULL, 0 <unfinished ...>
7 <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)
8 <... sendto resumed>) = 60
7 ftruncate(9</d/log.sqlite-wal>, 4096) = 0
"#;

    #[test]
    fn calls_are_read_in_their_order() {
        let mut calls = Vec::new();
        read(TRACE.as_bytes(), |call| {
            calls.push(call);
            Ok(())
        })
        .unwrap();
        let file = "log.sqlite-wal".to_owned();
        assert_eq!(
            calls,
            [
                Call::Write { file: file.clone(), at: 32, bytes: vec![0, 1, b'a', b'"', b'\\', 255, b'7'] },
                Call::SyncBegins { thread: 7, file: file.clone() },
                Call::Answer { ids: vec!["e-1".to_owned()] },
                Call::SyncEnds { thread: 7, file: file.clone(), is_done: false },
                Call::Truncate { file, length: 4096 },
            ]
        );
    }
}
