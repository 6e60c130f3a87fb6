//! What the tests need from the system's packages.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::program;

/// A command that some test runs or a file by its path, and the package that has it.
struct Need {
    command: &'static str,
    package: &'static str,
    why: &'static str,
}

impl Need {
    /// A path names a file, which need not be a program.
    fn is_there(&self) -> bool {
        if self.command.starts_with('/') {
            Path::new(self.command).exists()
        } else {
            program::find(self.command).is_some()
        }
    }
}

/// Everything beside the Rust toolchain. Add a line here when a test needs a new program.
const NEEDS: &[Need] = &[
    Need { command: "chromium", package: "chromium", why: "client tests: a real browser's EventSource" },
    Need { command: "node", package: "nodejs", why: "client tests" },
    Need { command: "npm", package: "npm", why: "client tests" },
    Need { command: "python3", package: "python3", why: "client tests" },
    Need { command: "pip3", package: "python3-pip", why: "client tests" },
    Need { command: "curl", package: "curl", why: "the documents, tried as written" },
    Need { command: "openssl", package: "openssl", why: "certificates for client tests and load tests" },
    Need { command: "nghttp", package: "nghttp2-client", why: "clients of HTTP/2" },
    Need { command: "h2load", package: "nghttp2-client", why: "clients of HTTP/2" },
    Need { command: "ip", package: "iproute2", why: "faults: clients that vanish, in a network of their own" },
    Need { command: "ss", package: "iproute2", why: "faults: what sockets hold in the kernel" },
    Need { command: "strace", package: "strace", why: "faults: syncs that fail or take long" },
    Need { command: "nsenter", package: "util-linux", why: "faults: a small disk, in a namespace of its own" },
    Need { command: "unshare", package: "util-linux", why: "faults, documents, systemd's units: namespaces" },
    Need { command: "nginx", package: "nginx", why: "proxies" },
    Need { command: "haproxy", package: "haproxy", why: "proxies" },
    Need { command: "caddy", package: "caddy", why: "proxies" },
    Need { command: "varnishd", package: "varnish", why: "proxies" },
    Need { command: "prometheus", package: "prometheus", why: "alert rules and the dashboard" },
    Need { command: "promtool", package: "prometheus", why: "alert rules and the dashboard" },
    Need { command: "systemd-analyze", package: "systemd", why: "systemd's units" },
    Need { command: "redis-server", package: "redis-server", why: "backplanes" },
    Need { command: "nats-server", package: "nats-server", why: "backplanes" },
    Need { command: "setpriv", package: "util-linux", why: "backplanes: engines that end with their test" },
    Need { command: "cc", package: "gcc", why: "faults: a wall clock that jumps" },
    Need { command: "c++", package: "g++", why: "the engine of the fuzz targets" },
];

/// What making a release takes besides.
const NEEDS_OF_RELEASES: &[Need] = &[
    Need { command: "musl-gcc", package: "musl-tools", why: "static binaries" },
    Need { command: "objdump", package: "binutils", why: "what binaries ask for" },
    Need { command: "dpkg-shlibdeps", package: "dpkg-dev", why: "what the package for Debian depends on" },
    Need { command: "lintian", package: "lintian", why: "the package for Debian" },
    Need { command: "ip", package: "iproute2", why: "the package for Debian, tried in a network of its own" },
    Need { command: "curl", package: "curl", why: "the package for Debian, tried" },
    Need { command: "man", package: "man-db", why: "the package for Debian, tried" },
    Need { command: "systemd-sysusers", package: "systemd", why: "the package for Debian, tried" },
];

/// What the comparison with other servers takes besides.
const NEEDS_OF_PEERS: &[Need] = &[
    Need { command: "nginx", package: "nginx", why: "a peer" },
    Need { command: NCHAN, package: "libnginx-mod-nchan", why: "a peer" },
    Need { command: "go", package: "golang-go", why: "a peer, which is built" },
];

/// The module that makes nginx a peer.
pub const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// Installs what the tests need and what is missing, or says how to.
pub fn run() -> Result<()> {
    provide(NEEDS)
}

/// The same for what making a release takes.
pub fn run_for_releases() -> Result<()> {
    provide(NEEDS_OF_RELEASES)
}

/// The same for the peers.
pub fn run_for_peers() -> Result<()> {
    provide(NEEDS_OF_PEERS)
}

fn provide(needs: &'static [Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.is_there()).collect();
    if missing.is_empty() {
        println!("all {} programs that this needs are there", needs.len());
        return Ok(());
    }
    for need in &missing {
        println!("missing: {} (for {}), in the package {}", need.command, need.why, need.package);
    }
    let packages = packages_of(&missing);
    if program::find("apt-get").is_none() {
        bail!("install these with your system's package manager, they go by the Debian names {}", packages.join(" "));
    }
    if !rustix::process::geteuid().is_root() {
        bail!("run this once: sudo apt-get update && sudo apt-get install -y {}", packages.join(" "));
    }
    install(&packages)?;
    match missing.iter().find(|need| !need.is_there()) {
        Some(need) => bail!("the package {} is installed, but there is no {} on the PATH", need.package, need.command),
        None => Ok(()),
    }
}

/// Each package once: several commands may come from one.
fn packages_of(missing: &[&Need]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn install(packages: &[&str]) -> Result<()> {
    program::run(apt().arg("update")).context("fetching the lists of packages")?;
    program::run(apt().args(["install", "-y", "--no-install-recommends"]).args(packages)).context("installing packages")
}

/// `apt-get` that asks nothing, and waits for another one to finish rather than fail.
fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_needed_once() {
        for needs in [NEEDS, NEEDS_OF_RELEASES] {
            let mut commands: Vec<&str> = needs.iter().map(|need| need.command).collect();
            commands.sort_unstable();
            commands.dedup();
            assert_eq!(commands.len(), needs.len());
        }
    }

    #[test]
    fn a_package_of_several_commands_is_named_once() {
        let needs: Vec<&Need> = NEEDS.iter().collect();
        let packages = packages_of(&needs);
        assert_eq!(packages.iter().filter(|package| **package == "iproute2").count(), 1);
        assert!(needs.iter().all(|need| packages.contains(&need.package)));
    }
}
