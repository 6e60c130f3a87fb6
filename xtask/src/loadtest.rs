//! Proves what a server does under load: starts it, runs the load generator against it, keeps the report.

mod compare;
pub mod figures;
mod page;
pub mod process;
mod regression;
mod restart;
mod shape;
pub mod subject;
mod yardstick;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::loadtest::compare::Other;
use crate::loadtest::figures::Figures;
use crate::loadtest::regression::Comparison;
use crate::loadtest::shape::{Shape, Wanted};
use crate::loadtest::subject::Subject;
use crate::{program, workspace};

/// What the load generator exits with when something was lost, repeated, reordered or not published.
const NOT_WHOLE: i32 = 2;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Over TLS, with a certificate made for the run
    #[arg(long, conflicts_with = "url")]
    tls: bool,
    /// Follow in HTTP/2, a hundred streams on each connection
    #[arg(long)]
    http2: bool,
    /// Ask for compressed streams, and decode them
    #[arg(long)]
    gzip: bool,
    /// Measure this server instead of starting one, as in http://127.0.0.1:8080/events/{topic}
    #[arg(long)]
    url: Option<String>,
    /// The certificates to trust, in PEM, if that begins with https://
    #[arg(long, requires = "url")]
    ca_file: Option<PathBuf>,
    /// Where to POST events, when that differs from --url
    #[arg(long, requires = "url")]
    publish_url: Option<String>,
    /// The body of a publish to that server, with {data} and perhaps {topic}
    #[arg(long, requires = "url")]
    publish_body: Option<String>,
    /// A header for every publish to that server, 'NAME: VALUE' (repeatable)
    #[arg(long, requires = "url")]
    publish_header: Vec<String>,
    /// That server's events carry the data within something of its own, as JSON
    #[arg(long, requires = "url")]
    wrapped: bool,
    /// That server's process, to measure what it uses
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// A flag for the server that is started, as in --server-arg=--writers=1 (repeatable)
    #[arg(long, conflicts_with = "url", allow_hyphen_values = true)]
    server_arg: Vec<String>,
    /// Also run the load against a bare loop of sends, in turns, and print the ratio of CPU per delivery
    #[arg(long, conflicts_with = "url")]
    yardstick: bool,
    /// Run the load on compressed streams, in turns with streams that are not, and print the ratios of CPU and of bytes
    #[arg(long, conflicts_with_all = ["url", "yardstick"])]
    against_plain: bool,
    /// Run the load on a server with a log of this durability, in turns with one that has none, and print the ratio of CPU
    /// per delivery
    #[arg(long, value_name = "DURABILITY", conflicts_with_all = ["url", "yardstick", "against_plain"])]
    log: Option<String>,
    /// Run the load in turns with a server that has this flag too, as in --against-arg=--io-uring=off, and print the ratio of
    /// CPU per delivery (repeatable)
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["url", "yardstick", "against_plain", "log"])]
    against_arg: Vec<String>,
    /// How many pairs of runs are compared
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Run it so often, and tell how much the figures differ
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Fail if this is worse than the report of an earlier loadtest, beyond the noise of both
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// More flags for the load generator, behind `--`
    #[arg(last = true)]
    loadgen: Vec<String>,
}

pub fn run(args: Args) -> Result<()> {
    if args.wanted.lists() {
        print!("{}", shape::list());
        return Ok(());
    }
    let kill_after = args.shape()?.kill_after();
    let only_ours = args.url.is_none() && Other::of(&args).is_none() && args.repeat == 1 && !args.tls && !args.http2;
    ensure!(
        kill_after.is_none() || only_ours,
        "only a server of this workspace is killed, once, and over plain HTTP/1.1"
    );
    let folder = Folder::take("loadtest")?;
    // It may be the very file that is written at the end.
    let earlier = args.compare.as_deref().map(read).transpose()?;
    let report = match Other::of(&args) {
        Some(other) => compare::run(&args, other, folder.path())?,
        None => measure(&args, kill_after, folder.path())?,
    };
    tell(&report, folder.path(), earlier.as_ref())
}

/// Several runs as one report: the first, with the figures of all.
fn joined(reports: &[Value]) -> Value {
    let mut report = reports.first().cloned().unwrap_or_default();
    report["whole"] = reports.iter().all(|report| report["whole"] == true).into();
    report["figures"] = Figures::of(reports).to_json();
    report
}

