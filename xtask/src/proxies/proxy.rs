//! The proxies: how each is started on its file of `deploy/`.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::faults::bench::wait_for;
use crate::loadtest::process::Process;
use crate::workspace;

const READY_WITHIN: Duration = Duration::from_secs(20);

/// A proxy with a configuration.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    /// Whether it has a file of `deploy/`, from which more is asked than that events flow.
    pub is_configured: bool,
    /// Whether it holds events back, to show that this is noticed.
    pub must_fail: bool,
    /// The file in which it writes a line for each request, if it does.
    log: Option<&'static str>,
    command: fn(&Site) -> Result<Command>,
}

#[rustfmt::skip]
pub const KINDS: &[Kind] = &[
    Kind { name: "nginx", is_configured: true, must_fail: false, log: Some("access.log"), command: nginx },
    Kind { name: "nginx-default", is_configured: false, must_fail: false, log: Some("access.log"), command: nginx_default },
    Kind { name: "nginx-buffering", is_configured: false, must_fail: true, log: None, command: nginx_buffering },
    Kind { name: "haproxy", is_configured: true, must_fail: false, log: Some("output.log"), command: haproxy },
    Kind { name: "haproxy-default", is_configured: false, must_fail: true, log: None, command: haproxy_default },
    Kind { name: "caddy", is_configured: true, must_fail: false, log: None, command: caddy },
    Kind { name: "varnish", is_configured: true, must_fail: false, log: None, command: varnish },
];

impl Kind {
    pub fn logs_requests(&self) -> bool {
        self.log.is_some()
    }
}

/// Where one proxy stands: its files, its address, and the server's.
struct Site {
    dir: PathBuf,
    listen: SocketAddr,
    server: SocketAddr,
    idle_timeout: Duration,
}

/// A running proxy, which ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    pub address: SocketAddr,
    log: Option<PathBuf>,
}

impl Proxy {
    /// Starts a proxy of this kind before `server`, with its files in `dir`. It allows so long a silence.
    pub fn start(kind: &Kind, dir: &Path, server: SocketAddr, idle_timeout: Duration) -> Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
        }
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let site = Site { dir: dir.to_owned(), listen: free_address()?, server, idle_timeout };
        let mut command = (kind.command)(&site)?;
        let process = Process::start(&mut command, &dir.join("output.log"))?;
        let up = wait_for(READY_WITHIN, || Ok(TcpStream::connect(site.listen).is_ok()))?;
        ensure!(up.is_some(), "{} does not listen:\n{}", kind.name, process.log_end());
        Ok(Self { process, address: site.listen, log: kind.log.map(|log| site.file(log)) })
    }

    /// How many requests it took for this one, by its log.
    pub fn requests_seen(&self, request: &str) -> Result<usize> {
        let path = self.log.as_ref().context("this proxy logs no requests")?;
        let log = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(String::from_utf8_lossy(&log).lines().filter(|line| line.contains(request)).count())
    }

    /// Ends it; that it had died is an error.
    pub fn stop(self) -> Result<()> {
        self.process.stop()
    }
}

/// An address that nobody listens on. Somebody else may take it until the proxy does, which then fails loudly.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").context("looking for a free port")?.local_addr()?)
}

/// What the files of `deploy/` ask the environment for where a proxy knows one.
const IDLE_TIMEOUT: &str = "STREAM_IDLE_TIMEOUT";

