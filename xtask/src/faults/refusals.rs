//! H4: how long refusals of tokens take, by what is wrong with them.

use std::collections::HashSet;
use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::asking::Asking;
use super::bench::Bench;
use super::finding::{Findings, median};
use super::server::{Server, program};
use crate::program::read as output;

const KEY: &str = "2c9a7e5f1b3d4860-0f1e2d3c4b5a6978-8796a5b4c3d2e1f0";
/// What the medians may differ by. Whether a signature was checked shows, by as much as that takes; which key, and how far it was
/// right, does not.
const SPREAD_US_MAX: f64 = 250.0;

/// A set with one key, whose private half nobody has kept.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"a","alg":"ES256",
"x":"6814HbUi_EYeZFQrS4KeKm6sk_ID-Mpr_srjO2_oEnk","y":"s2TgIp1at30RoSrr_Tpftoj6mlA6L_2Ky1Izer-Ef1w"}]}"#;

/// Tokens that are refused for different reasons get their refusals alike, and about as fast.
pub fn tell_nothing_by_time(bench: &Bench) -> Result<Findings> {
    let rounds = bench.pick(1_000, 10_000);
    let mut findings = Findings::default();
    let server = Server::start(bench, &[&format!("--subscriber-jwt-key={KEY}")])?;
    let good = mint(KEY)?;
    let (message, signature) = good.rsplit_once('.').context("a token has a signature")?;
    let of_a_secret = [
        ("malformed", "x".repeat(good.len())),
        ("of no algorithm", good.replacen("eyJ", "eyK", 1)),
        ("signed with another secret", mint("another secret, about as long as the one above")?),
        ("with another signature", format!("{message}.{}", signature.chars().rev().collect::<String>())),
    ];
    compare("a secret", &server, &of_a_secret, rounds, &mut findings)?;
    server.stop()?;
    let file = bench.file("keys.json");
    fs::write(&file, KEYS)?;
    let server = Server::start(bench, &[&format!("--subscriber-jwks-url=file://{}", file.display())])?;
    // Both halves are numbers that a signature may have, so that it takes the whole check to refuse it.
    let es256 = |header: &str| format!("{header}.eyJzdWIiOiJ4In0.{}A", "7".repeat(85));
    let of_a_set = [
        ("malformed", "x".repeat(140)),
        ("of an unknown key", es256("eyJhbGciOiJFUzI1NiIsImtpZCI6ImIifQ")),
        ("with another signature", es256("eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ")),
    ];
    compare("a set of keys", &server, &of_a_set, rounds, &mut findings)?;
    server.stop()?;
    Ok(findings)
}

/// Asks with each of the tokens in turns.
fn compare(
    what: &str,
    server: &Server,
    causes: &[(&str, String)],
    rounds: usize,
    findings: &mut Findings,
) -> Result<()> {
    let mut asking = Asking::connect(server.address())?;
    let (mut times, mut bodies) = (vec![Vec::new(); causes.len()], HashSet::new());
    // The first ones wait: an unknown key makes the server look for it once.
    for round in 0..=rounds {
        for ((_, token), times) in causes.iter().zip(&mut times) {
            let head = format!("GET /events/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
            let started = Instant::now();
            let answer = asking.ask(head.as_bytes(), 401)?;
            if round > 0 {
                times.push(started.elapsed().as_secs_f64() * 1e6);
            }
            bodies.insert(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()));
        }
    }
    let medians: Vec<f64> = times.into_iter().map(|times| median(times.into_iter())).collect();
    let most = medians.iter().copied().fold(f64::MIN, f64::max);
    let least = medians.iter().copied().fold(f64::MAX, f64::min);
    findings.at_most(&format!("{what}: medians of the refusals differ by"), most - least, SPREAD_US_MAX, "us");
    findings.all(&format!("{what}: bodies of the refusals"), bodies.len(), 1);
    for ((cause, _), median) in causes.iter().zip(medians) {
        findings.note(&format!("{what}: us for one that is {cause}"), median);
    }
    Ok(())
}

fn mint(key: &str) -> Result<String> {
    let mut minting = Command::new(program());
    let token = output(minting.args(["token", "--key", key, "--subscribe", "*"]))?;
    Ok(token.trim().to_owned())
}
