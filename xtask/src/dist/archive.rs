//! Archives: what the clone has for whoever runs the server, and the binary, under one folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Release;
use super::stage::Stage;
use super::target::Target;
use crate::{program, workspace};

/// What is taken from the clone, so that links between them lead somewhere.
const FROM_THE_CLONE: [&str; 7] =
    ["README.md", "CHANGELOG.md", "LICENSE", "LICENSE-APACHE", "LICENSE-MIT", "docs", "deploy"];

/// Packs everything, with the same bytes for the same files, whoever does it when.
pub fn make(release: &Release, target: &Target, stage: &Stage) -> Result<PathBuf> {
    let name = format!("sse-server-{}-{}", release.version, target.triple);
    let room = release.room(&name)?;
    let dir = room.join(&name);
    fs::create_dir_all(&dir)?;
    fs::copy(target.binary(), dir.join("sse-server")).context("copying the binary")?;
    let things = FROM_THE_CLONE.iter().map(|thing| workspace::root().join(thing));
    let staged = ["man", "completions", "THIRD-PARTY.txt"].iter().map(|thing| stage.dir.join(thing));
    for thing in things.chain(staged) {
        // `cp` makes folders whole; what it takes from where is fixed.
        program::run(Command::new("cp").args(["--recursive", "--no-preserve=all"]).arg(&thing).arg(&dir))?;
    }
    let file = release.out.join(format!("{name}.tar.gz"));
    pack(release, &room, &name, &file)?;
    Ok(file)
}

fn pack(release: &Release, room: &Path, name: &str, file: &Path) -> Result<()> {
    let tar = file.with_extension("");
    let mut pack = Command::new("tar");
    pack.current_dir(room).args(["--create", "--format=ustar", "--sort=name", "--owner=0", "--group=0"]);
    pack.args(["--numeric-owner", "--mode=u=rwX,go=rX", &format!("--mtime=@{}", release.epoch)]);
    program::run(pack.arg("--file").arg(&tar).arg(name))?;
    // Without the time and the name that gzip would put in.
    program::run(Command::new("gzip").args(["--force", "--no-name", "-9"]).arg(&tar))
}
