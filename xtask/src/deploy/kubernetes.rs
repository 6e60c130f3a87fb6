//! The manifests: valid by Kubernetes' own schemas, and of one piece.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use super::{Yard, linters};
use crate::faults::finding::Findings;
use crate::program;

/// The oldest and the newest Kubernetes that they are checked for.
const VERSIONS: [&str; 2] = ["1.27", "1.33"];
/// What ending takes beyond the drain, at most.
const ENDING_SECONDS: u64 = 10;
const TO_JSON: &str = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)";

pub fn check(yard: &Yard, findings: &mut Findings) -> Result<()> {
    let (manifests, linters) = (Yard::deployed("kubernetes/sse-server.yaml"), linters::installed()?);
    for version in VERSIONS {
        let mut validate = linters::python(&linters);
        validate.args(["-m", "kubernetes_validate", "--strict", "--quiet", "--kubernetes-version", version]);
        let validated = validate.arg(&manifests).output()?;
        print!("{}{}", String::from_utf8_lossy(&validated.stdout), String::from_utf8_lossy(&validated.stderr));
        findings.is_so(&format!("valid for Kubernetes {version}"), validated.status.success());
    }
    let text = program::read(linters::python(&linters).args(["-c", TO_JSON]).arg(&manifests))?;
    let all: Vec<Value> = serde_json::from_str(&text)?;
    let faults = faults(&all)?;
    faults.iter().for_each(|fault| println!("{fault}"));
    findings.none("what does not fit together", faults.len() as u64);
    findings.is_so("the server takes the pod's settings", takes_settings(yard, &all)?);
    Ok(())
}

/// What of the manifests contradicts the rest.
fn faults(all: &[Value]) -> Result<Vec<String>> {
    let set = one(all, "StatefulSet")?;
    let (spec, pod) = (&set["spec"], &set["spec"]["template"]["spec"]);
    let container = &pod["containers"][0];
    let labels = spec["template"]["metadata"]["labels"].as_object().context("the pod has no labels")?;
    let mut faults = Vec::new();
    let mut must = |holds: bool, fault: &str| faults.extend((!holds).then(|| fault.to_owned()));
    must(selects(&spec["selector"]["matchLabels"], labels), "the StatefulSet does not select its pod");
    for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
        let spec = &one(all, kind)?["spec"];
        let selector = if kind == "NetworkPolicy" { &spec["podSelector"] } else { &spec["selector"] };
        must(selects(&selector["matchLabels"], labels), &format!("the {kind} does not select the pod"));
    }
    let ports: Vec<&str> = named(&container["ports"]);
    for service in all.iter().filter(|one| one["kind"] == "Service") {
        must(selects(&service["spec"]["selector"], labels), &format!("{} does not select the pod", name(service)));
        for port in service["spec"]["ports"].as_array().into_iter().flatten() {
            let target = port["targetPort"].as_str().unwrap_or_default();
            must(ports.contains(&target), &format!("{} sends to {target}, a port that is not there", name(service)));
        }
    }
    let services: Vec<&str> = all.iter().filter(|one| one["kind"] == "Service").map(name).collect();
    must(
        services.contains(&spec["serviceName"].as_str().unwrap_or_default()),
        "there is no service of the StatefulSet",
    );
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        must(get["port"] == "admin", &format!("the {probe} does not ask the admin listener"));
        let path = if probe == "readinessProbe" { "/readyz" } else { "/livez" };
        must(get["path"] == path, &format!("the {probe} does not ask {path}"));
    }
    must(spec["replicas"] == 1, "several pods would be several hubs");
    let settings = settings(all)?;
    let drain = setting(&settings, "drain_window")
        .and_then(|value| value.trim_matches('"').trim_end_matches('s').parse::<u64>().ok());
    let grace = pod["terminationGracePeriodSeconds"].as_u64();
    must(
        drain.zip(grace).is_some_and(|(drain, grace)| grace >= drain + ENDING_SECONDS),
        "the pod is killed as it drains",
    );
    for (key, port) in [("listen", "http"), ("admin_listen", "admin")] {
        let number = container["ports"].as_array().into_iter().flatten().find(|one| one["name"] == port);
        let number = number.and_then(|one| one["containerPort"].as_u64()).unwrap_or_default();
        let is_there = setting(&settings, key).is_some_and(|value| value.contains(&format!("0.0.0.0:{number}\"")));
        must(is_there, &format!("{key} is not the container's port {port}, {number}"));
    }
    let mounts: Vec<&str> = container["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["mountPath"].as_str())
        .collect();
    let data_dir = setting(&settings, "data_dir").unwrap_or_default().trim_matches('"');
    must(mounts.contains(&data_dir), "the data directory is on no volume");
    let secure = &container["securityContext"];
    must(
        secure["readOnlyRootFilesystem"] == true && secure["allowPrivilegeEscalation"] == false,
        "the container is not locked down",
    );
    must(pod["securityContext"]["runAsNonRoot"] == true, "it may run as root");
    Ok(faults)
}

