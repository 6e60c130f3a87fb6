//! How many tests a program says it ran.

use std::fmt;
use std::ops::AddAssign;

/// Tests passed and failed, as a run's closing lines tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
}

impl Tally {
    /// Reads one line of output: `test result: ok. 3 passed; 0 failed; ..` of libtest and rustdoc, or the plain
    /// `3 passed, 0 failed`. Any other line counts nothing.
    pub fn of_line(line: &str) -> Self {
        let counts = match line.strip_prefix("test result: ") {
            Some(result) => result.split_once(". ").map_or("", |(_, counts)| counts),
            None => line,
        };
        let mut parts = counts.split([';', ',']).map(str::trim);
        let passed = parts.next().and_then(|part| count(part, "passed"));
        let failed = parts.next().and_then(|part| count(part, "failed"));
        match (passed, failed) {
            (Some(passed), Some(failed)) => Self { passed, failed },
            _ => Self::default(),
        }
    }

    /// Whether no test ran at all.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

fn count(part: &str, what: &str) -> Option<u64> {
    part.strip_suffix(what)?.trim_end().parse().ok()
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_count_and_others_do_not() {
        for (line, passed, failed) in [
            ("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s", 12, 0),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.1s", 3, 2),
            ("7 passed, 1 failed", 7, 1),
            ("test parser::tests::a ... ok", 0, 0),
            ("running 3 tests", 0, 0),
            ("it passed, as it should", 0, 0),
            ("", 0, 0),
        ] {
            assert_eq!(Tally::of_line(line), Tally { passed, failed }, "{line:?}");
        }
    }

    #[test]
    fn what_it_prints_it_reads() {
        let tally = Tally { passed: 41, failed: 2 };
        assert_eq!(Tally::of_line(&tally.to_string()), tally);
    }
}
