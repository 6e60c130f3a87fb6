//! Which topics a subscriber means: one, a URI template's, or all.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use regex::Regex;

use crate::{TopicName, TopicNameError};

/// A selector of topics. Compiled once, matched in linear time; the answer depends on the selector and the topic only.
#[derive(Clone)]
pub struct Selector {
    text: TopicName,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    All,
    Exact,
    Template(Arc<Regex>),
}

/// A template's compiled form may take this much memory; what needs more is treated as a plain string.
const TEMPLATE_BYTES_MAX: usize = 256 * 1024;

impl Selector {
    /// The selector that `text` spells: `*` for every topic, a URI template (RFC 6570) if it has a brace and parses as
    /// one, else the one topic of that name.
    ///
    /// # Errors
    /// A selector has to be a valid topic name itself.
    pub fn parse(text: &str) -> Result<Self, TopicNameError> {
        let text = TopicName::parse(text)?;
        let kind = match text.as_str() {
            "*" => Kind::All,
            template if template.contains('{') => match compile(template) {
                Some(regex) => Kind::Template(Arc::new(regex)),
                None => Kind::Exact,
            },
            _ => Kind::Exact,
        };
        Ok(Self { text, kind })
    }

    /// The selector of exactly this topic, whatever its name looks like.
    pub fn exact(topic: TopicName) -> Self {
        Self { text: topic, kind: Kind::Exact }
    }

    /// Whether `topic` is among those meant.
    pub fn matches(&self, topic: &str) -> bool {
        match &self.kind {
            Kind::All => true,
            Kind::Exact => self.text.as_str() == topic,
            // Byte equality comes first: a template always matches its own text.
            Kind::Template(regex) => self.text.as_str() == topic || regex.is_match(topic),
        }
    }

    /// What every topic meant begins with.
    pub(crate) fn literal_prefix(&self) -> &str {
        let text = self.text.as_str();
        match &self.kind {
            Kind::All => "",
            Kind::Exact => text,
            Kind::Template(_) => text.split('{').next().unwrap_or(text),
        }
    }

    /// The one topic meant, if this selector can match only one.
    pub fn as_exact(&self) -> Option<&TopicName> {
        matches!(self.kind, Kind::Exact).then_some(&self.text)
    }

    /// The selector as it was written.
    pub fn text(&self) -> &TopicName {
        &self.text
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }
}

impl Eq for Selector {}

impl Hash for Selector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// An anchored pattern for a URI template, or nothing if the text is not one.
fn compile(template: &str) -> Option<Regex> {
    let mut pattern = String::from("^(?:");
    let mut rest = template;
    while let Some(open) = rest.find(['{', '}']) {
        if rest.as_bytes()[open] == b'}' {
            return None;
        }
        pattern.push_str(&regex::escape(&rest[..open]));
        let close = rest[open..].find('}')? + open;
        expression(&rest[open + 1..close], &mut pattern)?;
        rest = &rest[close + 1..];
    }
    pattern.push_str(&regex::escape(rest));
    pattern.push_str(")$");
    regex::RegexBuilder::new(&pattern).size_limit(TEMPLATE_BYTES_MAX).build().ok()
}

/// Characters of a value, each class also taking `%XX`.
const UNRESERVED: &str = r"(?:[A-Za-z0-9\-._~,]|%[0-9A-Fa-f]{2})*";
const UNRESERVED_NAMED: &str = r"(?:[A-Za-z0-9\-._~,=]|%[0-9A-Fa-f]{2})*";
const RESERVED: &str = r"(?:[A-Za-z0-9\-._~,:/?#\[\]@!$&'()*+;=]|%[0-9A-Fa-f]{2})*";

/// How one operator of RFC 6570 (section 3.2) expands: what leads the first value, what parts the others, what a value
/// may hold.
struct Operator {
    first: &'static str,
    separator: &'static str,
    value: &'static str,
}

