//! The server behind real proxies, each with its file of `deploy/`, and behind an nginx that nobody configured.

mod measure;
pub mod proxy;
pub mod raw;
mod smuggling;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::faults::bench::Bench;
use crate::faults::finding::Findings;
use crate::loadtest::{Folder, write};
use crate::setup;
use crate::workspace;
use proxy::{KINDS, Kind};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Proxies by name; all of them when none is given
    names: Vec<String>,
    /// Show that a proxy can fail: run those that hold events back, which must not pass
    #[arg(long)]
    prove: bool,
}

/// Puts each proxy before the server and judges what becomes of the streams.
pub fn run(args: Args) -> Result<()> {
    let kinds = chosen(&args)?;
    setup::run()?;
    workspace::build(&[("sse-server", "sse-server"), ("sse-loadgen", "sse-loadgen")])?;
    let folder = Folder::take("proxies")?;
    let mut judged = Vec::new();
    for kind in kinds {
        println!("{} ..", kind.name);
        let findings = examine(kind, folder.path())?;
        findings.print(kind.name);
        judged.push((kind, findings));
    }
    Findings::print_heading("proxy");
    judged.iter().for_each(|(kind, findings)| findings.print(kind.name));
    println!("evidence: {}", folder.path().display());
    let held = judged.iter().filter(|(_, findings)| findings.hold()).count();
    if args.prove {
        ensure!(held == 0, "{held} proxies hold although they should not");
    } else {
        ensure!(held == judged.len(), "{} of {} proxies do not hold", judged.len() - held, judged.len());
    }
    Ok(())
}

fn chosen(args: &Args) -> Result<Vec<&'static Kind>> {
    if let Some(name) = args.names.iter().find(|name| KINDS.iter().all(|kind| kind.name != **name)) {
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        bail!("there is no proxy {name}; there are {}", known.join(", "));
    }
    let is_wanted = |kind: &&Kind| args.names.is_empty() || args.names.iter().any(|name| name == kind.name);
    Ok(KINDS.iter().filter(is_wanted).filter(|kind| kind.must_fail == args.prove).collect())
}

/// Measures one proxy and keeps the evidence. One that breaks off does not hold.
fn examine(kind: &'static Kind, dir: &Path) -> Result<Findings> {
    let started = Instant::now();
    let bench = Bench::new(kind.name, dir, false, &[]);
    let findings = Findings::of(|findings| measure::through(kind, &bench, findings));
    let mut evidence = findings.to_json();
    evidence["proxy"] = json!(kind.name);
    evidence["seconds"] = json!(started.elapsed().as_secs_f64());
    write(&dir.join(format!("{}.json", kind.name)), &evidence)?;
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    fn names(names: &[&str], prove: bool) -> Vec<&'static str> {
        let args = Args { names: names.iter().map(|name| (*name).to_owned()).collect(), prove };
        chosen(&args).unwrap().iter().map(|kind| kind.name).collect()
    }

    /// What else `deploy/` has, which `cargo xtask deploy` and `cargo xtask dist` check.
    const OTHERS: &[&str] = &["compose", "debian", "grafana", "kubernetes", "prometheus", "sse-server.toml", "systemd"];

    /// Each proxy of `deploy/` is started by a test and told of in the document.
    #[test]
    fn every_configuration_is_tested() {
        let root = workspace::root();
        let document = std::fs::read_to_string(root.join("docs/proxies.md")).unwrap();
        let mut configured: Vec<&str> = KINDS.iter().filter(|kind| kind.is_configured).map(|kind| kind.name).collect();
        let mut deployed = Vec::new();
        for folder in std::fs::read_dir(root.join("deploy")).unwrap().map(Result::unwrap) {
            let name = folder.file_name().into_string().unwrap();
            if OTHERS.contains(&name.as_str()) {
                continue;
            }
            for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
                let link = format!("(../deploy/{name}/{})", file.file_name().into_string().unwrap());
                assert!(document.contains(&link), "the document has no link {link}");
            }
            deployed.push(name);
        }
        configured.sort_unstable();
        deployed.sort_unstable();
        assert_eq!(configured, deployed);
    }

    #[test]
    fn proxies_are_chosen_by_name() {
        assert_eq!(names(&["haproxy", "nginx"], false), ["nginx", "haproxy"]);
        assert!(names(&[], false).len() >= 5);
        assert_eq!(names(&[], true), ["nginx-buffering", "haproxy-default"]);
        assert!(chosen(&Args { names: vec!["squid".to_owned()], prove: false }).is_err());
    }
}
