//! The report of a loadtest as a page.

use serde_json::Value;

use super::figures::{Figures, Spread};
use crate::chart::{Axis, Scale, escape, line, number};
use crate::page::{cards, charts, machine, page, table};

/// What of a report is counted as a fault, and how it is told.
const FAULTS: [(&str, &str); 10] = [
    ("lost", "lost"),
    ("repeated", "delivered twice"),
    ("reordered", "out of order"),
    ("damaged", "damaged"),
    ("ids_not_rising", "ids that did not rise"),
    ("epoch_changes", "changes of epoch"),
    ("gaps", "gaps announced"),
    ("closed_early", "streams ended early"),
    ("visits_failed", "visitors turned away"),
    ("malformed", "malformed streams"),
];

/// The page of `report`, which `command` made.
pub fn of(report: &Value, command: &str) -> String {
    let title = report["title"].as_str().unwrap_or("Load test of an event stream server");
    let sections = [
        format!("<h1>{}</h1>", escape(title)),
        verdict(report),
        summary(report),
        format!("<h2>How long events took, and what they cost</h2>{}", drawn(report)),
        times(report),
        figures(report),
        faults(report),
        format!("<h2>Where</h2><p>{}</p>", machine(&report["machine"])),
        format!("<h2>To repeat it</h2><pre>{}</pre>", escape(command)),
        "<p><small>Latencies count from when the schedule meant an event to go out, so a server that stalls is not \
         spared the events it held up. All values are in report.json beside this page.</small></p>"
            .to_owned(),
    ];
    page(title, &sections.join("\n"))
}

/// Whether it went well, in words that need no knowledge of servers.
fn verdict(report: &Value) -> String {
    let (load, delivery) = (&report["load"], &report["delivery"]);
    let count = |value: &Value| grouped(value.as_u64().unwrap_or(0));
    let whole = report["whole"] == true;
    let what = if whole {
        "Everything arrived: every subscriber got every event once, in order and unharmed."
    } else {
        "Not everything arrived as it should: see what went wrong below."
    };
    format!(
        "<p class=\"verdict{}\"><strong>{what}</strong><br>{} subscribers followed {} topics, {} events were published, and {} \
         deliveries were each checked.</p>",
        if whole { "" } else { " bad" },
        count(&load["subscribers"]),
        count(&load["topics"]),
        count(&report["publishing"]["sent"]),
        count(&delivery["delivered"]),
    )
}

fn summary(report: &Value) -> String {
    let figures = Figures::kept_in(report);
    let median = |key: &str| figures.find(key).map(|(spread, _)| spread.median);
    let shown = [
        ("p50_ms", "ms", "half of all deliveries were faster"),
        ("p99_ms", "ms", "99 of 100 were faster"),
        ("last_ms", "ms", "until the last subscriber had an event"),
        ("cpu_us_per_delivery", "us", "of server CPU for each delivery"),
        ("idle_kib", "KiB", "of server memory for an idle stream"),
    ];
    let mut all: Vec<(String, &str)> = shown
        .into_iter()
        .filter_map(|(key, unit, what)| Some((format!("{} {unit}", number(median(key)?)), what)))
        .collect();
    if let Some(rate) = report["delivery"]["per_second"].as_f64() {
        all.push((grouped(rate as u64), "deliveries each second"));
    }
    cards(&all)
}

/// The charts, of the first run.
fn drawn(report: &Value) -> String {
    let axis = |label: &'static str, scale| Axis { label, scale };
    let curve = report["delivery"]["latency_curve"].as_array().map(Vec::as_slice).unwrap_or_default();
    let curve: Vec<(f64, f64)> =
        curve.iter().filter_map(|point| Some((point["quantile"].as_f64()?, point["ms"].as_f64()?))).collect();
    let samples = report["samples"].as_array().map(Vec::as_slice).unwrap_or_default();
    let seconds = axis("seconds", Scale::Linear);
    let figure = |label| axis(label, Scale::Linear);
    charts(&[
        line(
            "Publish to subscriber",
            axis("share of deliveries that were faster", Scale::Nines),
            axis("ms", Scale::Log),
            &curve,
        ),
        line("Deliveries", seconds, figure("per second"), &rates(samples, |sample| sample["delivered"].as_f64())),
        line(
            "Server CPU",
            seconds,
            figure("cores"),
            &rates(samples, |sample| sample["server"]["cpu_seconds"].as_f64()),
        ),
        line("Server memory", seconds, figure("MiB"), &memory(samples)),
    ])
}

/// How fast a count grew from sample to sample.
fn rates(samples: &[Value], count: impl Fn(&Value) -> Option<f64>) -> Vec<(f64, f64)> {
    let at: Vec<(f64, f64)> =
        samples.iter().filter_map(|sample| Some((sample["seconds"].as_f64()?, count(sample)?))).collect();
    at.windows(2).map(|two| (two[1].0, (two[1].1 - two[0].1) / (two[1].0 - two[0].0))).collect()
}

fn memory(samples: &[Value]) -> Vec<(f64, f64)> {
    let mib = |sample: &Value| Some(sample["server"]["rss_bytes"].as_f64()? / f64::from(1 << 20));
    samples.iter().filter_map(|sample| Some((sample["seconds"].as_f64()?, mib(sample)?))).collect()
}

