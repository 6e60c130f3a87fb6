//! The real binary on free ports.

use std::fs;
use std::io::{PipeReader, PipeWriter, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde::Deserialize;

use super::gateway::Gateway;
use super::log::Log;
use super::{Connection, Request, eventually, tls};

const BINARY: &str = env!("CARGO_BIN_EXE_sse-server");
/// Lines of the log that a failed test shows.
const LINES_SHOWN: usize = 30;

/// A running server, killed when dropped.
pub(crate) struct Server {
    child: Child,
    addresses: Addresses,
    pub(crate) log: Log,
    /// Whether a test saw it exit.
    has_exited: bool,
    home: Home,
    /// What tests speak to in the place of the public listener.
    gateway: Option<Gateway>,
    /// Whether followers say that they take gzip.
    is_compressed: bool,
    /// The pipe that its outputs lead into, if nobody reads it.
    _unread: Option<PipeReader>,
}

/// The ready file's content.
#[derive(Debug, Deserialize)]
struct Addresses {
    listen: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
}

/// Listeners that outlive servers, as a service manager keeps them.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) public: TcpListener,
    pub(crate) admin: TcpListener,
}

impl Sockets {
    pub(crate) fn open() -> Self {
        let open = || TcpListener::bind("127.0.0.1:0").unwrap();
        Self { public: open(), admin: open() }
    }
}

/// Has the shell pass its input and output on as descriptors 3 and 4, and become the server. `$NAMES` is what they are called.
const PASS_SOCKETS: &str = "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=$NAMES; \
                            exec \"$0\" \"$@\" 3<&0 4<&1 </dev/null >/dev/null";

/// How a server is to be started.
#[derive(Debug, Default)]
pub(crate) struct Launch {
    sockets: Option<Sockets>,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    descriptors_max: Option<usize>,
    is_over_tls: bool,
    is_compressed: bool,
    is_unheard: bool,
}

impl Launch {
    pub(crate) fn new(flags: &[&str]) -> Self {
        Self { flags: flags.iter().map(ToString::to_string).collect(), ..Self::default() }
    }

    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Passes it these sockets, under the names of the variable `NAMES`.
    pub(crate) fn sockets(mut self, sockets: &Sockets) -> Self {
        let (public, admin) = (sockets.public.try_clone().unwrap(), sockets.admin.try_clone().unwrap());
        self.sockets = Some(Sockets { public, admin });
        self
    }

    /// Lets the server open no more descriptors than this.
    pub(crate) fn descriptors_max(mut self, descriptors_max: usize) -> Self {
        self.descriptors_max = Some(descriptors_max);
        self
    }

    /// Has its public listener speak TLS, and tests speak to that through a gateway.
    pub(crate) fn over_tls(mut self) -> Self {
        let files = tls::files();
        self.flags.extend(["--tls-cert", &files.cert, "--tls-key", &files.key].map(str::to_owned));
        self.is_over_tls = true;
        self
    }

    /// Has its followers say that they take gzip.
    pub(crate) fn compressed(mut self) -> Self {
        self.is_compressed = true;
        self
    }

    /// Has both its outputs lead into a full pipe that nobody reads.
    pub(crate) fn unheard(mut self) -> Self {
        self.is_unheard = true;
        self
    }

    /// Starts a server on free ports and waits until it listens.
    #[track_caller]
    pub(crate) fn start(self) -> Server {
        self.listen(&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
    }

    #[track_caller]
    fn listen(mut self, flags: &[&str]) -> Server {
        let home = Home::new();
        let ready_file = home.0.join("ready");
        self.flags.extend(flags.iter().map(ToString::to_string));
        self.flags.extend(["--ready-file".to_owned(), ready_file.to_str().unwrap().to_owned()]);
        raise_descriptor_limit();
        let mut command = self.command();
        let unread = self.lead_away(&mut command);
        let mut child = command.spawn().unwrap();
        drop(command);
        let log = child.stderr.take().map(Log::collect).unwrap_or_default();
        let addresses: Addresses = eventually("the ready file", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the server ended with {status}: {:#?}", log.lines());
            }
            fs::read(&ready_file).ok().map(|text| serde_json::from_slice(&text).unwrap())
        });
        let gateway = self.is_over_tls.then(|| Gateway::to_tls(addresses.listen[0]));
        Server {
            child,
            addresses,
            log,
            has_exited: false,
            home,
            gateway,
            is_compressed: self.is_compressed,
            _unread: unread,
        }
    }

    /// The same for a server whose admin listener is off.
    #[track_caller]
    pub(crate) fn start_without_admin(self) -> Server {
        self.listen(&["--listen", "127.0.0.1:0"])
    }

    /// Runs the binary to its end, which has to come by itself, and returns what it said.
    #[track_caller]
    pub(crate) fn finish(&self) -> Output {
        let mut command = self.command();
        if self.sockets.is_none() {
            command.stdout(Stdio::piped());
        }
        let mut child = command.spawn().unwrap();
        drop(command);
        wait_briefly(&mut child);
        child.wait_with_output().unwrap()
    }

    /// Runs the binary to its end, which has to come by itself.
    #[track_caller]
    pub(crate) fn end(&self) -> ExitStatus {
        let mut command = self.command();
        let _unread = self.lead_away(&mut command);
        wait_briefly(&mut command.spawn().unwrap())
    }