fn operator(symbol: Option<char>) -> Option<(Operator, usize)> {
    let (first, separator, value) = match symbol? {
        '+' => ("", ",", RESERVED),
        '#' => ("#", ",", RESERVED),
        '.' => (r"\.", r"\.", UNRESERVED),
        '/' => ("/", "/", UNRESERVED),
        ';' => (";", ";", UNRESERVED_NAMED),
        '?' => (r"\?", "&", UNRESERVED_NAMED),
        '&' => ("&", "&", UNRESERVED_NAMED),
        '=' | ',' | '!' | '@' | '|' => return None,
        _ => return Some((Operator { first: "", separator: ",", value: UNRESERVED }, 0)),
    };
    Some((Operator { first, separator, value }, 1))
}

/// Appends the pattern of one `{..}`: an optional group of one value and up to one further per variable, any number for
/// an exploded one. Names of variables and prefix lengths do not narrow the match.
fn expression(text: &str, pattern: &mut String) -> Option<()> {
    let (operator, symbol_len) = operator(text.chars().next())?;
    let names: Vec<&str> = text[symbol_len..].split(',').collect();
    let mut explode = false;
    for name in &names {
        explode |= name.ends_with('*');
        if !is_variable(name.strip_suffix('*').unwrap_or(name)) {
            return None;
        }
    }
    let more = if explode { "*".to_owned() } else { format!("{{0,{}}}", names.len() - 1) };
    let Operator { first, separator, value } = operator;
    pattern.push_str(&format!("(?:{first}{value}(?:{separator}{value}){more})?"));
    Some(())
}

/// A variable's name, with a prefix length such as `:3` or without (RFC 6570, 2.3 and 2.4.1).
fn is_variable(text: &str) -> bool {
    let (name, prefix) = text.split_once(':').map_or((text, None), |(name, prefix)| (name, Some(prefix)));
    let name_valid =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '%'));
    let prefix_valid = prefix
        .is_none_or(|digits| (1..=4).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()));
    name_valid && prefix_valid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, yes: &[&str], no: &[&str]) {
        let selector = Selector::parse(selector).unwrap();
        for topic in yes {
            assert!(selector.matches(topic), "{selector:?} should match {topic}");
        }
        for topic in no {
            assert!(!selector.matches(topic), "{selector:?} should not match {topic}");
        }
    }

    #[test]
    fn plain_text_means_one_topic() {
        check("a.b", &["a.b"], &["a", "axb", "a.b/c", "A.b"]);
        check("*", &["a", "https://example.com/{x}", "é"], &[]);
        assert!(Selector::parse("a.b").unwrap().as_exact().is_some());
        assert!(Selector::parse("{x}").unwrap().as_exact().is_none());
    }

    #[test]
    fn a_variable_does_not_cross_a_slash() {
        check(
            "/orders/{id}",
            &["/orders/1", "/orders/", "/orders/a-b._~", "/orders/%2F"],
            &["/orders/1/lines", "/orders/é", "/x/1"],
        );
        check("{foo}/bar", &["a/bar", "/bar"], &["a/b/bar", "a/bar/c"]);
        check("/orders/{+path}", &["/orders/1/lines?x=1#y"], &["/orders/é"]);
    }

    #[test]
    fn operators_lead_an_optional_group() {
        check("/a{/x}", &["/a", "/a/1"], &["/a/1/2"]);
        check("/a{/x*}", &["/a/1/2/3"], &["/a/1?"]);
        check("/a{?topic}", &["/a", "/a?topic=1", "/a?other=1"], &["/a?x=1&y=2", "/a&x"]);
        check("/a{?x,y}", &["/a?x=1&y=2"], &["/a?x=1&y=2&z=3"]);
        check("/a{&x}", &["/a&x=1"], &["/a?x=1"]);
        check("a{.x}", &["a.json", "a"], &["a/json"]);
        check("a{#x}", &["a#b/c"], &["ab"]);
        check("a{;x}", &["a;x=1"], &["a?x=1"]);
        check("{x,y}", &["1,2"], &["1/2"]);
        check("{x:3}", &["12345"], &[]);
    }

    #[test]
    fn a_broken_template_is_a_plain_string() {
        for text in ["{", "a{b", "a}b{c}", "{}", "{=x}", "{a b}", "{x:}", "{x:99999}"] {
            check(text, &[text], &["x", "ab"]);
            assert!(Selector::parse(text).unwrap().as_exact().is_some(), "{text}");
        }
    }

    #[test]
    fn a_template_matches_its_own_text() {
        check("/orders/{id}", &["/orders/{id}"], &[]);
    }
}
