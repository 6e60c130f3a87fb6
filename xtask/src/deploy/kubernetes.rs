//! The manifests: valid by Kubernetes' own schemas, and of one piece.

use std::fs;

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

/// What the manifests are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One server, with a log on a volume.
    One,
    /// Several nodes that share an engine, and keep nothing.
    Several,
}

impl Form {
    fn file(self) -> &'static str {
        match self {
            Self::One => "sse-server.yaml",
            Self::Several => "several-nodes.yaml",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::One => "StatefulSet",
            Self::Several => "Deployment",
        }
    }
}

pub fn check(yard: &Yard, findings: &mut Findings) -> Result<()> {
    [Form::One, Form::Several].into_iter().try_for_each(|form| check_form(form, yard, findings))
}

fn check_form(form: Form, yard: &Yard, findings: &mut Findings) -> Result<()> {
    let (file, linters) = (form.file(), linters::installed()?);
    let manifests = Yard::deployed("kubernetes").join(file);
    for version in VERSIONS {
        let mut validate = linters::python(&linters);
        validate.args(["-m", "kubernetes_validate", "--strict", "--quiet", "--kubernetes-version", version]);
        let validated = validate.arg(&manifests).output()?;
        print!("{}{}", String::from_utf8_lossy(&validated.stdout), String::from_utf8_lossy(&validated.stderr));
        findings.is_so(&format!("{file}: valid for Kubernetes {version}"), validated.status.success());
    }
    let text = program::read(linters::python(&linters).args(["-c", TO_JSON]).arg(&manifests))?;
    let all: Vec<Value> = serde_json::from_str(&text)?;
    let faults = faults(form, &all)?;
    faults.iter().for_each(|fault| println!("{fault}"));
    findings.none(&format!("{file}: what does not fit together"), faults.len() as u64);
    findings.is_so(&format!("{file}: the server takes the pod's settings"), takes_settings(form, yard, &all)?);
    Ok(())
}

/// What of the manifests contradicts the rest.
fn faults(form: Form, all: &[Value]) -> Result<Vec<String>> {
    let set = one(all, form.kind())?;
    let (spec, pod) = (&set["spec"], &set["spec"]["template"]["spec"]);
    let container = &pod["containers"][0];
    let labels = spec["template"]["metadata"]["labels"].as_object().context("the pod has no labels")?;
    let mut faults = Vec::new();
    let mut must = |holds: bool, fault: &str| faults.extend((!holds).then(|| fault.to_owned()));
    must(selects(&spec["selector"]["matchLabels"], labels), "the pods' owner does not select them");
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
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        must(get["port"] == "admin", &format!("the {probe} does not ask the admin listener"));
        let path = if probe == "readinessProbe" { "/readyz" } else { "/livez" };
        must(get["path"] == path, &format!("the {probe} does not ask {path}"));
    }
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
    let secure = &container["securityContext"];
    must(
        secure["readOnlyRootFilesystem"] == true && secure["allowPrivilegeEscalation"] == false,
        "the container is not locked down",
    );
    must(pod["securityContext"]["runAsNonRoot"] == true, "it may run as root");
    faults.extend(match form {
        Form::One => faults_of_one(all, spec, container, &settings),
        Form::Several => faults_of_several(all, spec, container, &settings)?,
    });
    Ok(faults)
}

/// What is right for one server alone.
fn faults_of_one(all: &[Value], spec: &Value, container: &Value, settings: &str) -> Vec<String> {
    let services: Vec<&str> = all.iter().filter(|one| one["kind"] == "Service").map(name).collect();
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let mounts: Vec<&str> = mounts.filter_map(|one| one["mountPath"].as_str()).collect();
    let data_dir = setting(settings, "data_dir").unwrap_or_default().trim_matches('"');
    let must = [
        (services.contains(&spec["serviceName"].as_str().unwrap_or_default()), "the StatefulSet has no service"),
        (spec["replicas"] == 1, "several pods would be several hubs"),
        (mounts.contains(&data_dir), "the data directory is on no volume"),
    ];
    broken(&must)
}

/// What is right for nodes that share an engine.
fn faults_of_several(all: &[Value], spec: &Value, container: &Value, settings: &str) -> Result<Vec<String>> {
    let replicas = spec["replicas"].as_u64().unwrap_or_default();
    let budget = one(all, "PodDisruptionBudget")?["spec"]["maxUnavailable"].as_u64();
    let mut variables = container["env"].as_array().into_iter().flatten();
    let is_from_a_secret = |one: &Value| one["valueFrom"]["secretKeyRef"]["key"] == "backplane";
    let must = [
        (replicas >= 2, "one pod is not several"),
        (
            variables.any(|one| one["name"] == "SSE_BACKPLANE" && is_from_a_secret(one)),
            "the engine's address is no secret",
        ),
        (setting(settings, "data_dir").is_none(), "a data directory and a backplane exclude each other"),
        (spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, "a roll-out takes a node before there is another"),
        (budget.is_some_and(|budget| budget >= 1 && budget < replicas), "the budget lets none leave, or all"),
        (setting(settings, "drain_window").is_some(), "the drain is left to the default"),
    ];
    Ok(broken(&must))
}

fn broken(must: &[(bool, &str)]) -> Vec<String> {
    must.iter().filter(|(holds, _)| !holds).map(|(_, fault)| (*fault).to_owned()).collect()
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
fn takes_settings(form: Form, yard: &Yard, all: &[Value]) -> Result<bool> {
    let file = yard.dir.join("sse-server.toml");
    fs::write(&file, settings(all)?)?;
    let mut command = yard.check_config();
    command.arg("--config").arg(&file);
    command.env("SSE_SERVER_SERVICE_HOST", "10.0.0.1").env("SSE_SERVER_PORT_80_TCP", "tcp://10.0.0.1:80");
    let container = &one(all, form.kind())?["spec"]["template"]["spec"]["containers"][0];
    for variable in container["env"].as_array().into_iter().flatten() {
        let secret = match variable["valueFrom"]["secretKeyRef"]["key"].as_str() {
            Some("backplane") => "redis://redis:6379",
            _ => Yard::KEY,
        };
        command.env(variable["name"].as_str().unwrap_or_default(), variable["value"].as_str().unwrap_or(secret));
    }
    Yard::is_taken(&mut command)
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
