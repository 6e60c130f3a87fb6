//! The licences of what is linked into the binary: their texts have to go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::target::Target;
use crate::{program, workspace};

/// How files with such texts begin, in whatever case.
const NAMES: [&str; 5] = ["licen", "copying", "copyright", "notice", "unlicense"];

/// A crate of somebody else.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    licence: String,
    texts: Vec<String>,
}

/// The text of `THIRD-PARTY.txt`.
pub fn third_party(target: &Target) -> Result<String> {
    let metadata = [
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform",
        &target.triple,
        "--manifest-path",
        "crates/sse-server/Cargo.toml",
    ];
    let metadata: Value = serde_json::from_str(&program::read(&mut workspace::cargo(&metadata))?)?;
    let mut crates = linked(&metadata)?;
    crates.push(standard_library()?);
    if target.triple.ends_with("musl") {
        crates.push(musl()?);
    }
    crates.sort();
    Ok(document(&crates))
}

/// What the server needs when it runs, directly or not.
fn linked(metadata: &Value) -> Result<Vec<Crate>> {
    let list = |value: &Value, what: &str| value.as_array().cloned().with_context(|| format!("cargo tells no {what}"));
    let packages = list(&metadata["packages"], "packages")?;
    let nodes = list(&metadata["resolve"]["nodes"], "dependencies")?;
    let server = packages.iter().find(|package| package["name"] == "sse-server").context("there is no sse-server")?;
    let mut waiting = vec![server["id"].clone()];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id.to_string()) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == id).context("a package is not resolved")?;
        let is_linked =
            |dep: &&Value| dep["dep_kinds"].as_array().is_some_and(|k| k.iter().any(|k| k["kind"].is_null()));
        waiting.extend(node["deps"].as_array().into_iter().flatten().filter(is_linked).map(|dep| dep["pkg"].clone()));
    }
    let is_theirs = |package: &&Value| seen.contains(&package["id"].to_string()) && !package["source"].is_null();
    packages.iter().filter(is_theirs).map(crate_of).collect()
}

fn crate_of(package: &Value) -> Result<Crate> {
    let text = |key: &str| package[key].as_str().with_context(|| format!("a package has no {key}"));
    let dir = Path::new(text("manifest_path")?).parent().context("a manifest lies nowhere")?;
    Ok(Crate {
        name: format!("{} {}", text("name")?, text("version")?),
        licence: package["license"].as_str().unwrap_or("see its text").to_owned(),
        texts: texts_in(dir)?,
    })
}

fn texts_in(dir: &Path) -> Result<Vec<String>> {
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        let is_text = NAMES.iter().any(|start| name.starts_with(start)) && !name.ends_with(".html");
        if is_text && entry.path().is_file() {
            // Some are not UTF-8 throughout.
            let text = String::from_utf8_lossy(&fs::read(entry.path())?).replace("\r\n", "\n").trim().to_owned();
            texts.insert(name, text);
        }
    }
    Ok(texts.into_values().collect())
}

/// Its texts are beside the toolchain, where that has its documents.
fn standard_library() -> Result<Crate> {
    let rustc = |args: &[&str]| program::read(Command::new("rustc").current_dir(workspace::root()).args(args));
    let documents = Path::new(rustc(&["--print", "sysroot"])?.trim()).join("share/doc/rust");
    let texts = if documents.is_dir() { texts_in(&documents)? } else { Vec::new() };
    let name = format!("the standard library of {}", rustc(&["--version"])?.trim());
    Ok(Crate { name, licence: "MIT OR Apache-2.0".to_owned(), texts })
}

/// Linked in by the toolchain; the system's package has the same notice.
fn musl() -> Result<Crate> {
    let notice = fs::read_to_string("/usr/share/doc/musl/copyright").context("reading musl's licence")?;
    Ok(Crate { name: "musl".to_owned(), licence: "MIT".to_owned(), texts: vec![notice.trim().to_owned()] })
}

/// All crates, then each text once.
fn document(crates: &[Crate]) -> String {
    let mut out =
        String::from("sse-server has in it the following, each under its own licence. Their texts follow.\n\n");
    let mut holders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in crates {
        let lack = if one.texts.is_empty() { ", brings no text" } else { "" };
        // Writing to a text cannot fail.
        let _ = writeln!(out, "{} ({}{lack})", one.name, one.licence);
        one.texts.iter().for_each(|text| holders.entry(text).or_default().push(&one.name));
    }
    for (text, names) in holders {
        let _ = write!(out, "\n{}\n{}\n\n{text}\n", "-".repeat(80), names.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stands_once_with_all_whose_it_is() {
        let of = |name: &str, texts: &[&str]| Crate {
            name: name.to_owned(),
            licence: "MIT".to_owned(),
            texts: texts.iter().map(ToString::to_string).collect(),
        };
        let text = document(&[of("a 1", &["one", "two"]), of("b 2", &["two"]), of("c 3", &[])]);
        assert_eq!(text.matches("\ntwo\n").count(), 1, "{text}");
        assert!(text.contains("a 1, b 2\n\ntwo\n") && text.contains("c 3 (MIT, brings no text)"), "{text}");
    }
}
