//! Faults at random, from a seed, while the soak's loads run: none of them may cost anybody else an event, nor leave anything behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use socket2::SockRef;

use crate::faults::bench::{Bench, wait_for};
use crate::faults::crash::{Random, under_load};
use crate::faults::junk::sound_requests;
use crate::faults::metrics::Metrics;
use crate::faults::publisher::Publisher;
use crate::faults::server::Server;
use crate::faults::spoiled::Spoiler;
use crate::loadtest::process::Process;
use crate::loadtest::subject::{self, Subject};

/// What can be done to a server, or to its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// Streams are reset.
    Cut,
    /// Readers take nothing, until the server has had enough of them.
    Stall,
    /// A process of subscribers is stopped, and killed.
    Freeze,
    /// Requests that are spoiled, and bytes that are none.
    Junk,
    /// The settings change, to good ones and to bad ones.
    Reload,
    /// Topics that are used once.
    Strangers,
    /// Another server is killed under load, and starts again on its log.
    Kill,
}

const FAULTS: [Fault; 7] =
    [Fault::Cut, Fault::Stall, Fault::Freeze, Fault::Junk, Fault::Reload, Fault::Strangers, Fault::Kill];

/// Streams that one fault opens.
const STREAMS: usize = 40;
const JUNK: usize = 300;
const STRANGERS: usize = 300;
/// How long stalled and stopped clients stay.
const STALLED_FOR: Duration = Duration::from_secs(8);
/// Between two looks at the number of topics.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

/// Who makes trouble, and for whom.
#[derive(Debug)]
pub struct Trouble {
    bench: Bench,
    random: Random,
    subject: Subject,
    address: SocketAddr,
    admin: SocketAddr,
    pid: u32,
    config: PathBuf,
    every: Duration,
    /// Shows that the verdict can fail: a client that opens streams and never leaves.
    leaks: bool,
}

/// What was done, and what went wrong with it.
#[derive(Debug, Default)]
pub struct Done {
    faults: BTreeMap<Fault, usize>,
    pub failures: Vec<String>,
    /// Seconds, and how many topics there were.
    pub topics: Vec<(f64, f64)>,
}

impl Done {
    pub fn to_json(&self) -> Value {
        let faults = self.faults.iter().map(|(fault, count)| (format!("{fault:?}"), json!(count)));
        json!({"faults": faults.collect::<serde_json::Map<_, _>>(), "failures": self.failures, "topics": self.topics})
    }

    pub fn shown(&self) -> String {
        let faults: Vec<String> = self.faults.iter().map(|(fault, count)| format!("{count} {fault:?}")).collect();
        faults.join(", ").to_lowercase()
    }
}

/// A thread that makes it.
#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<Done>,
    over: Arc<AtomicBool>,
}

impl Running {
    /// Lets the fault that is under way end.
    pub fn stop(self) -> Result<Done> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("what makes trouble panicked"))
    }
}

impl Trouble {
    pub fn new(bench: Bench, server: &Server, config: PathBuf, seed: u64, every: Duration, leaks: bool) -> Self {
        let follow_url = format!("http://{}/events/{{topic}}", server.address());
        Self {
            bench,
            random: Random::of(seed, 0),
            subject: Subject::running(&follow_url, None, None),
            address: server.address(),
            admin: server.admin,
            pid: server.pid(),
            config,
            every,
            leaks,
        }
    }

