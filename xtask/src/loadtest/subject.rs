//! What is measured: a server that this chore starts and stops, or one that runs already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::certificate::Certificate;
use crate::loadtest::process::Process;
use crate::workspace;

/// A server to measure.
#[derive(Debug)]
pub struct Subject {
    pub follow_url: String,
    pub publish_url: String,
    pub pid: Option<u32>,
    /// The certificates to trust.
    ca_file: Option<PathBuf>,
    /// What else the load generator has to know to speak with it.
    loadgen_args: Vec<String>,
    process: Option<Process>,
}

impl Subject {
    /// A server that runs already, by its URL template.
    pub fn running(follow_url: &str, publish_url: Option<&str>, pid: Option<u32>) -> Self {
        let publish_url = publish_url.unwrap_or(follow_url).to_owned();
        Self {
            follow_url: follow_url.to_owned(),
            publish_url,
            pid,
            ca_file: None,
            loadgen_args: Vec::new(),
            process: None,
        }
    }

    /// The same with the certificates that it may have.
    pub fn trusting(self, ca_file: Option<&Path>) -> Self {
        Self { ca_file: ca_file.map(Path::to_owned), ..self }
    }

    /// This workspace's server, with `args` behind its own; what it writes goes to `dir`.
    pub fn server(dir: &Path, args: &[String]) -> Result<Self> {
        Self::start(server_command(), "sse-server", dir, args)
    }

    /// The same over TLS, with a new certificate.
    pub fn server_with_tls(dir: &Path, args: &[String]) -> Result<Self> {
        let certificate = Certificate::make(dir)?;
        let mut command = server_command();
        command.args(certificate.flags());
        let mut subject = Self::start(command, "sse-server", dir, args)?;
        for url in [&mut subject.follow_url, &mut subject.publish_url] {
            *url = url.replacen("http://", "https://", 1);
        }
        Ok(Self { ca_file: Some(certificate.chain), ..subject })
    }

    /// The yardstick, which does nothing but send.
    pub fn bare_loop(dir: &Path) -> Result<Self> {
        Self::start(Command::new(workspace::built("bare_loop")), "bare_loop", dir, &[])
    }

    /// A program of ours that takes the flags of the yardstick and has the same paths.
    pub fn program(path: &Path, name: &str, dir: &Path) -> Result<Self> {
        Self::start(Command::new(path), name, dir, &[])
    }

    /// Somebody else's server, which has been started, and what the load generator has to know of it.
    pub fn started(process: Process, follow_url: String, publish_url: String, loadgen_args: &[&str]) -> Self {
        Self {
            follow_url,
            publish_url,
            pid: Some(process.pid()),
            ca_file: None,
            loadgen_args: loadgen_args.iter().map(|arg| (*arg).to_owned()).collect(),
            process: Some(process),
        }
    }

    fn start(mut command: Command, name: &str, dir: &Path, args: &[String]) -> Result<Self> {
        let ready = dir.join(format!("{name}.ready"));
        if ready.exists() {
            fs::remove_file(&ready).context("removing the last run's ready file")?;
        }
        command.args(["--listen", "127.0.0.1:0", "--ready-file"]).arg(&ready).args(args);
        let mut process = Process::start(&mut command, &dir.join(format!("{name}.log")))?;
        let address = address(&process.ready(&ready)?)?;
        Ok(Self {
            follow_url: format!("http://{address}/events/{{topic}}"),
            publish_url: format!("http://{address}/events/{{topic}}"),
            pid: Some(process.pid()),
            ca_file: None,
            loadgen_args: Vec::new(),
            process: Some(process),
        })
    }

    /// Follows several topics on each stream from here on, as the native interface does it.
    pub fn with_several_topics(mut self) -> Self {
        if self.process.is_some() {
            self.follow_url = self.follow_url.replace("/events/{topic}", "/events?{topic=*}");
        }
        self
    }

    /// Stops what was started; a server that had died by then is an error.
    pub fn stop(self) -> Result<()> {
        self.process.map_or(Ok(()), Process::stop)
    }
}

fn server_command() -> Command {
    let mut command = Command::new(workspace::built("sse-server"));
    command.args(["--admin-listen", "127.0.0.1:0"]);
    command
}

/// The first address in a ready file.
fn address(ready: &str) -> Result<String> {
    let ready: serde_json::Value = serde_json::from_str(ready).context("the ready file is no JSON")?;
    Ok(ready["listen"][0].as_str().context("the ready file names no address")?.to_owned())
}

/// The load generator's command.
pub fn loadgen(subject: &Subject) -> Command {
    let mut command = Command::new(workspace::built("sse-loadgen"));
    command.args(["--follow-url", &subject.follow_url, "--publish-url", &subject.publish_url]);
    if let Some(pid) = subject.pid {
        command.args(["--server-pid", &pid.to_string()]);
    }
    if let Some(ca_file) = &subject.ca_file {
        command.arg("--ca-file").arg(ca_file);
    }
    command.args(&subject.loadgen_args);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_ready_file() {
        let ready = r#"{"listen":["127.0.0.1:41234","[::1]:5"],"admin":"127.0.0.1:41235"}"#;
        assert_eq!(address(ready).unwrap(), "127.0.0.1:41234");
        assert!(address("{}").is_err());
        assert!(address("").is_err());
    }
}
