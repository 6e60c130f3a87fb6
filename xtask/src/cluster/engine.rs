//! An engine of the system's packages, as a process of its own: it can be killed, stopped and asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::nats;
use crate::faults::bench::{Bench, expect};
use crate::loadtest::process::Process;

const READY_WITHIN: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Redis,
    Nats,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Nats => "nats",
        }
    }
}

/// A running engine on a port of its own, killed when dropped.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    pub address: SocketAddr,
    dir: PathBuf,
    log: PathBuf,
    args: Vec<String>,
    process: Option<Process>,
}

impl Engine {
    /// Starts one with nothing in it. The flags are the engine's own, behind those that every one has.
    pub fn start(kind: Kind, name: &str, bench: &Bench, args: &[&str]) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).context("a free port")?;
        let dir = bench.file(&format!("{name}.data"));
        crate::faults::clear(&dir)?;
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let args = args.iter().map(ToString::to_string).collect();
        let mut engine = Self { kind, address, dir, log: bench.file(&format!("{name}.log")), args, process: None };
        engine.restart()?;
        Ok(engine)
    }

    pub fn url(&self) -> String {
        self.url_through(self.address)
    }

    /// The same through something at another address.
    pub fn url_through(&self, address: SocketAddr) -> String {
        format!("--backplane={}://{address}", self.kind.name())
    }

    /// Where it keeps what it has.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts it with what it has kept, and waits until it answers.
    pub fn restart(&mut self) -> Result<()> {
        self.process = Some(Process::start(&mut self.command(), &self.log)?);
        expect("the engine's first answer", READY_WITHIN, || Ok(self.answers()))
    }

    /// Kills it without a word.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Removes all that it has kept, while it does not run.
    pub fn forget(&self) -> Result<()> {
        crate::faults::clear(&self.dir)?;
        std::fs::create_dir_all(&self.dir).with_context(|| self.dir.display().to_string())
    }

    /// Has it stand still, or go on.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.process.as_ref().and_then(|process| i32::try_from(process.pid()).ok()).and_then(Pid::from_raw);
        Ok(kill_process(pid.context("the engine does not run")?, signal)?)
    }

    /// Asks a Redis; the first line of its answer, or the text of a short one.
    pub fn ask(&self, words: &[&[u8]]) -> Result<String> {
        let mut socket = self.connect()?;
        socket.write_all(&request(words)).context("asking the engine")?;
        answer(&mut BufReader::new(socket))
    }

    /// The same on a connection that has said its password before.
    pub fn ask_as(&self, password: &str, words: &[&[u8]]) -> Result<String> {
        let mut socket = self.connect()?;
        socket.write_all(&request(&[b"AUTH", password.as_bytes()]))?;
        answer(&mut BufReader::new(&socket))?;
        socket.write_all(&request(words)).context("asking the engine")?;
        answer(&mut BufReader::new(&socket))
    }

    /// Has it take an entry of somebody else's.
    pub fn inject(&self, entry: &[u8]) -> Result<()> {
        match self.kind {
            Kind::Redis => self.append(b"0-*", b"e", entry),
            Kind::Nats => nats::publish(self.connect()?, "sse.m", entry),
        }
    }

    /// The same in a Redis, under an id and in a field that need not be ours.
    pub fn append(&self, id: &[u8], field: &[u8], value: &[u8]) -> Result<()> {
        let answer = self.ask(&[b"XADD", b"{sse}:events", id, field, value])?;
        ensure!(!answer.starts_with('-'), "the engine answered {answer}");
        Ok(())
    }

    /// Deletes the stream of events in a NATS.
    pub fn delete_stream(&self) -> Result<()> {
        let answer = nats::ask(self.connect()?, "$JS.API.STREAM.DELETE.sse")?;
        ensure!(answer.contains(r#""success":true"#), "the engine answered {answer}");
        Ok(())
    }

    fn connect(&self) -> Result<TcpStream> {
        let socket = TcpStream::connect_timeout(&self.address, ANSWER_WITHIN).context("connecting to the engine")?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(socket)
    }

    /// The same in words; an error of the engine's is one.
    pub fn tell(&self, words: &str) -> Result<String> {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let answer = self.ask(&words)?;
        ensure!(!answer.starts_with('-'), "the engine answered {answer}");
        Ok(answer)
    }

    fn answers(&self) -> bool {
        match self.kind {
            Kind::Redis => self.tell("PING").is_ok_and(|answer| answer == "+PONG"),
            Kind::Nats => self.greets().is_ok(),
        }
    }

    /// NATS speaks first.
    fn greets(&self) -> Result<()> {
        let mut line = String::new();
        BufReader::new(self.connect()?).read_line(&mut line)?;
        if line.starts_with("INFO ") { Ok(()) } else { bail!("{line:?} is no greeting") }
    }

    /// The command of it, which ends with this chore whatever happens.
    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).current_dir(&self.dir);
        let port = self.address.port().to_string();
        match self.kind {
            Kind::Redis => {
                command.args(["redis-server", "--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"]);
                command.arg(&self.dir).args(["--appendonly", "yes"])
            }
            Kind::Nats => {
                command.args(["nats-server", "--addr", "127.0.0.1", "--port", &port, "--jetstream", "--store_dir"]);
                command.arg(&self.dir)
            }
        };
        command.args(&self.args);
        command
    }
}

/// A request in Redis' form.
fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend(format!("${}\r\n", word.len()).bytes());
        request.extend_from_slice(word);
        request.extend(b"\r\n");
    }
    request
}

/// The first line of an answer, or the text if it is a short one.
fn answer(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line).context("reading the engine's answer")?;
    match line.trim_end().strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => {
            let mut text = vec![0; length];
            from.read_exact(&mut text).context("reading the engine's answer")?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
        None => Ok(line.trim_end().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_have_redis_form() {
        assert_eq!(request(&[b"GET", b"a"]), b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
        assert_eq!(answer(&mut &b"+PONG\r\n"[..]).unwrap(), "+PONG");
        assert_eq!(answer(&mut &b"$4\r\na\r\nb\r\n"[..]).unwrap(), "a\r\nb");
        assert!(answer(&mut &b"$9\r\nab"[..]).is_err());
    }
}
