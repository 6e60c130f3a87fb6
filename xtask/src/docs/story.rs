//! One page, told as its commands.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use super::page::{Block, Page};
use super::room::Room;
use super::shown::Bindings;
use super::terminal::{Shell, Terminal};
use crate::{Cli, workspace};

/// What keeps running shows what the page says within this.
const SHOWS_WITHIN: Duration = Duration::from_secs(10);
/// What a server says when it can be used; followers show something by themselves.
const READY: &str = "listening";

/// How many blocks of commands ran, and how many are marked not to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub ran: usize,
    pub marked: usize,
    /// Outputs that were compared.
    pub compared: usize,
}

/// What the blocks before this one left.
struct Story<'p> {
    page: &'p Page,
    room: Room,
    shell: Shell,
    terminals: HashMap<String, Terminal>,
    bindings: Bindings,
    /// What the last command printed, or the terminal that it runs in.
    last: Last,
    count: Count,
}

enum Last {
    Nothing,
    Printed(String),
    Stays(String),
}

/// Checks what can be seen without running anything.
pub fn check(page: &Page) -> Result<()> {
    for block in &page.blocks {
        block.check().with_context(|| page.at(block))?;
    }
    Ok(())
}

/// Runs all blocks of the page, in its order.
pub fn run(page: &Page) -> Result<Count> {
    let room = Room::create(&page.path)?;
    let shell = Shell::open(&room)?;
    let (terminals, bindings) = (HashMap::new(), Bindings::default());
    let mut story = Story { page, room, shell, terminals, bindings, last: Last::Nothing, count: Count::default() };
    for (index, block) in page.blocks.iter().enumerate() {
        story.tell(index, block).with_context(|| format!("{}\n{}", page.at(block), block.text.trim_end()))?;
    }
    Ok(story.count)
}

impl Block {
    fn check(&self) -> Result<()> {
        if let Some(src) = &self.mark.src {
            let text = fs::read_to_string(workspace::root().join(src)).with_context(|| src.clone())?;
            ensure!(unindented(&text).contains(&unindented(&self.text)), "{src} does not have this, word for word");
        }
        let is_accounted = self.mark.norun.is_some() || self.mark.file.is_some() || self.mark.src.is_some();
        match self.language.as_str() {
            "text" | "json" => Ok(()),
            // A fence that is none, because of a backtick behind it, turns the blocks below inside out.
            "" => bail!("a block names its language"),
            _ if self.is_command() => self.xtask_commands(),
            // A file that nothing reads can say anything.
            language => {
                ensure!(is_accounted, "a block of {language} is marked `file=`, `src=` or `norun=`");
                Ok(())
            }
        }
    }

    /// Chores take minutes, so those blocks do not run; but what they say must be known.
    fn xtask_commands(&self) -> Result<()> {
        let lines = self.text.lines().filter_map(|line| line.trim().strip_prefix("cargo xtask "));
        for line in lines {
            let words = line.split('#').next().unwrap_or_default();
            let words = words.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
            if let Err(error) = Cli::try_parse_from(["xtask"].into_iter().chain(words)) {
                ensure!(!error.use_stderr(), "{}", error.render());
            }
        }
        Ok(())
    }
}

/// The lines without what is before and behind their text, as a part of a file may stand deeper there.
fn unindented(text: &str) -> String {
    text.trim().lines().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

impl Story<'_> {
    fn tell(&mut self, index: usize, block: &Block) -> Result<()> {
        if let Some(file) = &block.mark.file {
            return self.write(file, &block.text);
        }
        if block.is_command() {
            return self.command(index, block);
        }
        if block.language == "text" && block.mark.norun.is_none() {
            return self.compare(block);
        }
        Ok(())
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.room.home.join(file);
        ensure!(!path.is_symlink(), "{file} is a file of the clone");
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    fn command(&mut self, index: usize, block: &Block) -> Result<()> {
        if block.mark.norun.is_some() {
            self.count.marked += 1;
            self.last = Last::Nothing;
            return Ok(());
        }
        let script = self.script(index, &block.text)?;
        self.last = match &block.mark.stays {
            None => Last::Printed(self.finish(&script, block.mark.exit)?),
            Some(name) => {
                self.stay(name, &script, self.is_compared(index))?;
                Last::Stays(name.clone())
            }
        };
        self.count.ran += usize::from(!block.is_hidden);
        Ok(())
    }

    fn script(&self, index: usize, text: &str) -> Result<PathBuf> {
        let script = self.room.steps.join(format!("{index}.sh"));
        fs::write(&script, text).with_context(|| script.display().to_string())?;
        Ok(script)
    }

    fn finish(&mut self, script: &Path, exit: i32) -> Result<String> {
        let (status, printed) = self.shell.run(script)?;
        ensure!(status == exit, "it ended with {status}, not {exit}, and printed\n{printed}");
        Ok(printed)
    }

    /// Starts something that keeps running, and waits until it can be used.
    fn stay(&mut self, name: &str, script: &Path, is_compared: bool) -> Result<()> {
        if let Some(before) = self.terminals.remove(name) {
            before.interrupt().with_context(|| format!("ending what runs as {name}"))?;
        }
        let mut terminal = Terminal::open(&self.room, script)?;
        if !is_compared {
            terminal.shows(SHOWS_WITHIN, |text| text.contains(READY)).with_context(|| format!("no word of {READY}"))?;
        }
        self.terminals.insert(name.to_owned(), terminal);
        Ok(())
    }

    /// Whether the next block is this one's output, which is then waited for.
    fn is_compared(&self, index: usize) -> bool {
        let next = self.page.blocks.get(index + 1);
        next.is_some_and(|next| next.language == "text" && next.mark.of.is_none() && next.mark.norun.is_none())
    }

    /// Compares what a page shows with what there is to see.
    fn compare(&mut self, block: &Block) -> Result<()> {
        let name = match (&block.mark.of, &self.last) {
            (Some(name), _) | (None, Last::Stays(name)) => name.clone(),
            (None, Last::Printed(printed)) => {
                ensure!(self.bindings.fit(&block.text, printed), "that is not what was printed:\n{printed}");
                self.count.compared += 1;
                return Ok(());
            }
            (None, Last::Nothing) => return Ok(()),
        };
        let Some(terminal) = self.terminals.get_mut(&name) else { bail!("nothing runs as {name}") };
        let bindings = &mut self.bindings;
        terminal.shows(SHOWS_WITHIN, |text| bindings.fit(&block.text, text)).context("that is not what is shown")?;
        self.count.compared += 1;
        Ok(())
    }
}
