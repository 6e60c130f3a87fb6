//! Who goes first when a machine has more to do than it can: so that other work does not show in a p99.

use std::fs;
use std::process::Command;

/// A started program's place among everything else that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// It is measured. Without root it is as usual, and the figures are as noisy as the machine.
    Ahead,
    Usual,
    /// It has to be there, and nobody measures it.
    Behind,
}

impl Rank {
    /// The command, in a session of its own unless it is as usual. The kernel groups what runs by session, so niceness
    /// has to be the session's, and it goes with it: nothing stays behind if this program is killed.
    pub fn of(self, command: Command) -> Command {
        if self == Self::Usual {
            return command;
        }
        let mut session = Command::new("setsid");
        session.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        session
    }

    /// Gives the started process its place.
    pub fn give(self, pid: u32) {
        let nice = match self {
            Self::Ahead => "-10",
            Self::Usual => return,
            Self::Behind => "19",
        };
        // A kernel that does not group by session has no such file, and one without root may not go ahead.
        let _ = fs::write(format!("/proc/{pid}/autogroup"), nice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_the_command_and_its_environment() {
        let mut command = Command::new("server");
        command.args(["--listen", "a b"]).env_remove("SSE_LISTEN");
        let session = Rank::Behind.of(command);
        assert_eq!(session.get_program(), "setsid");
        assert_eq!(session.get_args().collect::<Vec<_>>(), ["server", "--listen", "a b"]);
        assert!(session.get_envs().any(|(name, value)| name == "SSE_LISTEN" && value.is_none()));
    }
}
