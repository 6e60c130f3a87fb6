//! Texts with places to fill: URLs and bodies in which the topic and the data are named by the user.

/// A text with `{topic}`, `{KEY=*}` (`KEY=a&KEY=b`, a pair for each topic) and `{data}` to fill in. Other braces stand
/// for themselves, so that a body may be JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Topic,
    Pairs { key: String },
    Data,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(brace) = rest.find('{') {
            literal.push_str(&rest[..brace]);
            rest = &rest[brace..];
            match Part::placeholder(rest) {
                Some((part, length)) => {
                    parts.extend(Part::text(&mut literal));
                    parts.push(part);
                    rest = &rest[length..];
                }
                None => {
                    literal.push('{');
                    rest = &rest[1..];
                }
            }
        }
        literal.push_str(rest);
        parts.extend(Part::text(&mut literal));
        Self { parts }
    }

    /// Whether it can name more than one topic.
    pub(crate) fn takes_several(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Pairs { .. }))
    }

    /// Whether it names a topic at all.
    pub(crate) fn takes_topic(&self) -> bool {
        self.takes_several() || self.parts.contains(&Part::Topic)
    }

    /// The text up to where the data goes and the text behind it, which is empty without `{data}`.
    pub(crate) fn render(&self, topics: &[String]) -> (String, String) {
        let data = self.parts.iter().position(|part| *part == Part::Data).unwrap_or(self.parts.len());
        let after = self.parts.get(data + 1..).unwrap_or_default();
        (render(&self.parts[..data], topics), render(after, topics))
    }
}

fn render(parts: &[Part], topics: &[String]) -> String {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Topic => out.push_str(topics.first().map_or("", String::as_str)),
            Part::Pairs { key } => {
                let pairs: Vec<String> = topics.iter().map(|topic| format!("{key}={topic}")).collect();
                out.push_str(&pairs.join("&"));
            }
            Part::Data => (),
        }
    }
    out
}

impl Part {
    fn text(literal: &mut String) -> Option<Self> {
        (!literal.is_empty()).then(|| Self::Text(std::mem::take(literal)))
    }

    /// The placeholder at the front of `text`, which begins with a brace, and its length.
    fn placeholder(text: &str) -> Option<(Self, usize)> {
        let end = text.find('}')?;
        let part = match &text[1..end] {
            "topic" => Self::Topic,
            "data" => Self::Data,
            name => Self::Pairs { key: name.strip_suffix("=*").filter(|key| is_key(key))?.to_owned() },
        };
        Some((part, end + 1))
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, before: &str, after: &str) {
        let topics = ["a".to_owned(), "b".to_owned()];
        assert_eq!(Template::parse(template).render(&topics), (before.to_owned(), after.to_owned()), "{template}");
    }

    #[test]
    fn places_are_filled() {
        check("/events/{topic}", "/events/a", "");
        check("/events?{topic=*}&x=1", "/events?topic=a&topic=b&x=1", "");
        check("{data}", "", "");
        check("topic={topic}&data={data}&private=on", "topic=a&data=", "&private=on");
        check(r#"{"topic":"{topic}","data":"{data}"}"#, r#"{"topic":"a","data":""#, r#""}"#);
        check("{unknown} {", "{unknown} {", "");
    }
}
