//! A hub over a log on a simulated disk, everything decided by one seed: publishers, the committer, readers of the log,
//! subscribers that come and go, time, faults, crashes and restarts, held against an oracle that knows none of the hub.
//!
//! `SIM_SEED` plays one seed, `SIM_SEEDS` so many.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod client;
mod disk;
mod history;
#[path = "../support/pages.rs"]
mod pages;
mod world;

/// Things that happen in one run, before the last come to rest.
const ACTIONS: usize = 250;
const SEEDS: u64 = 300;

/// Tells the seed if the run fails.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} fails; repeat it with: cargo xtask sim --seed {}", self.0, self.0);
        }
    }
}

fn play(seed: u64, tells: bool) -> u64 {
    let _told = Told(seed);
    world::play(seed, ACTIONS, tells)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn nothing_is_lost_or_repeated_in_silence() {
    if let Some(seed) = number("SIM_SEED") {
        play(seed, true);
        return;
    }
    (0..number("SIM_SEEDS").unwrap_or(SEEDS)).for_each(|seed| {
        play(seed, false);
    });
}

#[test]
fn a_seed_plays_the_same_every_time() {
    for seed in 0..10 {
        assert_eq!(play(seed, false), play(seed, false), "seed {seed}");
    }
    assert_ne!(play(0, false), play(1, false));
}
