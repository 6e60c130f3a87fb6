//! How the text of one layer becomes a typed value: the same way for all layers.

use super::fault::{Fault, Origin};
use super::setting::Rules;

/// One value as text, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// What a type is called in help and faults, and how it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The placeholder in help, such as `DURATION`.
    pub(super) name: &'static str,
    /// What would be right, to follow "expected".
    pub(super) expects: &'static str,
    pub(super) notation: Notation,
    /// Several values may be given.
    pub(super) list: bool,
    /// `off` means none.
    pub(super) optional: bool,
}

impl Kind {
    /// What would be right, in words.
    pub(super) fn expected(&self) -> String {
        format!("{}{}", self.expects, if self.optional { ", or off" } else { "" })
    }
}

/// How a value is written in TOML and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    /// A TOML string.
    Text,
    /// A TOML number.
    Number,
    /// A TOML string `on` or `off`; the bare flag means `on`.
    Switch,
    /// Never printed.
    Secret,
}

/// Why a text is not a value, if there is more to say than what was expected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) hint: Option<String>,
}

impl Wrong {
    pub(super) fn because(hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()) }
    }
}

/// One value. `text` gives back what `parse` takes.
pub(crate) trait Scalar: Sized + PartialOrd {
    const NAME: &'static str;
    const EXPECTS: &'static str;
    const NOTATION: Notation = Notation::Text;

    fn parse(text: &str) -> Result<Self, Wrong>;
    fn text(&self) -> String;
}

/// One value, none or one, or several: what a field of the configuration can be.
pub(super) trait Value: Sized {
    const KIND: Kind;

    /// Reads what one layer gave; every fault is pushed, and nothing comes back if there was one.
    fn read(given: &[Item], rules: &Rules, faults: &mut Vec<Fault>) -> Option<Self>;
    /// The texts that read back to this value.
    fn texts(&self) -> Vec<String>;
}

impl<T: Scalar> Value for T {
    const KIND: Kind = Kind { name: T::NAME, expects: T::EXPECTS, notation: T::NOTATION, list: false, optional: false };

    fn read(given: &[Item], rules: &Rules, faults: &mut Vec<Fault>) -> Option<Self> {
        // The last wins, as with layers, but all are read.
        let mut value = None;
        for item in given {
            value = read_scalar(item, Self::KIND, rules, faults);
        }
        value
    }

    fn texts(&self) -> Vec<String> {
        vec![self.text()]
    }
}

impl<T: Scalar> Value for Option<T> {
    const KIND: Kind = Kind { optional: true, ..T::KIND };

    fn read(given: &[Item], rules: &Rules, faults: &mut Vec<Fault>) -> Option<Self> {
        let mut value = Some(None);
        for item in given {
            value = match item.text.trim() {
                "off" => Some(None),
                _ => read_scalar(item, Self::KIND, rules, faults).map(Some),
            };
        }
        value
    }

    fn texts(&self) -> Vec<String> {
        self.iter().map(T::text).collect()
    }
}

impl<T: Scalar> Value for Vec<T> {
    const KIND: Kind = Kind { list: true, ..T::KIND };

    fn read(given: &[Item], rules: &Rules, faults: &mut Vec<Fault>) -> Option<Self> {
        // Not a short-circuiting collect: the faults of later items count too.
        let read: Vec<Option<T>> = given.iter().map(|item| read_scalar(item, Self::KIND, rules, faults)).collect();
        read.into_iter().collect()
    }

    fn texts(&self) -> Vec<String> {
        self.iter().map(T::text).collect()
    }
}

fn read_scalar<T: Scalar>(item: &Item, kind: Kind, rules: &Rules, faults: &mut Vec<Fault>) -> Option<T> {
    match T::parse(item.text.trim()) {
        Ok(value) => match out_of_bounds(&value, rules) {
            None => return Some(value),
            Some(bound) => faults.push(Fault::new(item.origin.clone(), format!("{bound}, {}", got(kind, &item.text)))),
        },
        Err(wrong) => faults.push(Fault::new(item.origin.clone(), refusal(kind, &item.text, wrong))),
    }
    None
}

fn out_of_bounds<T: Scalar>(value: &T, rules: &Rules) -> Option<String> {
    let bound = |text: Option<&'static str>| text.and_then(|text| Some((text, T::parse(text).ok()?)));
    match (bound(rules.at_least), bound(rules.at_most)) {
        (Some((text, least)), _) if *value < least => Some(format!("must be at least {text}")),
        (_, Some((text, most))) if *value > most => Some(format!("must be at most {text}")),
        _ => None,
    }
}

fn refusal(kind: Kind, text: &str, wrong: Wrong) -> String {
    let hint = wrong.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("expected {}, {}{hint}", kind.expected(), got(kind, text))
}

/// What was given, cut short and printable; never a secret.
fn got(kind: Kind, text: &str) -> String {
    /// Enough to recognise a value by; a pasted file would drown the other faults.
    const SHOWN_CHARS: usize = 60;
    if kind.notation == Notation::Secret {
        return "got something else, not shown".to_owned();
    }
    if text.trim().is_empty() {
        return "got nothing".to_owned();
    }
    let shown: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    let rest = if text.chars().nth(SHOWN_CHARS).is_some() { ".." } else { "" };
    format!("got `{shown}{rest}`")
}
