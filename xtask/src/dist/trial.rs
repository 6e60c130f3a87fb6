//! The archives as their users meet them: unpacked, and run.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Release;
use crate::faults::asking::Asking;
use crate::faults::crowd::Crowd;
use crate::faults::finding::Findings;
use crate::faults::publisher::Publisher;
use crate::faults::server::addresses;
use crate::loadtest::process::Process;
use crate::{program, workspace};

const WAIT: Duration = Duration::from_secs(20);
/// What the binary may ask of glibc: that of Ubuntu 22.04, and older than Debian 12's.
const GLIBC_MAX: (u32, u32) = (2, 35);

pub fn gnu(release: &Release, archive: &Path, findings: &mut Findings) -> Result<()> {
    let room = release.room("try-gnu")?;
    let dir = unpacked(archive, &room, findings)?;
    let binary = dir.join("sse-server");
    let symbols = program::read(Command::new("objdump").arg("-T").arg(&binary))?;
    let newest = newest_glibc(&symbols).context("it asks nothing of glibc")?;
    let of = |version: (u32, u32)| format!("{}.{}", version.0, version.1);
    println!("needs glibc {}", of(newest));
    findings.is_so(&format!("glibc {} is enough", of(GLIBC_MAX)), newest <= GLIBC_MAX);
    let (ready, log) = (room.join("ready"), room.join("log"));
    let server = Process::start(serve(&mut Command::new(&binary)).arg(&ready), &log)?;
    serves(server, &ready, findings)
}

/// In a root with nothing but itself: no users, certificates, time zones, devices or processes.
pub fn musl(release: &Release, archive: &Path, findings: &mut Findings) -> Result<()> {
    let room = release.room("try-musl")?;
    let dir = unpacked(archive, &room, findings)?;
    let binary = dir.join("sse-server");
    let headers = program::read(Command::new("readelf").args(["--program-headers", "--wide"]).arg(&binary))?;
    findings.is_so("it asks for no library and no loader", !headers.contains("INTERP"));
    let root = room.join("root");
    fs::create_dir_all(&root)?;
    fs::copy(&binary, root.join("sse-server"))?;
    let mut alone = Command::new("unshare");
    alone.args(["--user", "--map-root-user"]).arg(format!("--root={}", root.display()));
    let server = Process::start(serve(alone.arg("/sse-server")).arg("/ready"), &room.join("log"))?;
    serves(server, &root.join("ready"), findings)
}

/// Unpacks it, and looks at what there is.
fn unpacked(archive: &Path, room: &Path, findings: &mut Findings) -> Result<PathBuf> {
    program::run(Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(room))?;
    let name = archive.file_name().and_then(|name| name.to_str()?.strip_suffix(".tar.gz"));
    let dir = room.join(name.context("the archive has no name")?);
    let has = |path: &&&str| dir.join(path).is_file();
    let expected = [
        "sse-server",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "THIRD-PARTY.txt",
        "docs/quick-start.md",
        "deploy/sse-server.toml",
        "deploy/systemd/sse-server.service",
        "man/sse-server.1.gz",
        "man/sse-server-publish.1.gz",
        "completions/sse-server.bash",
        "completions/_sse-server",
        "completions/sse-server.fish",
    ];
    findings.all("files in it", expected.iter().filter(has).count(), expected.len());
    let binary = fs::read(dir.join("sse-server"))?;
    for folder in [workspace::root(), &workspace::target()] {
        let folder = folder.to_str().context("the folder's name is no text")?.as_bytes();
        let is_named = binary.windows(folder.len()).any(|bytes| bytes == folder);
        findings.is_so("the binary does not name the folder it was built in", !is_named);
    }
    let config = format!("--config={}", dir.join("deploy/sse-server.toml").display());
    let checked = Command::new(dir.join("sse-server")).args(["check-config", &config]).env_clear().output()?;
    findings.is_so("its settings are good", checked.status.success());
    Ok(dir)
}

/// On free ports; the ready file's name comes behind.
fn serve(command: &mut Command) -> &mut Command {
    command.args(["serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--drain-window=0", "--ready-file"])
}

fn serves(mut server: Process, ready: &Path, findings: &mut Findings) -> Result<()> {
    let (public, admin) = addresses(&server.ready(ready)?).context("the ready file names no address")?;
    let mut crowd = Crowd::new(public[0])?;
    crowd.follow("/events/a", None)?;
    ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == 1)?, "the stream was not opened");
    Publisher::connect(public[0])?.publish("a", "hello")?;
    let has_it = |crowd: &Crowd| crowd.members().iter().all(|member| member.answer.data().any(|data| data == "hello"));
    findings.is_so("who follows gets what is published", crowd.read_until(WAIT, has_it)?);
    for path in ["/readyz", "/metrics", "/"] {
        findings.is_so(&format!("{path} is answered"), answer(admin, path)?.starts_with("HTTP/1.1 200 "));
    }
    server.terminate();
    findings.is_so("asked to end it exits with 0", server.wait(WAIT)?.success());
    Ok(())
}

fn answer(admin: SocketAddr, path: &str) -> Result<String> {
    Asking::connect(admin)?.answer(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
}

/// The newest version among symbols such as `GLIBC_2.34`.
fn newest_glibc(symbols: &str) -> Option<(u32, u32)> {
    let version = |text: &str| {
        let (major, minor) = text.split_once('.')?;
        let minor = minor.split(|c: char| !c.is_ascii_digit()).next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    symbols.split("GLIBC_").skip(1).filter_map(version).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let symbols = "DF *UND* (GLIBC_2.9)  x\nDF *UND* (GLIBC_2.34)  y\nDF *UND* (GLIBC_2.2.5) z\n";
        assert_eq!(newest_glibc(symbols), Some((2, 34)));
        assert_eq!(newest_glibc("none"), None);
    }
}