    /// Where its outputs lead, if nobody is to read them.
    fn lead_away(&self, command: &mut Command) -> Option<PipeReader> {
        self.is_unheard.then(|| {
            let (unread, full) = full_pipe();
            command.stdout(full.try_clone().unwrap()).stderr(full);
            unread
        })
    }

    fn command(&self) -> Command {
        // The shell becomes the server: its process id stays the same.
        let by_shell = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script, BINARY]);
            command
        };
        let mut command = match (self.descriptors_max, &self.sockets) {
            (Some(descriptors_max), _) => by_shell(&format!("ulimit -n {descriptors_max} && exec \"$0\" \"$@\"")),
            (None, Some(_)) => by_shell(PASS_SOCKETS),
            (None, None) => Command::new(BINARY),
        };
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        // Nothing of the surroundings may change what is tested.
        command.args(&self.flags).env_clear().envs(environment);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(sockets) = &self.sockets {
            let passed = |listener: &TcpListener| Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
            command.stdin(passed(&sockets.public)).stdout(passed(&sockets.admin));
        }
        command
    }
}

impl Server {
    #[track_caller]
    pub(crate) fn start(flags: &[&str]) -> Self {
        Launch::new(flags).start()
    }

    /// Has everything asked for in HTTP/2 from here on.
    pub(crate) fn behind_http2(mut self) -> Self {
        self.gateway = Some(Gateway::to_http2(self.addresses.listen[0]));
        self
    }

    /// The public listener, the first of several, or what stands for it.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.gateway.as_ref().map_or(self.addresses.listen[0], Gateway::addr)
    }

    /// All public listeners.
    pub(crate) fn addrs(&self) -> &[SocketAddr] {
        &self.addresses.listen
    }

    pub(crate) fn admin_addr(&self) -> SocketAddr {
        self.addresses.admin.unwrap()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.addr())
    }

    pub(crate) fn request(&self, method: &str, target: impl Into<String>) -> Request {
        Request::new(self.addr(), method, target)
    }

    /// A request to follow one topic, whose name needs no escaping.
    pub(crate) fn subscribe(&self, topic: &str) -> Request {
        self.follow(format!("/events/{topic}"))
    }

    /// A request to follow whatever the target says.
    pub(crate) fn follow(&self, target: impl Into<String>) -> Request {
        let request = self.request("GET", target).field("Accept", "text/event-stream");
        if self.is_compressed { request.field("Accept-Encoding", "gzip") } else { request }
    }

    /// A request to the admin listener.
    pub(crate) fn admin(&self, target: &str) -> Request {
        Request::new(self.admin_addr(), "GET", target)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let status = eventually("the server's exit", || self.child.try_wait().unwrap());
        self.has_exited = true;
        status
    }

    /// Kills the process, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.has_exited = true;
    }

    /// A folder that lives as long as this server.
    pub(crate) fn home(&self) -> &std::path::Path {
        &self.home.0
    }

    /// Memory the process has resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Processor time the process has used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The name, in parentheses, may hold spaces; user and system time are the 14th and 15th field.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// How many topics there are.
    #[track_caller]
    pub(crate) fn topics(&self) -> u64 {
        self.admin("/api/topics").send().json()["total"].as_u64().unwrap()
    }

    /// The value of a metric, all its label sets summed; `None` while it does not exist.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.admin("/metrics").send().text();
        let samples = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let is_wanted = series == name || series.split_once('{').is_some_and(|(bare, _)| bare == name);
            is_wanted.then(|| value.parse::<f64>().unwrap())
        });
        samples.reduce(|sum, value| sum + value)
    }

    /// Waits until a metric, or one series of it, has this value.
    #[track_caller]
    pub(crate) fn wait_for_metric(&self, series: &str, value: f64) {
        let wanted = format!("{series} {value}");
        eventually(&format!("{wanted} in the metrics"), || {
            let text = self.admin("/metrics").send().text();
            text.lines().any(|line| line == wanted).then_some(())
        });
    }
}

/// Waits for a process that is to end by itself.
#[track_caller]
fn wait_briefly(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > Duration::from_secs(5) {
            child.kill().unwrap();
            panic!("it did not end: {:?}", child.wait());
        }
        std::thread::park_timeout(Duration::from_millis(3));
    }
}

/// A pipe that takes nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let error = std::iter::repeat_with(|| writer.write(&[b'\n'; 512])).find_map(Result::err).unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    // Whoever writes to it waits from here on.
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

/// The tests of a crowd open more sockets than the usual soft limit allows.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where this fails the tests that need it say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

impl Drop for Server {
    fn drop(&mut self) {
        let survived = self.has_exited || self.child.try_wait().is_ok_and(|status| status.is_none());
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let lines = self.log.lines();
        if std::thread::panicking() {
            let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].iter();
            eprintln!("the server's log: {}", last.map(|line| format!("\n  {line}")).collect::<String>());
            return;
        }
        assert!(survived, "the server died: {lines:#?}");
        let panicked = lines.iter().find(|line| line.to_string().contains("panicked"));
        assert_eq!(panicked, None, "the server panicked");
    }
}

/// A folder of its own for each server.
struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What cannot be removed lies in the build's own folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
