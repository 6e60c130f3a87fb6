//! The terminal while something else is shown on it.

use std::io::{self, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The other screen, without cursor and without lines that wrap.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A terminal that was taken over; dropping it gives it back as it was.
#[derive(Debug)]
pub(super) struct Terminal {
    /// How keys were read before, if standard input is a terminal.
    before: Option<Termios>,
}

impl Terminal {
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut now = before.clone();
            // Keys come at once and are not shown; Ctrl-C stays a signal.
            now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(io::stdin(), OptionalActions::Now, &now)?;
        }
        let terminal = Self { before };
        write(ENTER)?;
        Ok(terminal)
    }

    /// Columns and rows; those of old where it does not tell.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        }
    }

    /// Shows as many lines as there is room for, in one write.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = "\x1b[H".to_owned();
        for (row, line) in lines.iter().take(self.size().1).enumerate() {
            text.extend([if row > 0 { "\r\n" } else { "" }, line, "\x1b[K"]);
        }
        text.push_str("\x1b[J");
        write(&text)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may be gone, and then there is nothing to give back.
        let _ = write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}
