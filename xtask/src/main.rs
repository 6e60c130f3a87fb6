//! Every chore of the workspace: `cargo xtask <chore>`, one file per chore.

#![expect(unreachable_pub, reason = "a program has no outside: `pub` is for the files beside")]

mod bench;
mod certificate;
mod chart;
mod ci;
mod clients;
mod cluster;
mod deny;
mod deploy;
mod dist;
mod docs;
mod faults;
mod fuzz;
mod h2spec;
mod loadtest;
mod loom;
mod miri;
mod msrv;
mod mutants;
mod page;
mod parts;
mod peers;
mod planted;
mod program;
mod proxies;
mod scale;
mod setup;
mod shuttle;
mod sim;
mod soak;
mod tally;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The chores of this workspace")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what the tests need from the system's packages
    Setup,
    /// Run everything that CI runs, step by step
    Ci(ci::Args),
    /// Prove on this machine what the server does under load
    Loadtest(Box<loadtest::Args>),
    /// Measure other servers beside this one, with the same load on the same machine
    Peers(peers::Args),
    /// Run mixed load for long and judge the slopes of memory, descriptors and threads
    Soak(soak::Args),
    /// Inject faults into the release server and judge what becomes of it
    Faults(faults::Args),
    /// Have several nodes share an engine, break what can break, and judge every stream
    Cluster(cluster::Args),
    /// The clients of a row of `cluster`, which starts them
    #[command(hide = true)]
    ClusterCrowd(cluster::crowds::Args),
    /// The clients of a row of `faults`, which starts them
    #[command(hide = true)]
    Replaying(faults::replaying::Args),
    /// Follow the release server with real clients: Chromium and the npm packages people use
    Clients,
    /// Put real proxies before the release server, with their files of `deploy`
    Proxies(proxies::Args),
    /// Say how many nodes it takes, by the model of docs/scale.md
    Scale(scale::Args),
    /// Check the files of `deploy/` with the tools that read them: units, alert rules, the dashboard
    Deploy(deploy::Args),
    /// Make what a release has: archives for glibc and musl, a package for Debian, checksums and a bill of materials
    Dist(dist::Args),
    /// Try all that h2spec asks of a server of HTTP/2
    H2spec,
    /// Model-check the lock-free pieces
    Loom,
    /// Run whole hubs under threads that are switched at random
    Shuttle(shuttle::Args),
    /// Simulate the hub over a log, with crashes, faults and hostile subscribers, from seeds
    Sim(sim::Args),
    /// Fuzz the targets of all crates, guided by coverage
    Fuzz(fuzz::Args),
    /// Look for undefined behaviour in sse-wire and the ring, with Miri
    Miri,
    /// Change what functions do, one at a time, and see whether a test notices
    Mutants(mutants::Args),
    /// Plant known bugs in a copy of the tree, and see whether a test notices
    Planted(planted::Args),
    /// Run the criterion benches
    Bench(bench::Args),
    /// Run every command of the documents, check their links and build the book
    Docs(docs::Args),
    /// The commands of one page, in namespaces that `docs` has made
    #[command(hide = true)]
    DocsPage(docs::PageArgs),
    /// Check licences, sources, banned versions and, when its database can be had, advisories
    Deny,
    /// Check that the toolchain in use is the `rust-version` of the manifest
    Msrv,
}

impl Chore {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Setup => setup::run(),
            Self::Ci(args) => ci::run(args),
            Self::Loadtest(args) => loadtest::run(*args),
            Self::Peers(args) => peers::run(args),
            Self::Soak(args) => soak::run(args),
            Self::Faults(args) => faults::run(args),
            Self::Cluster(args) => cluster::run(args),
            Self::ClusterCrowd(args) => cluster::crowds::run(args),
            Self::Replaying(args) => faults::replaying::run(args),
            Self::Clients => clients::run(),
            Self::Proxies(args) => proxies::run(args),
            Self::Scale(args) => scale::run(args),
            Self::Deploy(args) => deploy::run(args),
            Self::Dist(args) => dist::run(args),
            Self::H2spec => h2spec::run(),
            Self::Loom => loom::run(),
            Self::Shuttle(args) => shuttle::run(args),
            Self::Sim(args) => sim::run(args),
            Self::Fuzz(args) => fuzz::run(args),
            Self::Miri => miri::run(),
            Self::Mutants(args) => mutants::run(args),
            Self::Planted(args) => planted::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Docs(args) => docs::run(args),
            Self::DocsPage(args) => docs::run_page(args),
            Self::Deny => deny::run(),
            Self::Msrv => msrv::run(),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().chore.run() {
        Ok(()) => ExitCode::SUCCESS,
        // The causes, not where in this program they came up: what failed is nearly always another program.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
