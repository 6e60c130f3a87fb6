//! What goes beside the binary and has to be made first: pages for man(1), completions, licences of others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Release;
use super::licences;
use super::target::Target;
use crate::{program, workspace};

/// Shells, and what each calls a file of completions.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "sse-server.bash"), ("fish", "sse-server.fish"), ("zsh", "_sse-server")];

/// A folder beside the binary.
#[derive(Debug)]
pub struct Stage {
    pub dir: PathBuf,
}

impl Stage {
    /// Builds the binary and has it write its own pages.
    pub fn fill(release: &Release, target: &Target) -> Result<Self> {
        target.build()?;
        let dir = target.dir().join("dist");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        let (man, completions) = (dir.join("man"), dir.join("completions"));
        fs::create_dir_all(&man)?;
        fs::create_dir_all(&completions)?;
        let binary = target.binary();
        pages(&binary, &man)?;
        for (shell, name) in COMPLETIONS {
            fs::write(completions.join(name), printed(&binary, &["completions", shell])?)?;
        }
        fs::write(dir.join("THIRD-PARTY.txt"), licences::third_party(target)?)?;
        let (ours, debians) = (dir.join("changelog"), dir.join("changelog.Debian"));
        fs::copy(workspace::root().join("CHANGELOG.md"), &ours)?;
        fs::write(&debians, debian_changelog(release)?)?;
        let pages = fs::read_dir(&man)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
        program::run(Command::new("gzip").args(["--no-name", "-9"]).arg(ours).arg(debians).args(pages))?;
        Ok(Self { dir })
    }
}

/// Debian wants one of the package, beside that of the program.
fn debian_changelog(release: &Release) -> Result<String> {
    let mut date = Command::new("date");
    let date = program::read(
        date.env("LC_ALL", "C").args(["--utc", "--rfc-email"]).arg(format!("--date=@{}", release.epoch)),
    )?;
    let (version, maintainer) = (&release.version, "The authors of sse-server <sse-server@packages.debian.org>");
    Ok(format!(
        "sse-server ({version}-1) unstable; urgency=medium\n\n  * CHANGELOG.md beside this tells what is new.\n\n -- {maintainer}  {date}"
    ))
}

/// The page of the program, and one for each command that it lists.
fn pages(binary: &Path, dir: &Path) -> Result<()> {
    let overview = printed(binary, &["man"])?;
    let commands = commands_in(&overview);
    ensure!(commands.len() > 5, "the page names {} commands", commands.len());
    for command in &commands {
        fs::write(dir.join(format!("sse-server-{command}.1")), printed(binary, &["man", command])?)?;
    }
    fs::write(dir.join("sse-server.1"), overview)?;
    Ok(())
}

/// The commands of a page, from lines such as `sse\-server\-publish(1)`.
fn commands_in(page: &str) -> Vec<String> {
    let named = |line: &str| Some(line.strip_prefix(r"sse\-server\-")?.strip_suffix("(1)")?.replace(r"\-", "-"));
    page.lines().filter_map(named).filter(|command| command != "help").collect()
}

fn printed(binary: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(binary);
    program::read(command.env_clear().args(args)).context("the binary that was just built")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_the_page() {
        let page = ".TP\nsse\\-server\\-check\\-config(1)\nSays\n.TP\nsse\\-server\\-help(1)\nsse\\-server(1)\n";
        assert_eq!(commands_in(page), ["check-config"]);
    }
}
