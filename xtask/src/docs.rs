//! The documents, tried as written: every command runs, every link leads somewhere, and the book is built of them.

mod book;
mod flags;
mod links;
mod mark;
mod page;
mod room;
mod shown;
mod story;
mod terminal;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::{program, setup, workspace};
use page::Page;
use story::Count;

/// Pages that run at a time.
const AT_ONCE: usize = 2;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only pages whose path contains one of these, and no book; all of them when none is given
    pages: Vec<String>,
    /// Print each page's figures
    #[arg(long)]
    verbose: bool,
}

/// The commands of one page, in the namespaces that the chore has made.
#[derive(Debug, clap::Args)]
pub struct PageArgs {
    page: PathBuf,
}

/// Tries all documents, and builds the book.
pub fn run(args: Args) -> Result<()> {
    setup::run()?;
    let pages = pages()?;
    links::check(&pages)?;
    flags::check(&pages)?;
    pages.iter().try_for_each(story::check)?;
    if args.pages.is_empty() {
        book::build(&pages)?;
    }
    let is_wanted = |page: &&Page| {
        args.pages.is_empty() || args.pages.iter().any(|part| page.path.to_string_lossy().contains(part.as_str()))
    };
    let wanted: Vec<&Page> = pages.iter().filter(is_wanted).collect();
    ensure!(!wanted.is_empty(), "there are no such pages");
    // As the tests and the step of the examples build them: with other features it would all be built once more.
    program::run(&mut workspace::cargo(&["build", "--workspace", "--bins", "--examples", "--locked", "--quiet"]))?;
    report(&try_out(&wanted)?, args.verbose)
}

/// Runs one page and prints its figures; the chore reads them.
pub fn run_page(args: PageArgs) -> Result<()> {
    room::furnish()?;
    let count = story::run(&Page::read(&args.page)?)?;
    println!("{} {} {}", count.ran, count.marked, count.compared);
    Ok(())
}

/// Every page: of the book, and those beside the code.
fn pages() -> Result<Vec<Page>> {
    let mut paths: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "clients/js/README.md"]
            .map(Into::into)
            .into();
    let mut dirs = vec![PathBuf::from("docs")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(workspace::root().join(&dir))? {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => dirs.push(path),
                false if path.extension().is_some_and(|extension| extension == "md") => paths.push(path),
                false => {}
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

/// What became of a page.
struct Tried<'p> {
    page: &'p Page,
    took: f64,
    output: Output,
}

/// Runs the pages, a few at a time. The next to begin is the next in line, whatever the others do.
fn try_out<'p>(pages: &[&'p Page]) -> Result<Vec<Tried<'p>>> {
    let lanes = (0..AT_ONCE).map(|lane| pages.iter().copied().skip(lane).step_by(AT_ONCE));
    std::thread::scope(|scope| {
        let started: Vec<_> = lanes.map(|lane| scope.spawn(move || lane.map(try_page).collect())).collect();
        let done = started.into_iter().map(|lane| match lane.join() {
            Ok(tried) => tried,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.collect::<Result<Vec<Vec<_>>>>().map(|lanes| lanes.into_iter().flatten().collect())
    })
}

fn try_page(page: &Page) -> Result<Tried<'_>> {
    let started = Instant::now();
    let mut command = Command::new("/proc/self/fd/0");
    command.arg("docs-page").arg(&page.path);
    // This program, by a way that remains when building the workspace has put another one in its place.
    let own = File::open("/proc/self/exe").context("opening this program")?;
    let output = room::apart(&command).stdin(own).output().context("running unshare")?;
    Ok(Tried { page, took: started.elapsed().as_secs_f64(), output })
}

fn report(tried: &[Tried<'_>], is_verbose: bool) -> Result<()> {
    let (mut all, mut failed) = (Count::default(), 0);
    for Tried { page, took, output } in tried {
        let said = String::from_utf8_lossy(&output.stdout);
        let counts: Vec<usize> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [ran, marked, compared] = counts[..] else {
            failed += 1;
            println!("FAILED {}", String::from_utf8_lossy(&output.stderr).trim_start_matches("error: ").trim_end());
            continue;
        };
        if is_verbose && ran + marked > 0 {
            let path = page.path.display();
            println!("{path}: {ran} ran, {marked} marked, {compared} outputs compared, {took:.1} s");
        }
        all = Count { ran: all.ran + ran, marked: all.marked + marked, compared: all.compared + compared };
    }
    println!("{} blocks of commands ran, {} are marked not to; {} outputs compared", all.ran, all.marked, all.compared);
    ensure!(failed == 0, "{failed} pages do not work as written");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_documents_are_sound() {
        let pages = pages().unwrap();
        links::check(&pages).unwrap();
        flags::check(&pages).unwrap();
        pages.iter().try_for_each(story::check).unwrap();
        book::check_contents(&pages).unwrap();
    }

    #[test]
    fn a_page_is_read_from_the_root() {
        assert!(Page::read(Path::new("docs/tls.md")).is_ok());
    }
}