    pub fn start(mut self) -> Running {
        let over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let over = over.clone();
            move || self.run(&|| over.load(Ordering::Relaxed))
        });
        Running { thread, over }
    }

    fn run(&mut self, is_over: &dyn Fn() -> bool) -> Done {
        let (started, mut done, mut leaked) = (Instant::now(), Done::default(), Vec::new());
        let mut next_fault = started + self.every;
        while !is_over() {
            if let Ok(metrics) = Metrics::scrape(self.admin) {
                done.topics.push((started.elapsed().as_secs_f64(), metrics.sum("sse_topics")));
            }
            if self.leaks {
                leaked.extend((0..4).filter_map(|_| self.follow("/events/steady-leak").ok()));
            }
            if Instant::now() >= next_fault {
                let fault = FAULTS[self.random.below(FAULTS.len() as u64) as usize];
                let outcome = self.make(fault);
                *done.faults.entry(fault).or_default() += 1;
                if let Err(error) = outcome {
                    done.failures.push(format!("{fault:?}: {error:#}"));
                }
                next_fault = Instant::now() + self.every;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        done
    }

    fn make(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Cut => self.cut(),
            Fault::Stall => self.stall(),
            Fault::Freeze => self.freeze(),
            Fault::Junk => self.junk(),
            Fault::Reload => self.reload(),
            Fault::Strangers => self.strangers(),
            Fault::Kill => self.kill(),
        }
    }

    /// A stream that nobody reads.
    fn follow(&self, path: &str) -> Result<TcpStream> {
        let mut socket = TcpStream::connect_timeout(&self.address, PATIENCE).context("connecting")?;
        SockRef::from(&socket).set_recv_buffer_size(4096)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
        let mut first = [0; 12];
        socket.read_exact(&mut first).context("opening a stream")?;
        ensure!(first == *b"HTTP/1.1 200", "a stream was refused: {}", String::from_utf8_lossy(&first));
        Ok(socket)
    }

    fn streams(&self) -> Result<Vec<TcpStream>> {
        (0..STREAMS).map(|index| self.follow(["/events/steady-0", "/events/bursts-0"][index % 2])).collect()
    }

    fn cut(&self) -> Result<()> {
        for stream in self.streams()? {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    fn stall(&self) -> Result<()> {
        let _streams = self.streams()?;
        std::thread::sleep(STALLED_FOR);
        Ok(())
    }

    fn freeze(&self) -> Result<()> {
        let mut loadgen = subject::loadgen(&self.subject);
        loadgen.args(["--topics", "1", "--topic-prefix", "steady-", "--rate", "0", "--seconds", "60"]);
        loadgen.args(["--subscribers", &STREAMS.to_string()]);
        let process = Process::start(&mut loadgen, &self.bench.file("frozen.log"))?;
        std::thread::sleep(Duration::from_secs(2));
        signal(process.pid(), Signal::STOP)?;
        std::thread::sleep(STALLED_FOR);
        // Dropped, it is killed.
        Ok(())
    }

    fn junk(&mut self) -> Result<()> {
        let mut spoiler = Spoiler::new(sound_requests(), Random::of(self.random.next(), 0));
        for _ in 0..JUNK {
            let mut socket = TcpStream::connect_timeout(&self.address, PATIENCE).context("connecting")?;
            // It may answer, close or reset before it has all of that.
            let _ = socket.write_all(&spoiler.next());
        }
        Ok(())
    }

    /// A good file counts, a bad one changes nothing.
    fn reload(&mut self) -> Result<()> {
        let count = |result: &str| {
            let label = format!("result=\"{result}\"");
            Ok::<_, anyhow::Error>(Metrics::scrape(self.admin)?.sum_where("sse_config_reloads_total", &label))
        };
        for (text, result) in [("retry = \"soon\"\n".to_owned(), "failed"), (settings(self.random.below(100)), "ok")] {
            let before = count(result)?;
            fs::write(&self.config, text).context("writing the settings")?;
            signal(self.pid, Signal::HUP)?;
            let counted = wait_for(PATIENCE, || Ok(count(result)? > before))?;
            ensure!(counted.is_some(), "no reload that is {result}");
        }
        Ok(())
    }

    fn strangers(&mut self) -> Result<()> {
        let run = self.random.next();
        let mut publisher = Publisher::connect(self.address)?;
        for index in 0..STRANGERS {
            publisher.publish(&format!("stranger-{run}-{index}"), "x")?;
        }
        Ok(())
    }

    fn kill(&self) -> Result<()> {
        let findings = under_load(&Bench::new("killed", self.bench.dir(), false, &[]).bounded(Some(2), None))?;
        let broken =
            |what: &str| ["lost", "out of order", "repeated", "nobody sent"].iter().any(|bad| what.contains(bad));
        let failed: Vec<&str> =
            findings.iter().filter(|one| !one.holds && broken(&one.what)).map(|one| one.what.as_str()).collect();
        ensure!(failed.is_empty(), "{}", failed.join(", "));
        Ok(())
    }
}

/// A file of good settings; another number makes it another file.
pub fn settings(number: u64) -> String {
    format!("publish_rate_max = {}\n", 900_000 + number)
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process")?;
    kill_process(pid, signal).with_context(|| format!("sending {signal:?}"))
}
