//! Grafana's dashboard and the alert rules against a Prometheus that scrapes the server: every query finds something.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Yard;
use crate::certificate::Certificate;
use crate::faults::asking::Asking;
use crate::faults::bench::{Bench, expect};
use crate::faults::crowd::Crowd;
use crate::faults::finding::Findings;
use crate::faults::publisher::Publisher;
use crate::faults::server::Server;
use crate::loadtest::process::Process;
use crate::program;

const WAIT: Duration = Duration::from_secs(20);
const JOB: &str = "sse-server";
/// How long there is traffic: some scrapes long, as rates are taken between them.
const TRAFFIC: Duration = Duration::from_secs(5);
/// Panels that the traffic must not leave at 0.
const COUNTED: [&str; 6] =
    ["Evictions", "Gaps", "Publishes refused", "Until the last follower has it", "Commits", "Sent"];

pub fn check(yard: &Yard, findings: &mut Findings) -> Result<()> {
    let bench = yard.bench();
    let data_dir = format!("--data-dir={}", yard.dir.join("data").display());
    let bounds = ["--lag-frames-max=16", "--lag-grace=200ms", "--ring-frames-max=64", "--write-timeout=1s"];
    let server = yard.start(&bench, &[], &[&[data_dir.as_str()], bounds.as_slice()].concat())?;
    let secure = secure(yard)?;
    let prometheus = Prometheus::start(yard, &server, &secure)?;
    traffic(&server)?;
    expect("evictions", WAIT, || Ok(server.evictions("lagged")? + server.evictions("stalled")? > 0))?;
    expect("a scrape after them", WAIT, || {
        Ok(!prometheus.query("sum(sse_evictions_total) > 0 and sum(sse_gaps_total) > 0")?.is_empty())
    })?;
    judge_dashboard(&prometheus, findings)?;
    judge_rules(&prometheus, findings)?;
    let stalled = prometheus.query("max_over_time(sse_log_stalled_seconds[1m])")?;
    findings.at_most("the log's thread comes round", stalled.first().copied().unwrap_or(f64::NAN), 3.0, "s");
    secure.stop()?;
    server.stop()
}

/// Another server, for the metrics of TLS and of several nodes: its engine is away.
fn secure(yard: &Yard) -> Result<Server> {
    let dir = yard.dir.join("tls");
    fs::create_dir_all(&dir)?;
    let flags = Certificate::make(&dir)?.flags();
    let flags = [flags.each_ref().map(String::as_str).as_slice(), &["--backplane=redis://127.0.0.1:1"]].concat();
    yard.start(&Bench::new("deploy", &dir, false, &[]), &[], &flags)
}

/// Streams that get everything, one that reads nothing and is cut, one that resumes after an unknown id, a publish that is
/// refused.
fn traffic(server: &Server) -> Result<()> {
    let (mut crowd, mut publisher) = (Crowd::new(server.address())?, Publisher::connect(server.address())?);
    (0..20).try_for_each(|_| crowd.follow("/events/a", None).map(drop))?;
    crowd.follow("/events/a", Some("unknown-0000000000000001"))?;
    ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == 21)?, "not all streams were opened");
    let mut idle = Crowd::new(server.address())?;
    idle.receive_bytes = Some(8 << 10);
    idle.follow("/events/a", None)?;
    ensure!(idle.read_until(WAIT, |idle| idle.following() == 1)?, "the stream that reads nothing was not opened");
    let refused = b"POST /events/a?type=sse.own HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
    let started = Instant::now();
    let mut next = 0;
    while started.elapsed() < TRAFFIC {
        publisher.publish_numbers("a", next..next + 20, 20_000, 0.0)?;
        next += 20;
        crowd.read_for(Duration::from_millis(50))?;
        Asking::connect(server.address())?.ask(refused, 400)?;
    }
    Ok(())
}

