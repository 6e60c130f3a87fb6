//! The text that jemalloc writes of its samples.

use std::str::FromStr;

/// All that was sampled and is still held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dump {
    /// The mean distance between two samples, in bytes.
    pub(super) period: u64,
    pub(super) holders: Vec<Holder>,
}

/// Who holds memory: addresses in functions, the innermost first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) stack: Vec<usize>,
    /// So many pieces, and so many bytes: those that were not sampled are counted in.
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

impl Dump {
    /// Reads `heap_v2/PERIOD`, and for each stack `@ 0x1 0x2`, then what all threads hold by it: `t*: OBJECTS: BYTES [..]`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let period = lines.next()?.strip_prefix("heap_v2/")?.parse().ok()?;
        let mut holders = Vec::new();
        while let Some(line) = lines.next() {
            if let Some(addresses) = line.strip_prefix('@') {
                let (objects, bytes) = sum(lines.next()?)?;
                let (objects, bytes) = whole(objects, bytes, period);
                holders.push(Holder { stack: stack(addresses)?, objects, bytes });
            }
        }
        Some(Self { period, holders })
    }
}

fn stack(addresses: &str) -> Option<Vec<usize>> {
    addresses.split_whitespace().map(|address| usize::from_str_radix(address.strip_prefix("0x")?, 16).ok()).collect()
}

fn sum(line: &str) -> Option<(u64, u64)> {
    let held = line.trim_start().strip_prefix("t*:")?.split('[').next()?;
    let (objects, bytes) = held.split_once(':')?;
    Some((u64::from_str(objects.trim()).ok()?, u64::from_str(bytes.trim()).ok()?))
}

/// What samples stand for. A piece of `n` bytes is sampled with a probability of 1 - exp(-n / period), so each that was
/// stands for so many more that were not.
fn whole(objects: u64, bytes: u64, period: u64) -> (u64, u64) {
    if objects == 0 {
        return (0, 0);
    }
    let size = bytes as f64 / objects as f64;
    let sampled = -f64::exp_m1(-size / period as f64);
    let whole = |number: u64| (number as f64 / sampled).round() as u64;
    (whole(objects), whole(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_read_by_stack() {
        let text = "heap_v2/1024\n  t*: 3: 4200 [0: 0]\n  t0: 3: 4200 [0: 0]\n\
                    @ 0x1f 0x20\n  t*: 2: 200 [0: 0]\n  t0: 2: 200 [0: 0]\n@ 0x30\n  t*: 1: 1048576 [0: 0]\n\nMAPPED_LIBRARIES:\n";
        let dump = Dump::parse(text).unwrap();
        assert_eq!(dump.period, 1024);
        let small = &dump.holders[0];
        assert_eq!(small.stack, [0x1f, 0x20]);
        // Two of a hundred bytes, of which one in 10.7 was sampled.
        assert_eq!((small.objects, small.bytes), (21, 2_150));
        assert_eq!(dump.holders[1], Holder { stack: vec![0x30], objects: 1, bytes: 1_048_576 });
    }

    #[test]
    fn what_is_no_dump_is_none() {
        for text in ["", "heap_v1/1\n", "heap_v2/x\n", "heap_v2/1\n@ 0x1\n", "heap_v2/1\n@ 1\n  t*: 1: 1 [0: 0]\n"] {
            assert_eq!(Dump::parse(text), None, "{text}");
        }
    }
}
