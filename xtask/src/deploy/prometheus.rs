//! The alert rules: sound, and each tried with series that raise it and with series that do not.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use super::Yard;
use crate::faults::finding::Findings;
use crate::program;

pub fn check(yard: &Yard, findings: &mut Findings) -> Result<()> {
    let dir = Yard::deployed("prometheus");
    let rules = fs::read_to_string(dir.join("alerts.yml"))?;
    let tests = fs::read_to_string(dir.join("alerts.test.yml"))?;
    let tool = |args: &[&str]| {
        let mut promtool = Command::new("promtool");
        promtool.current_dir(&dir).args(args);
        program::run(&mut promtool)
    };
    findings.is_so("promtool takes the rules", tool(&["check", "rules", "alerts.yml"]).is_ok());
    findings.is_so("they are raised when they should be", tool(&["test", "rules", "alerts.test.yml"]).is_ok());
    let alerts = named(&rules, "- alert: ");
    ensure!(alerts.len() > 10, "{} alerts were found", alerts.len());
    let (raised, quiet) = tried(&tests);
    findings.all("alerts that a test raises", alerts.intersection(&raised).count(), alerts.len());
    findings.all("alerts that a test does not raise", alerts.intersection(&quiet).count(), alerts.len());
    // A rule that never fires must not pass: with the bounds out of reach the tests have to fail.
    fs::write(
        yard.dir.join("alerts.yml"),
        rules.replace(" > ", " > 1e9 + ").replace(" < ", " < -1e9 + ").replace(" == 0", " == 1e9"),
    )?;
    fs::write(yard.dir.join("alerts.test.yml"), tests)?;
    let broken = Command::new("promtool").current_dir(&yard.dir).args(["test", "rules", "alerts.test.yml"]).output()?;
    let said = String::from_utf8_lossy(&broken.stderr).into_owned() + &String::from_utf8_lossy(&broken.stdout);
    let missed = alerts.iter().filter(|alert| said.contains(&format!("alertname: {alert}"))).count();
    findings.all("alerts whose test fails with a bound out of reach", missed, alerts.len());
    Ok(())
}

/// What follows `key` on its lines.
fn named(text: &str, key: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(key)).map(|name| name.trim().to_owned()).collect()
}

/// The alerts that tests expect, and those that they expect not.
fn tried(tests: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut raised, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    let mut alert = String::new();
    for line in tests.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alertname: ") {
            alert = name.to_owned();
        } else if line == "exp_alerts: []" {
            quiet.insert(alert.clone());
        } else if line == "exp_alerts:" {
            raised.insert(alert.clone());
        }
    }
    (raised, quiet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_is_read_from_the_tests() {
        let text = "- alertname: A\n  exp_alerts:\n    - exp_labels: {}\n- alertname: A\n  exp_alerts: []\n- alertname: B\n  exp_alerts: []\n";
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<String>>();
        assert_eq!(tried(text), (set(&["A"]), set(&["A", "B"])));
        assert_eq!(named("  - alert: A\n  expr: x\n  - alert: B\n", "- alert: "), set(&["A", "B"]));
    }
}
