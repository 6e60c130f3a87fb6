//! The terminals of a page: one whose commands end, and others in which something keeps running.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use super::room::Room;

/// A command that ends does so within this.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// A program ends so long after Ctrl-C, or after the second one.
const CTRL_C_WITHIN: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The shell of the commands that end. Folders and variables last from block to block, as in a reader's.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    input: ChildStdin,
}

impl Shell {
    pub fn open(room: &Room) -> Result<Self> {
        let mut child = room.command("bash").arg("--norc").stdin(Stdio::piped()).spawn().context("starting bash")?;
        let input = child.stdin.take().context("its input is piped")?;
        Ok(Self { child, input })
    }

    /// Runs a block to its end: the status of its last command that failed, or 0, and what it printed.
    pub fn run(&mut self, script: &Path) -> Result<(i32, String)> {
        let (out, status) = (script.with_extension("out"), script.with_extension("status"));
        let (script, shown, at) = (script.display(), out.display(), status.display());
        writeln!(self.input, "failed=0; set -o pipefail; trap 'failed=$?' ERR; . {script} >{shown} 2>&1 </dev/null")?;
        writeln!(self.input, "trap - ERR; echo $failed >{at}.new; mv {at}.new {at}")?;
        let deadline = Instant::now() + ENDS_WITHIN;
        while !status.exists() {
            if let Some(ended) = self.child.try_wait()? {
                bail!("it ended the shell, {ended}:\n{}", read(&out));
            }
            if Instant::now() > deadline {
                bail!("it did not end within {ENDS_WITHIN:?}, should it be marked `stays`? It printed\n{}", read(&out));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok((read(&status).trim().parse()?, read(&out)))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Failing means it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A terminal in which a program keeps running. It ends with this.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    out: PathBuf,
    /// So much of its output was compared.
    looked_at: usize,
}

impl Terminal {
    pub fn open(room: &Room, script: &Path) -> Result<Self> {
        let out = script.with_extension("out");
        let file = fs::File::create(&out).with_context(|| out.display().to_string())?;
        // Where this runs in the background Ctrl-C is ignored, and no shell may change that.
        let mut command = room.command("env");
        command.args(["--default-signal=INT", "bash", "--norc"]).arg(script);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // A group of its own, which Ctrl-C goes to.
        let child = command.process_group(0).spawn().context("starting bash")?;
        Ok(Self { child, out, looked_at: 0 })
    }

    /// Waits until what it printed since the last look satisfies `is_it`.
    pub fn shows(&mut self, within: Duration, mut is_it: impl FnMut(&str) -> bool) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let ended = self.child.try_wait()?;
            let all = read(&self.out);
            let new = all.get(self.looked_at..).unwrap_or_default();
            if is_it(new) {
                self.looked_at = all.len();
                return Ok(());
            }
            if let Some(status) = ended {
                bail!("it has ended, {status}, and shows\n{new}");
            }
            if Instant::now() > deadline {
                bail!("within {within:?} it shows\n{new}");
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Ctrl-C, and once more if that takes its time.
    pub fn interrupt(mut self) -> Result<()> {
        for _ in 0..2 {
            let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            // Failing means it is gone already.
            let _ = group.map(|group| kill_process_group(group, Signal::INT));
            let deadline = Instant::now() + CTRL_C_WITHIN;
            while Instant::now() < deadline {
                if self.child.try_wait()?.is_some() {
                    return Ok(());
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
        }
        bail!("it goes on after two Ctrl-C and shows\n{}", read(&self.out))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let (Ok(None), Some(group)) =
            (self.child.try_wait(), i32::try_from(self.child.id()).ok().and_then(Pid::from_raw))
        {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// What a program has printed so far.
fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

/// A command with nothing of who runs this in its environment but what programs need.
pub fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SSE_")
            || text.starts_with("OTEL_")
            || text.to_ascii_lowercase().ends_with("_proxy")
            || text.starts_with("CARGO")
        {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(room: &Room, name: &str, text: &str) -> PathBuf {
        let script = room.steps.join(name);
        fs::write(&script, text).unwrap();
        script
    }

    #[test]
    fn a_failing_command_is_noticed_wherever_it_stands() {
        let room = Room::create(Path::new("test-of-shells.md")).unwrap();
        let mut shell = Shell::open(&room).unwrap();
        let mut run = |text: &str| shell.run(&script(&room, &format!("{}.sh", text.len()), text)).unwrap();
        assert_eq!(run("word=kept; echo shown; echo too >&2"), (0, "shown\ntoo\n".to_owned()));
        assert_eq!(run("echo $word"), (0, "kept\n".to_owned()));
        assert_eq!(run("(exit 3)\ntrue").0, 3);
        assert_eq!(run("(exit 4) | cat\n").0, 4);
        assert_eq!(run("no-such-command-anywhere").0, 127);
    }

    #[test]
    fn what_stays_shows_something_or_fails() {
        let room = Room::create(Path::new("test-of-terminals.md")).unwrap();
        let open = |name, text| Terminal::open(&room, &script(&room, name, text)).unwrap();
        let mut stays = open("stays.sh", "echo one; exec sleep 60");
        stays.shows(SOON, |text| text == "one\n").unwrap();
        // What was looked at is not shown again.
        assert!(stays.shows(Duration::ZERO, |text| text.contains("one")).is_err());
        stays.interrupt().unwrap();
        let error = open("ends.sh", "echo gone").shows(SOON, |text| text == "one\n").unwrap_err();
        assert!(error.to_string().contains("has ended") && error.to_string().contains("gone"), "{error}");
    }

    const SOON: Duration = Duration::from_secs(10);
}
