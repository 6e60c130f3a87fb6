//! The servers that are compared: how each is started, and what the load generator has to know of it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::faults::bench::wait_for;
use crate::faults::clear;
use crate::loadtest::process::Process;
use crate::loadtest::subject::Subject;
use crate::proxies::proxy::free_address;
use crate::proxies::raw;
use crate::setup::NCHAN;
use crate::{program, workspace};

const READY_WITHIN: Duration = Duration::from_secs(20);
/// The topic that the load generator makes of its prefix.
const TOPIC: &str = "peers-0";
/// No secret: it is for servers on loopback that live for seconds.
const KEY: &str = "a key for a load test on loopback, and nothing else";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// A server to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// This workspace's.
    Server,
    /// The yardstick, which does nothing but send.
    BareLoop,
    /// nginx with nchan, of the system's packages.
    Nchan,
    /// axum's `Sse` over a broadcast channel: `benches/peers`.
    Axum,
    /// Go's net/http with a channel for each client: `benches/peers`.
    Go,
    /// A Mercure hub.
    Mercure(PathBuf),
    /// Centrifugo with its transport of one direction.
    Centrifugo(PathBuf),
    /// Durable streams, in memory as everyone else.
    DurableStreams(PathBuf),
}

impl Peer {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Server => "sse-server",
            Self::BareLoop => "bare loop",
            Self::Nchan => "nchan",
            Self::Axum => "axum",
            Self::Go => "go",
            Self::Mercure(_) => "mercure",
            Self::Centrifugo(_) => "centrifugo",
            Self::DurableStreams(_) => "durable-streams",
        }
    }

    /// Whether the others are compared with it.
    pub fn is_reference(&self) -> bool {
        matches!(self, Self::Server | Self::BareLoop)
    }

    /// Builds what cargo does not.
    pub fn build(&self, dir: &Path) -> Result<()> {
        if *self != Self::Go {
            return Ok(());
        }
        let mut go = Command::new("go");
        go.current_dir(workspace::root().join("benches/peers"))
            .args(["build", "-o"])
            .arg(dir.join("hub"))
            .arg("hub.go");
        program::run(&mut go)
    }

    /// Starts it, with its files in `dir`.
    pub fn start(&self, dir: &Path) -> Result<Subject> {
        match self {
            Self::Server => Subject::server(dir, &[]),
            Self::BareLoop => Subject::bare_loop(dir),
            Self::Axum => Subject::program(&workspace::built("axum_broadcast"), "axum", dir),
            Self::Go => Subject::program(&dir.join("hub"), "go", dir),
            Self::Nchan => Site::new(self, dir)?.nchan(),
            Self::Mercure(binary) => Site::new(self, dir)?.mercure(binary),
            Self::Centrifugo(binary) => Site::new(self, dir)?.centrifugo(binary),
            Self::DurableStreams(binary) => Site::new(self, dir)?.durable_streams(binary),
        }
    }
}

/// Where somebody else's server stands.
struct Site {
    name: &'static str,
    dir: PathBuf,
    address: SocketAddr,
}

impl Site {
    fn new(peer: &Peer, dir: &Path) -> Result<Self> {
        let dir = dir.join(peer.name());
        clear(&dir)?;
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self { name: peer.name(), dir, address: free_address()? })
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn run(&self, command: &mut Command) -> Result<Process> {
        let process = Process::start(command.current_dir(&self.dir), &self.dir.join("output.log"))?;
        let up = wait_for(READY_WITHIN, || Ok(TcpStream::connect(self.address).is_ok()))?;
        ensure!(up.is_some(), "{} does not listen:\n{}", self.name, process.log_end());
        Ok(process)
    }

