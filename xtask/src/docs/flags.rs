//! Whether the flags that the documents speak of exist.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::CommandFactory;

use super::page::Page;
use crate::Cli;

/// The reference of all settings, which is made from their declaration.
const REFERENCE: &str = "docs/configuration.md";
/// Flags that are no settings: of other commands of the server, of the load generator, of engines of containers.
const OTHERS: &[&str] = &["--token", "--settle", "--ulimit"];

/// Checks each `--flag` that a page has as code in its text.
pub fn check(pages: &[Page]) -> Result<()> {
    let reference = pages.iter().find(|page| page.path == Path::new(REFERENCE)).context("there is no reference")?;
    let mut known: BTreeSet<String> = flags(reference).map(str::to_owned).collect();
    known.extend(OTHERS.iter().map(|flag| (*flag).to_owned()));
    for chore in Cli::command().get_subcommands() {
        known.extend(chore.get_arguments().filter_map(|arg| Some(format!("--{}", arg.get_long()?))));
    }
    for page in pages {
        let unknown: Vec<&str> = flags(page).filter(|flag| !known.contains(*flag)).collect();
        ensure!(unknown.is_empty(), "{} speaks of {}, which there is not", page.path.display(), unknown.join(" and "));
    }
    Ok(())
}

fn flags(page: &Page) -> impl Iterator<Item = &str> {
    let is_flag = |word: &&str| word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic));
    page.codes.iter().filter_map(|code| code.split([' ', '=']).next()).filter(is_flag)
}
