//! The binaries: one for systems with glibc, and a static one.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{program, workspace};

/// What a binary is built for.
#[derive(Debug)]
pub struct Target {
    pub triple: String,
    /// The C compiler, if it is not the system's own.
    cc: Option<&'static str>,
}

impl Target {
    pub fn gnu() -> Self {
        Self { triple: format!("{}-unknown-linux-gnu", std::env::consts::ARCH), cc: None }
    }

    /// The system's compiler would bring glibc's headers.
    pub fn musl() -> Self {
        Self { triple: format!("{}-unknown-linux-musl", std::env::consts::ARCH), cc: Some("musl-gcc") }
    }

    /// Where cargo puts what it builds for it.
    pub fn dir(&self) -> PathBuf {
        workspace::target().join(&self.triple).join("release")
    }

    pub fn binary(&self) -> PathBuf {
        self.dir().join("sse-server")
    }

    /// Builds the server, in such a way that the folders of this machine do not show.
    pub fn build(&self) -> Result<()> {
        self.add()?;
        let mut cargo = workspace::cargo(&["build", "--release", "--locked", "--package", "sse-server"]);
        let folders = folders()?;
        let flags = |option: &str| {
            let flags = folders.iter().map(|(from, to)| format!("{option}={from}={to}"));
            flags.collect::<Vec<_>>().join(" ")
        };
        let of_target = self.triple.replace('-', "_");
        cargo.args(["--bin", "sse-server", "--target", &self.triple]);
        cargo.env("RUSTFLAGS", workspace::rustflags(&flags("--remap-path-prefix")));
        cargo.env(format!("CFLAGS_{of_target}"), flags("-ffile-prefix-map"));
        if let Some(cc) = self.cc {
            cargo.env(format!("CC_{of_target}"), cc);
        }
        program::run(&mut cargo)
    }

    /// Has rustup add the target's libraries, if they are not there.
    fn add(&self) -> Result<()> {
        let libraries = ["--print", "target-libdir", "--target", &self.triple];
        let dir = program::read(Command::new("rustc").current_dir(workspace::root()).args(libraries))?;
        if PathBuf::from(dir.trim()).is_dir() {
            return Ok(());
        }
        let mut rustup = Command::new("rustup");
        rustup.current_dir(workspace::root()).args(["target", "add", &self.triple]);
        program::run(&mut rustup).context("adding a target to the toolchain")
    }
}

/// Folders whose names compilers write into binaries, and what is written instead.
fn folders() -> Result<[(String, &'static str); 3]> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"));
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let text = |path: PathBuf| path.into_os_string().into_string().ok().context("a folder's name is no text");
    Ok([
        (text(cargo_home.context("neither CARGO_HOME nor HOME is set")?)?, "/cargo"),
        (text(workspace::root().to_owned())?, "/src"),
        // Of two that fit, the last is taken: it may lie in the workspace.
        (text(workspace::target())?, "/target"),
    ])
}
