//! Plants known bugs, one at a time, in a copy of the tree, and runs the test that has to notice: that tests can fail is
//! shown, not believed (FAILURES M4).

mod bugs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::{program, workspace};
use bugs::BUGS;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the bugs whose name contains this
    bug: Option<String>,
    /// Name the bugs, and plant none
    #[arg(long)]
    list: bool,
}

/// A mistake that somebody could make.
#[derive(Debug)]
struct Bug {
    name: &'static str,
    file: &'static str,
    /// What stands there once, and what it becomes.
    right: &'static str,
    wrong: &'static str,
    /// What `cargo test` is given: that has to fail.
    test: &'static [&'static str],
    /// Built so, for loom's models.
    flags: Option<&'static str>,
}

/// What became of a planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Caught,
    Missed,
    /// It does not build, so nothing is shown.
    Broken,
}

pub fn run(args: Args) -> Result<()> {
    let wanted = args.bug.as_deref().unwrap_or("");
    let bugs: Vec<&Bug> = BUGS.iter().filter(|bug| bug.name.contains(wanted)).collect();
    ensure!(!bugs.is_empty(), "no bug has {wanted:?} in its name");
    if args.list {
        bugs.iter().for_each(|bug| println!("{:<32} {}", bug.name, bug.file));
        return Ok(());
    }
    let tree = Tree::copy()?;
    let mut escaped = Vec::new();
    for bug in &bugs {
        let started = Instant::now();
        let fate = tree.try_out(bug)?;
        println!("{:<32} {:<52} {fate:?} after {:.0} s", bug.name, bug.file, started.elapsed().as_secs_f64());
        if fate != Fate::Caught {
            escaped.push(bug.name);
        }
    }
    println!("planted: {} of {} caught", bugs.len() - escaped.len(), bugs.len());
    ensure!(escaped.is_empty(), "not caught: {}", escaped.join(", "));
    Ok(())
}

/// A copy of the files that git knows, and a build of its own that later runs go on with.
struct Tree {
    root: PathBuf,
    build: PathBuf,
}

impl Tree {
    fn copy() -> Result<Self> {
        let dir = workspace::target().join("planted");
        let tree = Self { root: dir.join("tree"), build: dir.join("build") };
        let mut git = Command::new("git");
        git.current_dir(workspace::root()).args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
        let listed = program::read(&mut git)?;
        for file in listed.split('\0').filter(|file| !file.is_empty()) {
            // One that was removed and is still known to git is not there to be copied.
            if let Ok(bytes) = fs::read(workspace::root().join(file)) {
                put(&tree.root.join(file), &bytes)?;
            }
        }
        Ok(tree)
    }

    fn try_out(&self, bug: &Bug) -> Result<Fate> {
        let path = self.root.join(bug.file);
        let sound = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        put(&path, bug.plant(&sound)?.as_bytes())?;
        let fate = self.test(bug);
        put(&path, sound.as_bytes())?;
        fate
    }

    fn test(&self, bug: &Bug) -> Result<Fate> {
        let cargo = |more: &[&str]| {
            let mut cargo = workspace::cargo(&["test", "--quiet"]);
            // Builds with other flags would throw each other away.
            let build = self.build.join(if bug.flags.is_some() { "flags" } else { "plain" });
            cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", build).args(more).args(bug.test);
            bug.flags.into_iter().for_each(|flags| _ = cargo.env("RUSTFLAGS", workspace::rustflags(flags)));
            cargo.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
            cargo
        };
        let succeeds = |mut cargo: Command| -> Result<bool> {
            Ok(cargo.status().with_context(|| format!("running {}", program::shown(&cargo)))?.success())
        };
        if !succeeds(cargo(&["--no-run"]))? {
            return Ok(Fate::Broken);
        }
        Ok(if succeeds(cargo(&[]))? { Fate::Missed } else { Fate::Caught })
    }
}

impl Bug {
    /// The file's text with the bug in it.
    fn plant(&self, text: &str) -> Result<String> {
        match text.matches(self.right).count() {
            1 => Ok(text.replacen(self.right, self.wrong, 1)),
            count => bail!("{}: what is right stands {count} times in {}", self.name, self.file),
        }
    }
}

/// Writes a file unless it is so already: cargo builds what is newer.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_its_place() {
        assert!(BUGS.len() >= 20);
        for bug in BUGS {
            let text = fs::read_to_string(workspace::root().join(bug.file)).unwrap();
            assert_ne!(bug.plant(&text).unwrap(), text, "{}", bug.name);
            assert_eq!(BUGS.iter().filter(|other| other.name == bug.name).count(), 1, "{}", bug.name);
        }
    }
}
