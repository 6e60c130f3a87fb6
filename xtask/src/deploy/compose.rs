//! The nodes of the compose file: of one piece, with settings that the server takes and a proxy's file that HAProxy takes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Yard, linters};
use crate::faults::finding::Findings;
use crate::program;

/// What ending takes beyond the drain, at most.
const ENDING_SECONDS: u64 = 10;
const TO_JSON: &str = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";

pub fn check(yard: &Yard, findings: &mut Findings) -> Result<()> {
    let dir = Yard::deployed("compose");
    let text =
        program::read(linters::python(&linters::installed()?).args(["-c", TO_JSON]).arg(dir.join("compose.yaml")))?;
    let services = &serde_json::from_str::<Value>(&text)?["services"];
    let proxy = fs::read_to_string(dir.join("haproxy.cfg")).context("reading the proxy's file")?;
    let faults = faults(services, &proxy);
    faults.iter().for_each(|fault| println!("{fault}"));
    findings.none("what does not fit together", faults.len() as u64);
    findings.is_so("HAProxy takes its file", takes_file(&dir.join("haproxy.cfg"))?);
    let spoiled = yard.dir.join("haproxy.cfg");
    fs::write(&spoiled, proxy.replace("default_backend nodes", "default_backend none"))?;
    findings.is_so("it does not take one that is spoiled", !takes_file(&spoiled)?);
    findings.is_so("the server takes a node's settings", takes_settings(yard, &services["node"])?);
    Ok(())
}

fn faults(services: &Value, proxy: &str) -> Vec<String> {
    let (node, redis) = (&services["node"], &services["redis"]);
    let variable = |name: &str| node["environment"][name].as_str().unwrap_or_default();
    let port = variable("SSE_LISTEN").rsplit_once(':').map_or("", |(_, port)| port);
    let template = proxy.lines().find_map(|line| line.trim().strip_prefix("server-template node ")).unwrap_or_default();
    let places: u64 = template.split(' ').next().and_then(|places| places.parse().ok()).unwrap_or(0);
    let engine = variable("SSE_BACKPLANE").strip_prefix("redis://").and_then(|at| at.split(':').next()).unwrap_or("");
    let command: Vec<&str> = redis["command"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let says = |words: &[&str]| command.windows(words.len()).any(|part| part == words);
    let replicas = node["deploy"]["replicas"].as_u64().unwrap_or(0);
    let must = [
        (replicas >= 2, "one node is not several"),
        (template.contains(&format!(" node:{port} ")), "the proxy does not know where nodes listen"),
        (places >= replicas, "the proxy has no room for all nodes"),
        (services.get(engine).is_some(), "the engine of the nodes is no service"),
        (node["ports"].is_null() && redis["ports"].is_null(), "what is behind the proxy is open to all"),
        (seconds(&node["stop_grace_period"]) >= drain(node) + ENDING_SECONDS, "a node is killed as it drains"),
        (
            says(&["--appendonly", "yes"]) && says(&["--appendfsync", "always"]),
            "the engine forgets what it has answered",
        ),
        (says(&["--maxmemory-policy", "noeviction"]), "the engine drops what it has answered"),
        (proxy.contains("deny if { path /metrics"), "health and metrics are open to all"),
        (variable("SSE_PUBLISHER_JWT_KEY").contains(":?"), "it starts without a publisher's key"),
    ];
    must.iter().filter(|(holds, _)| !holds).map(|(_, fault)| (*fault).to_owned()).collect()
}

fn drain(node: &Value) -> u64 {
    // None given is none that could be waited for.
    match seconds(&node["environment"]["SSE_DRAIN_WINDOW"]) {
        0 => u64::MAX - ENDING_SECONDS,
        seconds => seconds,
    }
}

fn seconds(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.strip_suffix('s')?.parse().ok()).unwrap_or(0)
}

fn takes_file(file: &Path) -> Result<bool> {
    let checked = Command::new("haproxy").args(["-c", "-f"]).arg(file).output().context("asking HAProxy")?;
    Ok(checked.status.success())
}

fn takes_settings(yard: &Yard, node: &Value) -> Result<bool> {
    let mut command = yard.check_config();
    for (name, value) in node["environment"].as_object().context("a node has no environment")? {
        let value = value.as_str().unwrap_or_default();
        command.env(name, if value.starts_with("${") { Yard::KEY } else { value });
    }
    Yard::is_taken(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_compared_in_seconds() {
        let node = |drain: &str| json!({"environment": {"SSE_DRAIN_WINDOW": drain}});
        assert_eq!((drain(&node("20s")), seconds(&json!("40s"))), (20, 40));
        assert!(drain(&node("")) > 1_000_000, "no drain is known");
    }

    #[test]
    fn nodes_that_nobody_finds_are_told_of() {
        let services = json!({"node": {"deploy": {"replicas": 3}, "environment": {"SSE_LISTEN": "0.0.0.0:8080"}}});
        let told = |proxy: &str| faults(&services, proxy).iter().any(|fault| fault.contains("where nodes listen"));
        assert!(!told("  server-template node 8 node:8080 resolvers docker"));
        assert!(told("  server-template node 8 node:8081 resolvers docker") && told(""));
    }
}