/// The distributions, p50 to the slowest.
fn times(report: &Value) -> String {
    let named = [
        ("Publish to subscriber", &report["delivery"]["latency"]),
        ("Publish to the last one", &report["delivery"]["last_subscriber"]),
        ("Publish to its answer", &report["publishing"]["answered"]),
        ("Opening a stream", &report["streams"]["opening"]),
        ("The load generator's own lateness", &report["publishing"]["late"]),
    ];
    let row = |(name, times): (&str, &Value)| {
        (times["count"].as_u64()? > 0).then_some(())?;
        let value = |key: &&str| times[*key].as_f64().map_or("-".to_owned(), number);
        let values = ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"];
        Some([name.to_owned()].into_iter().chain(values.iter().map(value)).collect())
    };
    let rows: Vec<Vec<String>> = named.into_iter().filter_map(row).collect();
    table(&["milliseconds", "p50", "p90", "p99", "p99.9", "slowest"], &rows)
}

fn figures(report: &Value) -> String {
    let figures = Figures::kept_in(report);
    let rows: Vec<Vec<String>> = figures
        .known()
        .map(|(figure, Spread { median, least, greatest }, runs)| {
            let name = format!("{}, {}", figure.what, figure.unit);
            vec![name, number(median), number(least), number(greatest), runs.to_string()]
        })
        .collect();
    format!("<h2>Over repeated runs</h2>{}", table(&["", "median", "least", "greatest", "runs"], &rows))
}

fn faults(report: &Value) -> String {
    let row = |(key, what): &(&str, &str)| {
        let count = report["delivery"][*key].as_u64().unwrap_or(0);
        (count > 0).then(|| vec![(*what).to_owned(), grouped(count)])
    };
    let mut rows: Vec<Vec<String>> = FAULTS.iter().filter_map(row).collect();
    let published = &report["publishing"];
    let missing = published["sent"].as_u64().unwrap_or(0).saturating_sub(published["confirmed"].as_u64().unwrap_or(0));
    let unpublished = missing + published["unsent"].as_u64().unwrap_or(0);
    if unpublished > 0 {
        rows.push(vec!["not published".to_owned(), grouped(unpublished)]);
    }
    if rows.is_empty() {
        return String::new();
    }
    let examples = report["delivery"]["examples"].as_array().map(Vec::as_slice).unwrap_or_default();
    let examples: String =
        examples.iter().filter_map(Value::as_str).map(|text| format!("<li>{}</li>", escape(text))).collect();
    format!("<h2 class=\"bad\">What went wrong</h2>{}<ul>{examples}</ul>", table(&["", "count"], &rows))
}

/// 12,345,678.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Value {
        let sample = |seconds: f64, delivered: u64| json!({"seconds": seconds, "delivered": delivered, "server": {"cpu_seconds": seconds / 2.0, "rss_bytes": 1 << 20}});
        let times = json!({"count": 1, "p50_ms": 1.5, "p90_ms": 2.0, "p99_ms": 3.0, "p999_ms": 4.0, "max_ms": 5.0});
        json!({
            "whole": true, "load": {"subscribers": 2000, "topics": 10}, "machine": {"cores": 2},
            "publishing": {"sent": 1000, "confirmed": 1000, "unsent": 0},
            "delivery": {"delivered": 200_000, "per_second": 20_000.4, "latency": times, "lost": 0,
                "latency_curve": [{"quantile": 0.5, "ms": 1.5}, {"quantile": 0.99, "ms": 3.0}]},
            "figures": {"p50_ms": {"runs": [1.0, 2.0, 3.0]}},
            "samples": [sample(0.0, 0), sample(1.0, 100), sample(2.0, 300)],
        })
    }

    #[test]
    fn a_page_says_what_was_measured() {
        let page = of(&report(), "cargo xtask loadtest --rate '1 & 2'");
        for text in
            ["Everything arrived", "2,000 subscribers", "200,000", "2 ms", "'1 &amp; 2'", "Publish to subscriber"]
        {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert_eq!(page.matches("<svg").count(), 4, "distribution, deliveries, CPU and memory");
        assert!(!page.contains("What went wrong"));
    }

    #[test]
    fn faults_are_told_first() {
        let mut report = report();
        report["whole"] = json!(false);
        report["delivery"]["lost"] = json!(3);
        report["delivery"]["examples"] = json!(["topic 0: <1> never came"]);
        report["publishing"]["confirmed"] = json!(998);
        let page = of(&report, "");
        for text in
            ["verdict bad", "Not everything arrived", "<td>lost</td><td class=\"n\">3</td>", "&lt;1&gt; never came"]
        {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(page.contains("<td>not published</td><td class=\"n\">2</td>"), "{page}");
    }

    #[test]
    fn rates_are_between_samples() {
        let report = report();
        let rates = rates(report["samples"].as_array().unwrap(), |sample| sample["delivered"].as_f64());
        assert_eq!(rates, [(1.0, 100.0), (2.0, 200.0)]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