impl Site {
    fn idle_timeout_text(&self) -> String {
        format!("{}s", self.idle_timeout.as_secs())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.file(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// The file of `deploy/` with nothing but addresses changed, each of which stands there once.
    fn deployed(&self, file: &str, addresses: &[(&str, String)]) -> Result<PathBuf> {
        let path = workspace::root().join("deploy").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        self.write(path.file_name().and_then(|name| name.to_str()).unwrap_or("copy"), &replaced(text, addresses)?)
    }

    /// nginx with this inside `http`, as one process that keeps its files here.
    fn nginx(&self, http: &str) -> Result<Command> {
        let dir = self.dir.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {dir}/{what};\n"))
            .concat();
        let config = self.write(
            "nginx.conf",
            &format!(
                "daemon off;\nmaster_process off;\npid {dir}/pid;\nevents {{}}\nhttp {{\n{temporary}\
                 log_format asked '$request';\naccess_log {dir}/access.log asked;\n{http}\n}}\n"
            ),
        )?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&self.dir).arg("-e").arg("stderr").arg("-c").arg(config);
        Ok(command)
    }
}

/// `text` with each of these replaced, all of which have to stand in it once.
fn replaced(mut text: String, pairs: &[(&str, String)]) -> Result<String> {
    for (from, to) in pairs {
        let times = text.matches(from).count();
        ensure!(times == 1, "{from:?} stands {times} times in the configuration");
        text = text.replace(from, to);
    }
    Ok(text)
}

fn nginx(site: &Site) -> Result<Command> {
    let copy = site.deployed(
        "nginx/sse.conf",
        &[
            ("listen 80;", format!("listen {};", site.listen)),
            ("server 127.0.0.1:8080;", format!("server {};", site.server)),
        ],
    )?;
    site.nginx(&format!("proxy_read_timeout {}s;\ninclude {};", site.idle_timeout.as_secs(), copy.display()))
}

/// As one begins: an address, and where to pass requests.
fn nginx_default(site: &Site) -> Result<Command> {
    site.nginx(&format!("server {{ listen {}; location / {{ proxy_pass http://{}; }} }}", site.listen, site.server))
}

/// The same without an ear for what the server asks of proxies.
fn nginx_buffering(site: &Site) -> Result<Command> {
    site.nginx(&format!(
        "server {{ listen {}; location / {{ proxy_pass http://{}; proxy_ignore_headers X-Accel-Buffering; }} }}",
        site.listen, site.server
    ))
}

fn haproxy(site: &Site) -> Result<Command> {
    let copy = site.deployed(
        "haproxy/haproxy.cfg",
        &[
            ("bind :80\n", format!("bind {}\n", site.listen)),
            ("server sse 127.0.0.1:8080\n", format!("server sse {}\n", site.server)),
        ],
    )?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(copy).env(IDLE_TIMEOUT, site.idle_timeout_text());
    Ok(command)
}

/// Without what its file of `deploy/` asks for beyond addresses and timeouts.
fn haproxy_default(site: &Site) -> Result<Command> {
    let config = site.write(
        "haproxy.cfg",
        &format!(
            "defaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n\
             frontend web\n    bind {}\n    default_backend sse\nbackend sse\n    server sse {}\n",
            site.listen, site.server
        ),
    )?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(config);
    Ok(command)
}

fn caddy(site: &Site) -> Result<Command> {
    let copy = site.deployed(
        "caddy/Caddyfile",
        &[
            ("sse.example.com {", format!("http://:{} {{", site.listen.port())),
            ("reverse_proxy 127.0.0.1:8080 {", format!("reverse_proxy {} {{", site.server)),
        ],
    )?;
    let config = site
        .write("test.caddy", &format!("{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}}\nimport {}\n", copy.display()))?;
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
    command.env(IDLE_TIMEOUT, site.idle_timeout_text());
    command.env("HOME", &site.dir).env("XDG_DATA_HOME", &site.dir).env("XDG_CONFIG_HOME", &site.dir);
    Ok(command)
}

fn varnish(site: &Site) -> Result<Command> {
    let copy =
        site.deployed("varnish/sse.vcl", &[(".port = \"8080\";", format!(".port = \"{}\";", site.server.port()))])?;
    let mut command = Command::new("varnishd");
    command.args(["-F", "-j", "none", "-T", "none", "-s", "malloc,16m", "-p"]);
    command.arg(format!("pipe_timeout={}", site.idle_timeout.as_secs()));
    command.arg("-a").arg(site.listen.to_string()).arg("-n").arg(site.file("work")).arg("-f").arg(copy);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_to_stand_there_once() {
        let text = || "listen 80;\nserver a;\nserver a;\n".to_owned();
        assert_eq!(replaced(text(), &[("80", "81".to_owned())]).unwrap(), "listen 81;\nserver a;\nserver a;\n");
        assert!(replaced(text(), &[("server a;", String::new())]).is_err());
        assert!(replaced(text(), &[("listen 443;", String::new())]).is_err());
    }
}
