//! A network of its own for clients that are to vanish without a word: a namespace joined to this one by a cable.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::program;

/// Two addresses of 192.0.2.0/24, which no real network has (RFC 5737), and a namespace that has the second.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// This end of the cable.
    pub here: Ipv4Addr,
}

impl Namespace {
    /// Makes the namespace; it goes when this is dropped.
    pub fn create() -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "a network namespace needs root");
        let id = std::process::id();
        // Runs side by side get networks of four addresses each.
        let base = u32::from(Ipv4Addr::new(192, 0, 2, 0)) + id % 64 * 4;
        let (here, there) = (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2));
        let namespace = Self { name: format!("sse-faults-{id}"), here };
        let name = &namespace.name;
        let (near, far) = (format!("ssef{id}"), format!("ssec{id}"));
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {near} type veth peer name {far} netns {name}"))?;
        ip(&format!("addr add {here}/30 dev {near}"))?;
        ip(&format!("link set {near} up"))?;
        ip(&format!("-n {name} addr add {there}/30 dev {far}"))?;
        ip(&format!("-n {name} link set {far} up"))?;
        Ok(namespace)
    }

    /// Does something in the namespace. Sockets opened there stay in it, whoever uses them later.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = File::open(format!("/run/netns/{}", self.name)).context("opening the namespace")?;
        // A namespace is a thread's: this one ends with the work.
        let worker = || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .context("entering the namespace")?;
            work()
        };
        std::thread::scope(|scope| match scope.spawn(worker).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Cuts the cable in such a way that neither end is told: what the clients' kernel sends goes nowhere.
    pub fn cut(&self) -> Result<()> {
        ip(&format!("-n {} route add blackhole {}/32", self.name, self.here))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cable goes with either of its ends. There is nobody to tell if this fails.
        let _ = ip(&format!("netns del {}", self.name));
    }
}

fn ip(args: &str) -> Result<()> {
    program::run(Command::new("ip").args(args.split(' ')))
}
