//! A page of the documents: its blocks, its links, and what can be linked to.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::mark::Mark;
use crate::workspace;

/// One Markdown file.
#[derive(Debug)]
pub struct Page {
    /// From the workspace's root.
    pub path: PathBuf,
    pub blocks: Vec<Block>,
    /// Where its links lead, as written.
    pub links: Vec<String>,
    /// What stands as code within its text.
    pub codes: Vec<String>,
    /// The names of its headings in addresses.
    pub anchors: HashSet<String>,
}

/// One fenced block.
#[derive(Debug, Clone)]
pub struct Block {
    pub line: usize,
    pub language: String,
    pub mark: Mark,
    pub text: String,
    /// It stands in a comment, `<!-- sh .. -->`: prepared for the blocks that are shown.
    pub is_hidden: bool,
}

impl Page {
    /// Reads the file at `path`, from the workspace's root.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(workspace::root().join(path)).with_context(|| path.display().to_string())?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let (blocks, links, codes, anchors) = (Vec::new(), Vec::new(), Vec::new(), HashSet::new());
        let mut page = Self { path: path.to_owned(), blocks, links, codes, anchors };
        let (mut heading, mut seen) = (None::<String>, HashMap::new());
        let mut open = None::<Block>;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = || text[..range.start].lines().count() + 1;
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let name = anchor(&heading.take().unwrap_or_default());
                    let again: &mut usize = seen.entry(name.clone()).or_default();
                    page.anchors.insert(if *again == 0 { name } else { format!("{name}-{again}") });
                    *again += 1;
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.to_string());
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    open = Some(Block::of(&info, line(), false).with_context(|| at(path, line()))?);
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(open.take()),
                Event::Text(part) if open.is_some() => {
                    if let Some(block) = &mut open {
                        block.text.push_str(&part);
                    }
                }
                Event::Text(part) => heading.iter_mut().for_each(|heading| heading.push_str(&part)),
                Event::Code(part) => {
                    heading.iter_mut().for_each(|heading| heading.push_str(&part));
                    page.codes.push(part.to_string());
                }
                Event::Start(Tag::HtmlBlock) => {
                    page.blocks.extend(hidden(&text[range.clone()], line()).with_context(|| at(path, line()))?);
                }
                _ => {}
            }
        }
        Ok(page)
    }

    /// Where the block stands, to be found by an editor.
    pub fn at(&self, block: &Block) -> String {
        at(&self.path, block.line)
    }
}

fn at(path: &Path, line: usize) -> String {
    format!("{}:{line}", path.display())
}

impl Block {
    fn of(info: &str, line: usize, is_hidden: bool) -> Result<Self> {
        let (language, mark) = Mark::parse(info)?;
        Ok(Self { line, language, mark, text: String::new(), is_hidden })
    }

    pub fn is_command(&self) -> bool {
        matches!(self.language.as_str(), "sh" | "bash" | "shell" | "console")
    }
}

/// A block in a comment whose first line begins with `sh`.
fn hidden(comment: &str, line: usize) -> Result<Option<Block>> {
    let inner = comment.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
    let Some((info, text)) = inner.and_then(|inner| inner.split_once('\n')) else { return Ok(None) };
    if info.trim() != "sh" && !info.trim().starts_with("sh ") {
        return Ok(None);
    }
    let block = Block::of(info, line, true)?;
    Ok(Some(Block { text: text.to_owned(), ..block }))
}

/// A heading's name in addresses, as mdBook and the usual viewers of Markdown make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c.to_lowercase().next().unwrap_or(c)),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page::parse(Path::new("docs/some.md"), text).unwrap()
    }

    #[test]
    fn blocks_know_where_they_stand() {
        let page = page("# A\n\n```sh\nls\n```\n\n<!-- sh exit=3\nmkdir x\n\nexit 3\n-->\n\n> ```text\n> out\n> ```\n");
        let [shown, hidden, quoted] = &page.blocks[..] else { panic!("{:?}", page.blocks) };
        assert_eq!((shown.line, shown.text.as_str(), shown.is_hidden), (3, "ls\n", false));
        assert_eq!((hidden.line, hidden.text.as_str(), hidden.mark.exit), (7, "mkdir x\n\nexit 3\n", 3));
        assert!(hidden.is_hidden && hidden.is_command());
        assert_eq!((quoted.language.as_str(), quoted.text.as_str()), ("text", "out\n"));
    }

    #[test]
    fn links_and_headings_are_found() {
        let page = page("# One `two`, three!\n\n## Twice\n\n## Twice\n\n[a](b.md#c) <!-- [no](x) --> [`d`](../e)\n");
        assert_eq!(page.links, ["b.md#c", "../e"]);
        let anchors: HashSet<&str> = page.anchors.iter().map(String::as_str).collect();
        assert_eq!(anchors, HashSet::from(["one-two-three", "twice", "twice-1"]));
    }
}