fn one<'a>(all: &'a [Value], kind: &str) -> Result<&'a Value> {
    let mut of_kind = all.iter().filter(|one| one["kind"] == kind);
    let first = of_kind.next().with_context(|| format!("there is no {kind}"))?;
    ensure!(of_kind.next().is_none(), "there are several {kind}s");
    Ok(first)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn named(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect()
}

/// An empty selector takes everything, which is never meant here.
fn selects(selector: &Value, labels: &Map<String, Value>) -> bool {
    let selector = selector.as_object();
    selector
        .is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

/// The server's file in the ConfigMap.
fn settings(all: &[Value]) -> Result<String> {
    let file = &one(all, "ConfigMap")?["data"]["sse-server.toml"];
    Ok(file.as_str().context("the ConfigMap has no sse-server.toml")?.to_owned())
}

fn setting<'a>(settings: &'a str, key: &str) -> Option<&'a str> {
    settings.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('=')).map(str::trim)
}

/// Whether they are good, with what the pod sets and with what Kubernetes sets for a service of this name.
fn takes_settings(yard: &Yard, all: &[Value]) -> Result<bool> {
    let file = yard.dir.join("sse-server.toml");
    fs::write(&file, settings(all)?)?;
    let mut command = Command::new(&yard.server);
    command.env_clear().args(["check-config", "--config"]).arg(&file);
    command.env("SSE_SERVER_SERVICE_HOST", "10.0.0.1").env("SSE_SERVER_PORT_80_TCP", "tcp://10.0.0.1:80");
    let container = &one(all, "StatefulSet")?["spec"]["template"]["spec"]["containers"][0];
    for variable in container["env"].as_array().into_iter().flatten() {
        // What stands for a secret is as long as the real one.
        let value = variable["value"].as_str().map_or_else(|| "7f3a9c51e2".repeat(7), str::to_owned);
        command.env(variable["name"].as_str().unwrap_or_default(), value);
    }
    let checked = command.output()?;
    print!("{}", String::from_utf8_lossy(&checked.stderr));
    Ok(checked.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_selector_has_to_name_the_labels() {
        let labels = json!({"a": "1", "b": "2"});
        let labels = labels.as_object().unwrap();
        assert!(selects(&json!({"a": "1"}), labels));
        assert!(!selects(&json!({"a": "2"}), labels) && !selects(&json!({}), labels) && !selects(&json!(null), labels));
    }

    #[test]
    fn settings_are_read_from_the_file() {
        let file = "listen = [\"0.0.0.0:1\"]\ndrain_window = \"20s\"\n";
        assert_eq!(setting(file, "listen"), Some("[\"0.0.0.0:1\"]"));
        assert_eq!(setting(file, "drain_window"), Some("\"20s\""));
        assert_eq!(setting(file, "data_dir"), None);
    }
}
