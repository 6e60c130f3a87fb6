//! Whether the flags that the documents speak of exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::CommandFactory;

use super::page::Page;
use crate::{Cli, workspace};

/// The reference of all settings, which is made from their declaration.
const REFERENCE: &str = "docs/configuration.md";
/// Flags of other projects' programs.
const FOREIGN: &[&str] = &["--ulimit"];
/// Where the server's other commands and the load generator declare theirs.
const DECLARED: &[&str] = &["crates/sse-server/src/config", "crates/sse-loadgen/src"];

/// Checks each `--flag` that a page has as code in its text.
pub fn check(pages: &[Page]) -> Result<()> {
    let reference = pages.iter().find(|page| page.path == Path::new(REFERENCE)).context("there is no reference")?;
    let mut known: BTreeSet<String> = flags(reference).map(str::to_owned).collect();
    known.extend(FOREIGN.iter().map(|flag| (*flag).to_owned()));
    for chore in Cli::command().get_subcommands() {
        known.extend(chore.get_arguments().filter_map(|arg| Some(format!("--{}", arg.get_long()?))));
    }
    let declared = declarations()?;
    for page in pages {
        let is_unknown = |flag: &&str| !known.contains(*flag) && !is_declared(flag, &declared);
        let unknown: Vec<&str> = flags(page).filter(is_unknown).collect();
        ensure!(unknown.is_empty(), "{} speaks of {}, which there is not", page.path.display(), unknown.join(" and "));
    }
    Ok(())
}

fn flags(page: &Page) -> impl Iterator<Item = &str> {
    let is_flag = |word: &&str| word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic));
    page.codes.iter().filter_map(|code| code.split([' ', '=']).next()).filter(is_flag)
}

/// The sources that declare flags, one behind the other.
fn declarations() -> Result<String> {
    let mut text = String::new();
    for dir in DECLARED {
        for entry in fs::read_dir(workspace::root().join(dir)).with_context(|| (*dir).to_owned())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                text += &fs::read_to_string(path)?;
            }
        }
    }
    Ok(text)
}

/// Whether a flag is named in a builder's way, as text, or in the way of clap's derive, as a field.
fn is_declared(flag: &str, declarations: &str) -> bool {
    let name = flag.trim_start_matches('-');
    let field = name.replace('-', "_");
    declarations.contains(&format!("\"{name}\"")) || declarations.contains(&format!("    {field}: "))
}
