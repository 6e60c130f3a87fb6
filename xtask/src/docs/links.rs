//! Whether the links of the documents lead somewhere.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};

use super::page::Page;
use crate::workspace;

/// Checks that each link leads to a file, and to a heading in it if it names one. Says all that do not.
pub fn check(pages: &[Page]) -> Result<()> {
    let known: HashMap<&Path, &Page> = pages.iter().map(|page| (page.path.as_path(), page)).collect();
    let mut broken = Vec::new();
    for page in pages {
        let faults = page.links.iter().filter_map(|link| Some((link, fault(page, link, &known)?)));
        broken.extend(faults.map(|(link, fault)| format!("{}: {link}: {fault}", page.path.display())));
    }
    ensure!(broken.is_empty(), "{} links lead nowhere:\n{}", broken.len(), broken.join("\n"));
    Ok(())
}

/// What is wrong with a link. Links to other hosts are not looked at: no test leaves this machine.
fn fault(page: &Page, link: &str, known: &HashMap<&Path, &Page>) -> Option<&'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { page.path.clone() } else { beside(&page.path, file) };
    if !workspace::root().join(&path).exists() {
        return Some("there is no such file");
    }
    let is_markdown = path.extension().is_some_and(|extension| extension == "md");
    if is_markdown && page.path.starts_with("docs") && !path.starts_with("docs") {
        return Some("the book has only what is in docs");
    }
    match (anchor, known.get(path.as_path())) {
        (Some(anchor), Some(page)) if !page.anchors.contains(anchor) => Some("there is no such heading"),
        (Some(_), None) => Some("only pages have headings"),
        _ => None,
    }
}

/// `link` as seen from the page at `path`.
fn beside(path: &Path, link: &str) -> PathBuf {
    let mut found = path.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                found.pop();
            }
            Component::Normal(name) => found.push(name),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(links: &[&str]) -> Page {
        let links = links.iter().map(|link| (*link).to_owned()).collect();
        Page { path: "docs/tls.md".into(), blocks: vec![], links, codes: vec![], anchors: ["http2".to_owned()].into() }
    }

    #[test]
    fn links_lead_somewhere() {
        let good =
            ["tls.md", "#http2", "tls.md#http2", "../deploy/nginx/sse.conf", "decisions/tls.md", "https://x.y/z"];
        check(&[page(&good)]).unwrap();
        for bad in ["none.md", "#none", "tls.md#none", "../README.md", "../deploy/none"] {
            assert!(check(&[page(&[bad])]).is_err(), "{bad}");
        }
    }
}
