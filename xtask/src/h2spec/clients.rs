//! The usual programs that speak HTTP/2: curl, nghttp and h2load, knowing it before in plain text, or agreeing on it in TLS.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::loadtest::subject::Subject;
use crate::program;

const REQUESTS: &str = "2000";

/// Publishes and follows with each of them.
pub fn run(server: &Subject, is_tls: bool, dir: &Path) -> Result<()> {
    let topic = server.publish_url.replace("{topic}", "h2");
    let body = dir.join("body");
    std::fs::write(&body, "hello")?;

    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "5", "--write-out", " %{http_version} %{http_code}"]);
    curl.args(if is_tls { ["--http2", "--insecure"] } else { ["--http2-prior-knowledge", "--fail"] });
    let said = program::read(curl.args(["--data-binary", "hello", &topic]))?;
    ensure!(said.contains("\"id\"") && said.ends_with(" 2 200"), "curl published in vain: {said}");
    // A stream has no end: after two seconds curl has what it wants, and says 28 for the time that is over.
    let follow = format!("{topic}?last_event_id=earliest");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--no-buffer", "--max-time", "2", "--insecure"]);
    curl.arg(if is_tls { "--http2" } else { "--http2-prior-knowledge" });
    let said = String::from_utf8_lossy(&curl.arg(follow).output()?.stdout).into_owned();
    ensure!(said.contains("data: hello\n\n"), "curl followed in vain: {said:?}");

    let mut nghttp = Command::new("nghttp");
    let said =
        program::read(nghttp.args(["--verbose", "--null-out", "--no-verify-peer", "--data"]).arg(&body).arg(&topic))?;
    ensure!(said.contains(":status: 200"), "nghttp published in vain:\n{said}");

    let mut h2load = Command::new("h2load");
    h2load.args(["--requests", REQUESTS, "--clients", "4", "--max-concurrent-streams", "50", "--data"]).arg(&body);
    let said = program::read(h2load.arg(&topic))?;
    ensure!(said.contains(&format!(" {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx")), "h2load published in vain:\n{said}");
    Ok(())
}
