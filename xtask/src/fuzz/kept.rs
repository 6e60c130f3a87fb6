//! The input of each target that the repository keeps: little, and reaching what all the input that was found reaches.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{LIMITS, Target, last_lines};
use crate::workspace;

/// Files of one target, the shortest first.
const FILES_MAX: usize = 48;
const FILE_BYTES_MAX: u64 = 1024;

impl Target {
    /// Chooses anew from what is kept and what was found here; how many files that makes.
    pub(super) fn keep(&self) -> Result<usize> {
        let work = workspace::target().join("fuzz").join(&self.name);
        let (found, kept, chosen) = (work.join("corpus"), self.kept.join("corpus"), work.join("chosen"));
        let _ = fs::remove_dir_all(&chosen);
        for dir in [&chosen, &kept] {
            fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        self.merge(&work, &[&chosen, &kept, &found])?;
        let chosen = shortest(&chosen)?;
        ensure!(!chosen.is_empty(), "{} has no input yet: fuzz it first", self.name);
        fs::remove_dir_all(&kept)?;
        fs::create_dir_all(&kept)?;
        for file in &chosen {
            fs::copy(file, kept.join(file.file_name().context("a file has a name")?))?;
        }
        Ok(chosen.len())
    }

    /// Has libFuzzer copy into the first of `corpora` what it needs of them all to reach as much.
    fn merge(&self, work: &Path, corpora: &[&Path]) -> Result<()> {
        // It starts itself again, by the name it was started with, and knows nothing of a test program's arguments.
        let again = work.join("again.sh");
        let (program, name) = (self.program.display(), &self.name);
        let script = format!("#!/bin/sh\nexec {program} {name} --exact --nocapture --test-threads=1\n");
        fs::write(&again, script)?;
        fs::set_permissions(&again, fs::Permissions::from_mode(0o755))?;
        let dirs = corpora.iter().map(|dir| dir.display().to_string());
        let args: Vec<String> =
            LIMITS.iter().map(|limit| (*limit).to_owned()).chain(["-merge=1".to_owned()]).chain(dirs).collect();
        let mut merge = Command::new(&self.program);
        merge.arg0(&again).args([name, "--exact", "--nocapture", "--test-threads=1"]);
        merge.env("BOLERO_LIBFUZZER_ARGS", args.join(" ")).env("RUST_BACKTRACE", "0");
        let output = merge.output().with_context(|| format!("running {program}"))?;
        ensure!(output.status.success(), "{name}: {}", last_lines(&String::from_utf8_lossy(&output.stderr), 20));
        Ok(())
    }
}

/// The shortest of a folder's files, as many as are kept.
fn shortest(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    files.retain(|(len, _)| *len <= FILE_BYTES_MAX);
    files.sort();
    files.truncate(FILES_MAX);
    Ok(files.into_iter().map(|(_, path)| path).collect())
}
