//! Whether a program printed what a page shows, but for what differs from run to run.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

/// What differs from run to run. Of a named kind one value stands for the same one everywhere on a page; of others
/// only the form counts.
static VOLATILE: LazyLock<Regex> = LazyLock::new(|| {
    let kinds = [
        r"(?<id>\b[0-9a-z]{8}-[0-9]{16}\b)",
        r"(?<uuid>\burn:uuid:[0-9a-f-]{36}\b)",
        r"(?<jwt>\beyJ[\w-]+\.[\w-]+\.[\w-]+)",
        r"(?<hex>\b[0-9a-f]{32,}\b)",
        r#"(?<ticket>"ticket":"[^"]+")"#,
        r"(?<time>\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z)",
        r"(?<date>\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)",
        r"(?<retry>\bretry: ?\d+)",
        r"(?<epoch>\b1[0-9]{9}\b)",
        r"(?<port>127\.0\.0\.1:[0-9]{5}\b)",
        r"(?<millis>\bduration_ms=\d+)",
    ];
    Regex::new(&kinds.join("|")).expect("the kinds are sound")
});
/// Kinds whose values mean something: what was answered to a publisher is what a follower sees.
const BOUND: &[&str] = &["id", "uuid", "ticket"];

/// What the volatile words of a page were in this run.
#[derive(Debug, Clone, Default)]
pub struct Bindings {
    found: HashMap<String, String>,
    shown: HashMap<String, String>,
}

impl Bindings {
    /// Whether `found` is what the page shows. `..` stands for any lines, at the end of a line for its rest.
    pub fn fit(&mut self, shown: &str, found: &str) -> bool {
        let shown: Vec<&str> = shown.trim_end().lines().collect();
        let found: Vec<&str> = found.trim_end().lines().collect();
        match self.clone().lines(&shown, &found) {
            Some(bindings) => {
                *self = bindings;
                true
            }
            None => false,
        }
    }

    fn lines(self, shown: &[&str], found: &[&str]) -> Option<Self> {
        match (shown, found) {
            ([], []) => Some(self),
            (["..", rest @ ..], _) => (0..=found.len()).find_map(|skipped| self.clone().lines(rest, &found[skipped..])),
            ([first, shown @ ..], [line, found @ ..]) => self.line(first, line)?.lines(shown, found),
            _ => None,
        }
    }

    fn line(mut self, shown: &str, found: &str) -> Option<Self> {
        let (mut shown, mut found) = (shown.trim_end(), found.trim_end());
        let is_open = shown.ends_with("..");
        shown = shown.trim_end_matches("..");
        while let Some((before, kind, word, behind)) = volatile(shown) {
            found = found.strip_prefix(before)?;
            let (nothing, found_kind, found_word, found_behind) = volatile(found)?;
            if !nothing.is_empty() || kind != found_kind || !self.binds(kind, word, found_word) {
                return None;
            }
            (shown, found) = (behind, found_behind);
        }
        (if is_open { found.starts_with(shown) } else { found == shown }).then_some(self)
    }

    fn binds(&mut self, kind: &str, shown: &str, found: &str) -> bool {
        if !BOUND.contains(&kind) {
            return true;
        }
        let is_found = self.found.entry(shown.to_owned()).or_insert_with(|| found.to_owned()) == found;
        let is_shown = self.shown.entry(found.to_owned()).or_insert_with(|| shown.to_owned()) == shown;
        is_found && is_shown
    }
}

/// The first volatile word: what is before it, its kind, the word, what is behind.
fn volatile(text: &str) -> Option<(&str, &'static str, &str, &str)> {
    let captures = VOLATILE.captures(text)?;
    let word = captures.get(0)?;
    let kind = VOLATILE.capture_names().flatten().find(|kind| captures.name(kind).is_some())?;
    Some((&text[..word.start()], kind, word.as_str(), &text[word.end()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(shown: &str, found: &str) -> bool {
        Bindings::default().fit(shown, found)
    }

    #[test]
    fn ids_may_differ_but_mean_the_same() {
        let mut bindings = Bindings::default();
        let answer = |id| format!(r#"{{"id":"{id}","durability":"memory"}}"#);
        assert!(bindings.fit(&answer("7o9t3aqa-0000000000000001"), &answer("zzzzzzzz-0000000000000009")));
        assert!(bindings.fit("id: 7o9t3aqa-0000000000000001\ndata: a", "id: zzzzzzzz-0000000000000009\ndata: a\n\n"));
        assert!(!bindings.fit("id: 7o9t3aqa-0000000000000001", "id: zzzzzzzz-0000000000000010"));
        assert!(!bindings.fit("id: 7o9t3aqa-0000000000000002", "id: zzzzzzzz-0000000000000009"));
    }

    #[test]
    fn the_rest_is_compared() {
        assert!(fits("retry: 2409\n\ndata: a", "retry: 3121\n\ndata: a\n"));
        assert!(!fits("retry: 2409\n\ndata: a", "retry: 3121\n\ndata: b"));
        assert!(!fits("data: a", "data: a\ndata: b"));
        assert!(!fits("data: a\ndata: b", "data: a"));
        assert!(!fits("data: 7o9t3aqa-0000000000000001", "data: retry: 77"));
    }

    #[test]
    fn two_dots_stand_for_what_is_left_out() {
        assert!(fits("HTTP/1.1 200 OK\n..\ndata: a", "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\ndata: a"));
        assert!(fits("..\nb", "b"));
        assert!(fits("a ..", "a and more"));
        assert!(!fits("a ..", "b"));
        assert!(!fits("..\nb", "b\nc"));
    }
}
