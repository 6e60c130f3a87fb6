//! Where a page's commands run: a folder that looks like the clone, and a network, mounts and processes of its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::terminal::bare;
use crate::{program, workspace};

/// Stands in for programs that would take too long, or want to be asked first.
const STAND_INS: &[(&str, &str)] = &[
    // The server and the examples are built before: in the profile of CI's tests, for speed.
    (
        "cargo",
        r#"case "$*" in
"run --release -p sse-server") exec sse-server ;;
"run --release -p sse-server -- "*) shift 5; exec sse-server "$@" ;;
"run -p sse-hub --example "*) exec "$DOCS_BUILT/examples/$5" ;;
"install --path crates/sse-server --locked") grep -q 'name = "sse-server"' crates/sse-server/Cargo.toml ;;
*) echo "there is no stand-in for cargo $*" >&2; exit 70 ;;
esac"#,
    ),
    ("sudo", r#"exec "$@""#),
];

/// Folders of the system that commands may write to: here they are empty, and forgotten in the end.
const OWN_FOLDERS: &[&str] = &["/var/lib", "/var/log", "/run", "/tmp"];

/// Where a clone in one of these folders is kept meanwhile.
const ASIDE: &str = "/mnt";

/// The place. Its folders are left behind, as evidence.
#[derive(Debug)]
pub struct Room {
    /// What the reader's terminal is in.
    pub home: PathBuf,
    /// Scripts, and what they printed.
    pub steps: PathBuf,
    stand_ins: PathBuf,
}

impl Room {
    /// The folders for a page, empty.
    pub fn create(page: &Path) -> Result<Self> {
        let name = page.with_extension("").to_string_lossy().replace('/', "-");
        let dir = workspace::target().join("docs").join(name);
        let _ = fs::remove_dir_all(&dir);
        let room = Self { home: dir.join("sse-server"), steps: dir.join("steps"), stand_ins: dir.join("bin") };
        for dir in [&room.home, &room.steps, &room.stand_ins] {
            fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        for entry in fs::read_dir(workspace::root())? {
            let entry = entry?;
            if entry.path() != workspace::target() {
                symlink(entry.path(), room.home.join(entry.file_name()))?;
            }
        }
        for (name, script) in STAND_INS {
            let file = room.stand_ins.join(name);
            fs::write(&file, format!("#!/bin/sh\n{script}\n"))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        // On a terminal there is no progress meter; here output goes to files.
        fs::write(room.steps.join(".curlrc"), "no-progress-meter\n")?;
        Ok(room)
    }

    /// A program of the reader's.
    pub fn command(&self, program: &str) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let built = workspace::target().join("debug");
        let dirs = [self.stand_ins.clone(), built.clone()].into_iter().chain(std::env::split_paths(&path));
        let mut command = bare(program);
        command.current_dir(&self.home).env("PATH", std::env::join_paths(dirs).unwrap_or(path));
        command.env("HOME", &self.home).env("DOCS_BUILT", built);
        // What is the default on a terminal.
        command.env("SSE_LOG_FORMAT", "text").env("CURL_HOME", &self.steps).env("PYTHONUNBUFFERED", "1");
        command
    }
}

/// The command in namespaces of its own: the usual ports are free, and whatever it starts ends with it.
pub fn apart(command: &Command) -> Command {
    let mut apart = Command::new("unshare");
    apart.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !rustix::process::geteuid().is_root() {
        apart.arg("--map-root-user");
    }
    apart.arg("--").arg(command.get_program()).args(command.get_args());
    apart
}

/// Mounts a folder where it is, so that it has options of its own.
fn bind(folder: &Path, access: &str) -> Result<()> {
    mount(&["--bind".as_ref(), folder.as_os_str()], folder)?;
    mount(&["-o", &format!("remount,bind,{access}")], folder)
}

fn mount(args: &[impl AsRef<OsStr>], at: &Path) -> Result<()> {
    program::run(Command::new("mount").args(args).arg(at))
}

/// Makes the namespaces ready to be used, from within.
pub fn furnish() -> Result<()> {
    program::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    // What a page tells readers to do to their system must not happen to this one, nor to the clone.
    mount(&["-o", "remount,bind,ro"], Path::new("/"))?;
    bind(workspace::root(), "ro")?;
    bind(&workspace::target(), "rw")?;
    let root = workspace::root();
    let is_hidden = OWN_FOLDERS.iter().any(|folder| root.starts_with(folder));
    if is_hidden {
        mount(&["--rbind".as_ref(), root.as_os_str()], ASIDE.as_ref())?;
    }
    for folder in OWN_FOLDERS {
        mount(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new(folder))?;
    }
    if is_hidden {
        fs::create_dir_all(root).with_context(|| root.display().to_string())?;
        mount(&["--rbind", ASIDE], root)?;
    }
    fs::create_dir_all("/var/log/nginx").context("nginx opens a log there, whatever its configuration says")
}
