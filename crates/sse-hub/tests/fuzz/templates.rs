//! URI templates against their own expansions, made here as RFC 6570 says.

use bolero::{TypeGenerator, check};
use sse_hub::Selector;

/// A part of a template, and what it becomes in a topic.
#[derive(Debug, Clone, TypeGenerator)]
enum Part {
    Literal(Vec<u8>),
    Expression { operator: u8, names: u8, explode: bool, values: Vec<Value> },
}

#[derive(Debug, Clone, TypeGenerator)]
struct Value(Vec<u8>);

const LITERALS: &[&str] = &["/", "orders", ".", "*", "+", "(", "[a-z]", "\\", "?", "é", "$", "^", "|", "a", "%2F"];
const OPERATORS: &[&str] = &["", "+", "#", ".", "/", ";", "?", "&"];
const NAMES: &[&str] = &["id", "x.y", "a_b", "n:3"];
const VALUES: &[&str] = &["1", "abc", "%C3%A9", "-", "_", "~", "Z9"];

fn pieces(table: &[&'static str], bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| table[usize::from(byte) % table.len()]).collect()
}

impl Part {
    fn template(&self) -> String {
        match self {
            Self::Literal(bytes) => pieces(LITERALS, bytes),
            Self::Expression { operator, names, explode, .. } => {
                let count = 1 + usize::from(*names) % NAMES.len();
                let star = if *explode { "*" } else { "" };
                format!("{{{}{}{star}}}", pieces(OPERATORS, &[*operator]), NAMES[..count].join(","))
            }
        }
    }

    /// What it expands to, with as many of its variables defined as there are values.
    fn expansion(&self) -> String {
        let Self::Expression { operator, names, explode, values } = self else { return self.template() };
        let operator = pieces(OPERATORS, &[*operator]);
        let count = 1 + usize::from(*names) % NAMES.len();
        let defined = values.len().min(if *explode { 5 } else { count });
        let (first, separator, is_named) = match operator.as_str() {
            "#" => ("#", ",", false),
            "." | "/" => (&*operator, &*operator, false),
            ";" => (";", ";", true),
            "?" => ("?", "&", true),
            "&" => ("&", "&", true),
            _ => ("", ",", false),
        };
        let name = |at: usize| if is_named { format!("v{at}=") } else { String::new() };
        let value = |(at, value): (usize, &Value)| name(at) + &pieces(VALUES, &value.0);
        let values: Vec<String> = values.iter().take(defined).enumerate().map(value).collect();
        if values.is_empty() { String::new() } else { format!("{first}{}", values.join(separator)) }
    }
}

#[test]
fn selectors() {
    check!().with_type::<(Vec<Part>, Vec<u8>)>().for_each(|(parts, any)| {
        let template: String = parts.iter().map(Part::template).collect();
        let expansion: String = parts.iter().map(Part::expansion).collect();
        let any = String::from_utf8_lossy(any);
        // Whatever the text is: it is a selector or refused, and matches itself.
        for text in [&template, &any.clone().into_owned()] {
            let Ok(selector) = Selector::parse(text) else { continue };
            assert!(selector.matches(text));
            if selector.as_exact().is_some() {
                assert_eq!(selector.matches(&any), *text == any);
            }
        }
        if let Ok(selector) = Selector::parse(&template)
            && (template.contains('{') && selector.as_exact().is_none())
        {
            assert!(selector.matches(&expansion), "{template} does not match {expansion}");
            let literal = template.split('{').next().unwrap_or("");
            assert!(!selector.matches(&format!("\u{1}{literal}")), "it is bound to both ends");
        }
    });
}
