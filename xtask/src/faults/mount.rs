//! A small disk of its own for a data directory: a tmpfs in a mount namespace, which nobody else sees.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use crate::loadtest::process::Process;
use crate::program;

/// Mounts, says so, and stays: the namespace lives as long as this.
const HOLD: &str = r#"mount -t tmpfs -o "$1" tmpfs "$2" && echo mounted > "$3" && exec sleep 3600"#;

/// The disk; it goes when this is dropped.
#[derive(Debug)]
pub struct Mount {
    holder: Process,
    dir: PathBuf,
}

impl Mount {
    /// A tmpfs with these options.
    pub fn create(bench: &Bench, options: &str) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "a mount needs root");
        let (dir, ready) = (bench.file("mount"), bench.file("mount.ready"));
        std::fs::create_dir_all(&dir).context("making a place to mount at")?;
        let _ = std::fs::remove_file(&ready);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", HOLD, "sh", options]).arg(&dir).arg(&ready);
        let mut holder = Process::start(&mut command, &bench.file("mount.log"))?;
        holder.ready(&ready)?;
        Ok(Self { holder, dir })
    }

    /// The command, run where the disk is seen.
    pub fn enter(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.pid()));
        entered.arg(command.get_program()).args(command.get_args());
        entered
    }

    /// The directory as programs in the namespace name it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The same as seen from here.
    pub fn seen(&self) -> PathBuf {
        let inside = self.dir.strip_prefix("/").unwrap_or(&self.dir);
        PathBuf::from(format!("/proc/{}/root", self.holder.pid())).join(inside)
    }

    /// Takes the disk away from those who use it: open files stay, names do not.
    pub fn unmount(&self) -> Result<()> {
        let mut command = Command::new("umount");
        program::run(&mut self.enter(command.arg("--lazy").arg(&self.dir)))
    }
}
