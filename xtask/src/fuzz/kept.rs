//! The input of each target that the repository keeps: of what it takes to reach all that was reached, the shortest.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{Target, last_lines};
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
        let script = format!("#!/bin/sh\nexec {} {}\n", self.program.display(), self.only_this().join(" "));
        fs::write(&again, script)?;
        fs::set_permissions(&again, fs::Permissions::from_mode(0o755))?;
        let mut merge = self.engine(&["-merge=1".to_owned()], corpora)?;
        let output = merge.arg0(&again).output().with_context(|| format!("running {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", self.name, last_lines(&said, 20));
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
