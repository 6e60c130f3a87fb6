//! What a fenced block says of itself behind its language: ```` ```sh norun="needs a second machine" ````.

use anyhow::{Result, bail};

/// The words behind a block's language. Readers do not see them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// Why it cannot run here.
    pub norun: Option<String>,
    /// It keeps running, in a terminal of this name. What ran there before is ended as by Ctrl-C.
    pub stays: Option<String>,
    /// It is what this terminal shows, not the block before.
    pub of: Option<String>,
    /// It is the content of a file of this name, for the blocks below.
    pub file: Option<String>,
    /// It stands, word for word, in this file of the workspace.
    pub src: Option<String>,
    /// The status that its last failing command ends with.
    pub exit: i32,
}

impl Mark {
    /// Reads what stands behind the opening fence: the language, and the rest.
    pub fn parse(info: &str) -> Result<(String, Self)> {
        let (language, mut rest) = info.trim().split_once(' ').unwrap_or((info.trim(), ""));
        let mut mark = Self::default();
        while let Some((key, value, behind)) = next(rest)? {
            let text = Some(value.to_owned());
            match key {
                "norun" => mark.norun = text,
                "stays" => mark.stays = text,
                "of" => mark.of = text,
                "file" => mark.file = text,
                "src" => mark.src = text,
                "exit" => mark.exit = value.parse()?,
                _ => bail!("there is no mark {key}"),
            }
            rest = behind;
        }
        Ok((language.to_owned(), mark))
    }
}

/// The first `key=word` or `key="several words"`, and what is behind it.
fn next(text: &str) -> Result<Option<(&str, &str, &str)>> {
    let text = text.trim_start();
    if text.is_empty() {
        return Ok(None);
    }
    let Some((key, value)) = text.split_once('=') else { bail!("{text} is no mark: key=value") };
    let split = match value.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"'),
        None => Some(value.split_once(' ').unwrap_or((value, ""))),
    };
    let Some((value, behind)) = split else { bail!("the mark {key} has no closing quote") };
    if value.is_empty() {
        bail!("the mark {key} says nothing");
    }
    Ok(Some((key, value, behind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_words_behind_the_language() {
        let (language, mark) = Mark::parse(r#"sh norun="needs a second machine" exit=64"#).unwrap();
        assert_eq!((language.as_str(), mark.exit), ("sh", 64));
        assert_eq!(mark.norun.as_deref(), Some("needs a second machine"));
        assert_eq!(Mark::parse("text").unwrap(), ("text".to_owned(), Mark::default()));
        assert_eq!(Mark::parse("").unwrap().0, "");
    }

    #[test]
    fn what_is_no_mark_is_refused() {
        for info in ["sh norun", "sh norun=", r#"sh norun="open"#, "sh nurun=x", "sh exit=bad"] {
            assert!(Mark::parse(info).is_err(), "{info}");
        }
    }
}