/// Writes the report and its page, and judges.
fn tell(report: &Value, dir: &Path, earlier: Option<&Value>) -> Result<()> {
    let path = dir.join("report.json");
    write(&path, report)?;
    let page = path.with_extension("html");
    let command: Vec<String> = std::env::args().skip(1).collect();
    let text = page::of(report, &format!("cargo xtask {}", command.join(" ")));
    fs::write(&page, text).with_context(|| format!("writing {}", page.display()))?;
    println!("report: {} and {}", path.display(), page.display());
    if let Some(earlier) = earlier {
        let comparison = Comparison::of(earlier, report)?;
        println!("\n{comparison}");
        ensure!(comparison.regressions() == 0, "{} figures are worse than before", comparison.regressions());
    }
    ensure!(report["whole"] == true, "not everything arrived as it should");
    Ok(())
}

/// A folder of the target directory for what a chore writes, held by one run at a time: two would mix up their files,
/// and measure each other.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    pub fn take(name: &str) -> Result<Self> {
        let path = workspace::target().join(name);
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        let lock = File::create(path.join("lock")).with_context(|| format!("creating a lock in {}", path.display()))?;
        lock.try_lock().with_context(|| format!("another {name} is running in this workspace"))?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The runs, on the server of this workspace or on a given one.
fn measure(args: &Args, kill_after: Option<f64>, dir: &Path) -> Result<Value> {
    let programs: &[_] = &[("sse-loadgen", "sse-loadgen"), ("sse-server", "sse-server")];
    workspace::build(if args.url.is_some() { &programs[..1] } else { programs })?;
    if let Some(after) = kill_after {
        return Ok(joined(&[restart::run(args, after, dir)?]));
    }
    let mut reports = Vec::new();
    for number in 1..=args.repeat {
        let subject = match &args.url {
            Some(url) => Subject::running(url, args.publish_url.as_deref(), args.pid).trusting(args.ca_file.as_deref()),
            None => args.server(dir)?,
        };
        let path = dir.join(format!("run-{number}.json"));
        let quiet: &[&str] = if number == 1 { &[] } else { &["--quiet"] };
        load(args, subject, &path, quiet)?;
        if args.repeat > 1 {
            println!("run {number} of {}", args.repeat);
        }
        reports.push(read(&path)?);
    }
    if args.repeat > 1 {
        println!("\n{}", Figures::of(&reports));
    }
    Ok(joined(&reports))
}

/// Runs the load generator on `subject` and stops that; gives whether everything arrived as it should.
fn load(args: &Args, subject: Subject, report: &Path, more: &[&str]) -> Result<bool> {
    let subject = if args.shape()?.topics_per_subscriber > 1 { subject.with_several_topics() } else { subject };
    let mut command = subject::loadgen(&subject);
    args.pass_on(&mut command)?;
    command.args(["--sample-interval", "0.25", "--json"]).arg(report).args(more).args(&args.loadgen);
    let status = command.status().with_context(|| format!("running {}", program::shown(&command)))?;
    // A server that died tells more than what came of it.
    subject.stop()?;
    match status.code() {
        Some(0) => Ok(true),
        Some(NOT_WHOLE) => Ok(false),
        _ => bail!("{status}: {}", program::shown(&command)),
    }
}

impl Args {
    /// This workspace's server, as it is to be measured.
    fn server(&self, dir: &Path) -> Result<Subject> {
        if self.tls { Subject::server_with_tls(dir, &self.server_arg) } else { Subject::server(dir, &self.server_arg) }
    }

    /// The same load for a subject that knows nothing but HTTP/1.1.
    fn in_http1(&self) -> Self {
        Self { http2: false, ..self.clone() }
    }

    /// The load, with nothing left open.
    fn shape(&self) -> Result<Shape> {
        self.wanted.shape()
    }

    fn pass_on(&self, command: &mut Command) -> Result<()> {
        self.shape()?.pass_on(command);
        if self.http2 {
            command.arg("--http2");
        }
        if self.gzip {
            command.arg("--gzip");
        }
        if let Some(body) = &self.publish_body {
            command.args(["--publish-body", body]);
        }
        for header in &self.publish_header {
            command.args(["--publish-header", header]);
        }
        if self.wrapped {
            command.arg("--wrapped");
        }
        Ok(())
    }
}

/// A report as JSON.
pub fn read(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))
}

pub fn write(path: &Path, report: &Value) -> Result<()> {
    fs::write(path, serde_json::to_vec_pretty(report)?).with_context(|| format!("writing {}", path.display()))
}