    /// As many workers as there are cores, as its users have it. All of them are measured.
    fn nchan(&self) -> Result<Subject> {
        let (dir, address) = (self.dir.display(), self.address);
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("  {what}_temp_path {dir}/{what};\n"))
            .concat();
        let config = format!(
            "daemon off;\nload_module {NCHAN};\npid {dir}/pid;\nerror_log {dir}/error.log;\nworker_processes auto;\n\
             events {{ worker_connections 16384; }}\nhttp {{\n  access_log off;\n  tcp_nodelay on;\n{temporary}\
             \x20 nchan_shared_memory_size 256M;\n  keepalive_requests 1000000;\n  server {{\n    \
             listen {address} backlog=4096;\n    \
             location ~ ^/sub/(.+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1; \
             nchan_subscriber_first_message newest; }}\n    \
             location ~ ^/pub/(.+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_message_buffer_length 8192; \
             nchan_message_timeout 5m; }}\n  }}\n}}\n"
        );
        let config = self.write("nginx.conf", &config)?;
        let process = self.run(Command::new("nginx").args(["-e", "stderr", "-c"]).arg(config))?;
        // It listens before they are there, and one that is missed would not be measured.
        let count = std::thread::available_parallelism()?.get();
        let has_all = wait_for(READY_WITHIN, || Ok(children(process.pid())?.len() >= count))?;
        ensure!(has_all.is_some(), "nginx has not {count} workers:\n{}", process.log_end());
        let workers = children(process.pid())?;
        let pids: Vec<String> = workers.iter().map(|pid| format!("--server-pid={pid}")).collect();
        let pids: Vec<&str> = pids.iter().map(String::as_str).collect();
        let [follow, publish] = ["sub", "pub"].map(|path| format!("http://{address}/{path}/{{topic}}"));
        Ok(Subject::started(process, follow, publish, &pids))
    }

    fn mercure(&self, binary: &Path) -> Result<Subject> {
        let address = self.address;
        let config = format!(
            "{{\n  auto_https off\n  admin off\n}}\nhttp://{address} {{\n  mercure {{\n    publisher_jwt \"{KEY}\"\n    \
             subscriber_jwt \"{KEY}\"\n    anonymous\n  }}\n  respond 404\n}}\n"
        );
        let config = self.write("Caddyfile", &config)?;
        let process = self.run(Command::new(binary).args(["run", "--adapter", "caddyfile", "--config"]).arg(config))?;
        mercure_subject(process, address)
    }

    /// Everything is allowed: it is asked how fast it delivers.
    fn centrifugo(&self, binary: &Path) -> Result<Subject> {
        let address = self.address;
        let config = serde_json::json!({
            "http_server": {"address": address.ip().to_string(), "port": address.port().to_string()},
            "client": {"insecure": true},
            "http_api": {"insecure": true},
            "uni_sse": {"enabled": true},
            "channel": {"without_namespace": {"allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true}},
        });
        let config = self.write("config.json", &config.to_string())?;
        let process = self.run(Command::new(binary).arg("--config").arg(config))?;
        // {"subs":{"TOPIC":{}}}
        let connect = "%7B%22subs%22%3A%7B%22{topic}%22%3A%7B%7D%7D%7D";
        Ok(Subject::started(
            process,
            format!("http://{address}/connection/uni_sse?cf_connect={connect}"),
            format!("http://{address}/api/publish"),
            &[
                "--wrapped",
                "--publish-header=Content-Type: application/json",
                r#"--publish-body={"channel":"{topic}","data":"{data}"}"#,
            ],
        ))
    }

    fn durable_streams(&self, binary: &Path) -> Result<Subject> {
        let address = self.address;
        let mut command = Command::new(binary);
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--durability", "memory"]);
        let process = self.run(command.arg("--data-dir").arg(self.dir.join("data")))?;
        let head = format!("PUT /{TOPIC} HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain\r\n");
        let made = raw::exchange(address, format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())?;
        ensure!(made.starts_with("HTTP/1.1 20"), "no stream was made: {made}");
        let url = format!("http://{address}/{{topic}}");
        let follow = format!("{url}?offset=now&live=sse");
        Ok(Subject::started(process, follow, url, &["--wrapped", "--publish-header=Content-Type: text/plain"]))
    }
}

/// Any hub of the Mercure protocol whose key is [`KEY`].
fn mercure_subject(process: Process, address: SocketAddr) -> Result<Subject> {
    let mut token = Command::new(workspace::built("sse-server"));
    token.args(["token", "--key", KEY, "--publish", "*", "--expires-in", "off"]);
    let authorization = format!("--publish-header=Authorization: Bearer {}", program::read(&mut token)?.trim());
    let url = format!("http://{address}/.well-known/mercure");
    let form = format!("--publish-header={FORM}");
    let args = [authorization.as_str(), &form, "--publish-body=topic={topic}&data={data}"];
    Ok(Subject::started(process, format!("{url}?topic={{topic}}"), url, &args))
}

/// The processes that this one has started and that still run.
fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("looking for processes")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended since.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if parent_of(&stat) == Some(parent) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The name before it may contain anything.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_by_its_parent() {
        assert_eq!(parent_of("12 (a) b (c)) S 7 2 3"), Some(7));
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(children(std::process::id()).unwrap().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
