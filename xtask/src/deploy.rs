//! What `deploy/` has beside the files of proxies, and the Dockerfile, checked by the tools that will read it.

mod compose;
mod container;
mod dashboard;
mod kubernetes;
mod linters;
mod prometheus;
mod systemd;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::faults::bench::Bench;
use crate::faults::finding::Findings;
use crate::faults::server::{self, Server};
use crate::loadtest::Folder;
use crate::{parts, setup, workspace};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Parts by name; all of them when none is given
    parts: Vec<String>,
    /// This program, instead of building the release server
    #[arg(long)]
    server: Option<PathBuf>,
}

/// What is checked together.
struct Part {
    name: &'static str,
    check: fn(&Yard, &mut Findings) -> Result<()>,
}

const PARTS: &[Part] = &[
    Part { name: "systemd", check: systemd::check },
    Part { name: "alerts", check: prometheus::check },
    Part { name: "container", check: container::check },
    Part { name: "compose", check: compose::check },
    Part { name: "kubernetes", check: kubernetes::check },
    Part { name: "dashboard", check: dashboard::check },
];

/// Where a part does its work.
struct Yard {
    /// Its files go here.
    dir: PathBuf,
    server: PathBuf,
}

impl Yard {
    /// What stands for a secret key: as long as a real one, and no sample.
    const KEY: &str = "7f3a9c51e27f3a9c51e27f3a9c51e27f3a9c51e27f3a9c51e27f3a9c51e27f3a9c51e2";

    /// The server, asked whether settings are good; the caller adds them, and nothing else is set.
    fn check_config(&self) -> Command {
        let mut command = Command::new(&self.server);
        command.env_clear().arg("check-config");
        command
    }

    /// Whether the server takes them; what it says is shown.
    fn is_taken(command: &mut Command) -> Result<bool> {
        let checked = command.output().context("asking the server")?;
        print!("{}", String::from_utf8_lossy(&checked.stderr));
        Ok(checked.status.success())
    }

    /// A file of `deploy/`.
    fn deployed(path: &str) -> PathBuf {
        workspace::root().join("deploy").join(path)
    }

    fn bench(&self) -> Bench {
        Bench::new("deploy", &self.dir, false, &[])
    }

    /// Starts the server, as an argument of `wrapped` if that is a program that runs another one.
    fn start(&self, bench: &Bench, wrapped: &[&str], args: &[&str]) -> Result<Server> {
        let command = |_| match wrapped.split_first() {
            None => Command::new(&self.server),
            Some((program, first)) => {
                let mut command = Command::new(program);
                command.args(first).arg(&self.server);
                command
            }
        };
        Server::start_as(bench, command, args)
    }
}

/// Checks each part, and fails if one does not hold.
pub fn run(args: Args) -> Result<()> {
    let parts = parts::chosen(PARTS, |part| part.name, &args.parts)?;
    setup::run()?;
    if args.server.is_none() {
        // Together with the load generator, as the other chores build them.
        workspace::build(&[("sse-server", "sse-server"), ("sse-loadgen", "sse-loadgen")])?;
    }
    let server = args.server.map_or_else(|| Ok(server::program()), |path| path.canonicalize())?;
    let folder = Folder::take("deploy")?;
    let mut failed = 0;
    for part in &parts {
        let findings = examine(part, &server, folder.path())?;
        findings.print(part.name);
        failed += usize::from(!findings.hold());
    }
    ensure!(failed == 0, "{failed} of {} parts do not hold", parts.len());
    Ok(())
}

fn examine(part: &Part, server: &Path, dir: &Path) -> Result<Findings> {
    let yard = Yard { dir: dir.join(part.name), server: server.to_owned() };
    if yard.dir.exists() {
        std::fs::remove_dir_all(&yard.dir)?;
    }
    std::fs::create_dir_all(&yard.dir)?;
    Ok(Findings::of(|findings| (part.check)(&yard, findings)))
}
