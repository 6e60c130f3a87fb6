//! Durations and sizes with their units.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::value::{Notation, Scalar, Wrong};

/// Units of time in microseconds, largest first.
const TIMES: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Units of size in bytes, largest first.
const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Ten years: beyond it a moment plus a duration need not be a moment any more.
const TIME_MAX: Duration = Duration::from_secs(3650 * 86_400);

impl Scalar for Duration {
    const NAME: &'static str = "DURATION";
    const EXPECTS: &'static str = "a duration such as 100ms, 25s, 5m or 24h";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let micros = match split_unit(text)? {
            (0, "") => 0,
            (count, "") => return Err(Wrong::because(format!("the unit is missing, as in {count}s"))),
            (count, unit) => scale(count, unit, &TIMES)?,
        };
        Some(Self::from_micros(micros))
            .filter(|time| *time <= TIME_MAX)
            .ok_or_else(|| Wrong::because("ten years at most"))
    }

    fn text(&self) -> String {
        let micros = u64::try_from(self.as_micros()).unwrap_or(u64::MAX);
        // Days are read but not written: `24h` is what the documentation says.
        largest_unit(micros, &TIMES[1..])
    }
}

/// A number of bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(NonZeroUsize);

impl ByteSize {
    /// The number of bytes.
    pub fn get(self) -> usize {
        self.0.get()
    }
}

impl Scalar for ByteSize {
    const NAME: &'static str = "SIZE";
    const EXPECTS: &'static str = "a size from 1 such as 512KiB, 4MiB, 1GiB or plain bytes";
    const NOTATION: Notation = Notation::Text;

    fn parse(text: &str) -> Result<Self, Wrong> {
        let bytes = match split_unit(text)? {
            (count, "") => count,
            (count, unit) => scale(count, unit, &SIZES)?,
        };
        usize::try_from(bytes).ok().and_then(NonZeroUsize::new).map(Self).ok_or_else(Wrong::default)
    }

    fn text(&self) -> String {
        let bytes = self.get() as u64;
        largest_unit(bytes, &SIZES)
    }
}

/// Splits `25s` into 25 and `s`.
fn split_unit(text: &str) -> Result<(u64, &str), Wrong> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'_').count();
    let (count, unit) = text.split_at(digits);
    if unit.starts_with('.') {
        return Err(Wrong::because("whole numbers only, with a smaller unit if need be"));
    }
    let count = count.replace('_', "").parse().map_err(|_| Wrong::default())?;
    Ok((count, unit.trim_start()))
}

fn scale(count: u64, unit: &str, units: &[(&str, u64)]) -> Result<u64, Wrong> {
    let Some((_, size)) = units.iter().find(|(name, _)| *name == unit) else {
        let names: Vec<&str> = units.iter().rev().map(|(name, _)| *name).collect();
        return Err(Wrong::because(format!("units are {}", names.join(", "))));
    };
    count.checked_mul(*size).ok_or_else(|| Wrong::because("too large"))
}

/// The count in the largest unit that needs no fraction.
fn largest_unit(count: u64, units: &[(&str, u64)]) -> String {
    match units.iter().find(|(_, size)| count != 0 && count.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", count / size),
        None => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Scalar>(text: &str, expected: &str) {
        let found = match T::parse(text) {
            Ok(value) => value.text(),
            Err(Wrong { hint }) => format!("wrong: {}", hint.unwrap_or_default()),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn durations() {
        for text in ["25s", "100ms", "5m", "24h", "250us", "87600h"] {
            check::<Duration>(text, text);
        }
        check::<Duration>("0", "0");
        check::<Duration>("0s", "0");
        check::<Duration>("1d", "24h");
        check::<Duration>("60s", "1m");
        check::<Duration>("90 s", "90s");
        check::<Duration>("1500ms", "1500ms");
        check::<Duration>("25", "wrong: the unit is missing, as in 25s");
        check::<Duration>("1.5s", "wrong: whole numbers only, with a smaller unit if need be");
        check::<Duration>("25S", "wrong: units are us, ms, s, m, h, d");
        check::<Duration>("1h30m", "wrong: units are us, ms, s, m, h, d");
        check::<Duration>("3651d", "wrong: ten years at most");
        check::<Duration>("18446744073709551615h", "wrong: too large");
        for text in ["", "s", "-5s", "+5s", "18446744073709551616s", "\u{661}s"] {
            check::<Duration>(text, "wrong: ");
        }
    }

    #[test]
    fn sizes() {
        for text in ["4MiB", "1GiB", "512KiB", "3TiB", "100B"] {
            check::<ByteSize>(text, text);
        }
        check::<ByteSize>("4194304", "4MiB");
        check::<ByteSize>("1_000", "1000B");
        check::<ByteSize>("1024KiB", "1MiB");
        check::<ByteSize>("4MB", "wrong: units are B, KiB, MiB, GiB, TiB");
        check::<ByteSize>("16777216TiB", "wrong: too large");
        for text in ["0", "0KiB", "", "KiB", "-1", "_"] {
            check::<ByteSize>(text, "wrong: ");
        }
    }
}
