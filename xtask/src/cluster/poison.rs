//! Entries that somebody else writes into the engine's stream.

use std::time::Duration;

use anyhow::Result;

use super::engine::Kind;
use super::stage::{Script, Stage};
use crate::faults::bench::wait_for;
use crate::faults::finding::Findings;

const COUNTED_WITHIN: Duration = Duration::from_secs(10);
const MUCH: usize = 10 << 20;

/// What is no event of anybody's is dropped and counted, and everything else goes on.
pub fn is_dropped(stage: &Stage) -> Result<Findings> {
    let scene = stage.scene(Script { engine: &[], nodes: &["--log-level=warn"], rate: 300.0 })?;
    let mut written = 0;
    for _ in 0..stage.bench.pick(3, 30) {
        for poison in poisons(stage.kind) {
            scene.goes_on()?;
            scene.engine.inject(&poison)?;
            written += 1;
        }
        if stage.kind == Kind::Redis {
            scene.engine.append(b"0-*", b"other", b"1")?;
            written += 1;
        }
    }
    let mut findings = Findings::default();
    let count = || scene.nodes.sum("sse_backplane_entries_dropped_total");
    let wanted = (written * scene.nodes.len()) as f64;
    wait_for(COUNTED_WITHIN, || Ok(count()? >= wanted))?;
    findings.all("entries dropped and counted, on all nodes", count()? as usize, written * scene.nodes.len());
    if stage.kind == Kind::Redis {
        // With an id of this kind in the stream no small one can follow: it has to go.
        scene.engine.append(b"*", b"e", b"{}")?;
    }
    let back = scene.nodes.publishing_again(COUNTED_WITHIN)?;
    findings.is_so("nodes take events behind it, and behind a foreign id", back.is_some());
    scene.goes_on()?;
    findings.at_most("memory of the largest node", scene.nodes.rss_mib()?, 256.0, "MiB");
    let (_, judged) = scene.end(stage, &mut findings)?;
    let foreign = judged.verdict.foreign;
    findings.none("poisoned entries that came through", foreign);
    Ok(findings)
}

/// Each is what an entry must not be.
fn poisons(kind: Kind) -> Vec<Vec<u8>> {
    let entry = |fields: &str| format!(r#"{{"v":1,"nonce":"00000000000000aa","topics":["t1"],{fields}}}"#).into_bytes();
    let mut not_utf8 = entry(r#""data":"?""#);
    let mark = not_utf8.iter().position(|byte| *byte == b'?').unwrap_or(0);
    not_utf8[mark] = 0xff;
    let mut poisons = vec![
        entry(r#""data":"poison","id":"a\nb""#),
        entry(r#""data":"poison","id":"a\u0000b""#),
        entry(r#""data":"poison","type":"a\rdata: b""#),
        entry(r#""data":"poison","type":"sse.gap""#),
        entry(r#""data":"poison","unknown":1"#),
        not_utf8,
        br#"{"v":2,"nonce":"00000000000000aa","topics":["t1"],"data":"poison"}"#.to_vec(),
        br#"{"v":1,"nonce":"00000000000000aa","topics":["a\nb"],"data":"poison"}"#.to_vec(),
        br#"{"v":1,"nonce":"00000000000000aa","topics":[],"data":"poison"}"#.to_vec(),
        br#"{"v":1,"nonce":"zz","topics":["t1"],"data":"poison"}"#.to_vec(),
        b"{".repeat(100_000),
        b"\x00\xff\x00".to_vec(),
        Vec::new(),
    ];
    if kind == Kind::Redis {
        // More than a NATS takes.
        poisons.push(entry(&format!(r#""data":"{}""#, "x".repeat(MUCH))));
    }
    poisons
}