/// Asks every query of every panel.
fn judge_dashboard(prometheus: &Prometheus, findings: &mut Findings) -> Result<()> {
    let text = fs::read_to_string(Yard::deployed("grafana/sse-server.json"))?;
    let dashboard: Value = serde_json::from_str(&text).context("the dashboard is no JSON")?;
    let (mut asked, mut answered) = (0, 0);
    let mut empty = COUNTED.to_vec();
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        let title = panel["title"].as_str().context("a panel has no title")?;
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = filled(target["expr"].as_str().context("a target has no query")?);
            let values = prometheus.query(&query).with_context(|| format!("{title}: {query}"))?;
            asked += 1;
            if values.is_empty() || values.iter().any(|value| value.is_nan()) {
                println!("{title}: {values:?} for {query}");
            } else {
                answered += 1;
            }
            if values.iter().any(|value| *value > 0.0) {
                empty.retain(|wanted| *wanted != title);
            }
        }
    }
    ensure!(asked > 30, "the dashboard has {asked} queries");
    findings.all("queries of the dashboard that find something", answered, asked);
    findings.all("panels that show what the traffic was for", COUNTED.len() - empty.len(), COUNTED.len());
    for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
        if let Some(query) = variable["query"]["query"].as_str() {
            let metric = query.trim_start_matches("label_values(").split([',', '{']).next().unwrap_or_default();
            findings.is_so(&format!("{query} finds something"), !prometheus.query(metric)?.is_empty());
        }
    }
    Ok(())
}

/// Grafana's variables, as it would fill them in.
fn filled(query: &str) -> String {
    query.replace("$__rate_interval", "30s").replace("$instance", ".*").replace("$job", JOB)
}

/// Prometheus has evaluated every rule, and knows every metric in them.
fn judge_rules(prometheus: &Prometheus, findings: &mut Findings) -> Result<()> {
    let rules = prometheus.get("/api/v1/rules", &[])?;
    let rules: Vec<&Value> = rules["data"]["groups"][0]["rules"].as_array().into_iter().flatten().collect();
    let healthy = rules.iter().filter(|rule| rule["health"] == "ok").count();
    ensure!(rules.len() > 10, "Prometheus knows {} rules", rules.len());
    findings.all("rules that it evaluates without an error", healthy, rules.len());
    let metrics: BTreeSet<String> =
        rules.iter().filter_map(|rule| rule["query"].as_str()).flat_map(metrics_of).collect();
    let mut known = 0;
    for metric in &metrics {
        match prometheus.query(metric)?.is_empty() {
            true => println!("no rule should ask for {metric}: there is none"),
            false => known += 1,
        }
    }
    findings.all("metrics of rules that there are", known, metrics.len());
    Ok(())
}

/// Names of metrics in a query: words with our prefixes.
fn metrics_of(query: &str) -> Vec<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("sse_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// A Prometheus that scrapes two servers each second.
struct Prometheus {
    address: String,
    _process: Process,
}

impl Prometheus {
    fn start(yard: &Yard, server: &Server, secure: &Server) -> Result<Self> {
        // Free a moment ago; should somebody else take it, the start fails and says so.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let config = yard.dir.join("prometheus.yml");
        let rules = Yard::deployed("prometheus/alerts.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\n\
             scrape_configs:\n\
             - {{job_name: {JOB}, static_configs: [{{targets: ['{}']}}]}}\n\
             - {{job_name: {JOB}-tls, static_configs: [{{targets: ['{}']}}]}}\n",
            rules.display(),
            server.admin,
            secure.admin
        );
        fs::write(&config, text)?;
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", yard.dir.join("tsdb").display()));
        command.arg(format!("--web.listen-address={address}"));
        let process = Process::start(&mut command, &yard.dir.join("prometheus.log"))?;
        let prometheus = Self { address, _process: process };
        expect("a first scrape", WAIT, || Ok(prometheus.query("up == 1").is_ok_and(|up| up.len() == 2)))?;
        Ok(prometheus)
    }

    /// The values that a query finds now.
    fn query(&self, query: &str) -> Result<Vec<f64>> {
        let answer = self.get("/api/v1/query", &[("query", query)])?;
        ensure!(answer["status"] == "success", "{}", answer["error"]);
        let results = answer["data"]["result"].as_array().context("the answer has no result")?;
        let value = |result: &Value| result["value"][1].as_str()?.parse().ok();
        results.iter().map(|result| value(result).context("a result is no number")).collect()
    }

    fn get(&self, path: &str, fields: &[(&str, &str)]) -> Result<Value> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--get", &format!("http://{}{path}", self.address)]);
        for (name, value) in fields {
            curl.arg("--data-urlencode").arg(format!("{name}={value}"));
        }
        serde_json::from_str(&program::read(&mut curl)?).context("Prometheus does not answer in JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_in_queries() {
        let query = r#"sum without (reason) (rate(sse_a_total{reason=~"full|x"}[5m])) > 0.05 * process_b"#;
        assert_eq!(metrics_of(query), ["sse_a_total", "process_b"]);
    }
}
