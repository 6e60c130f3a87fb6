//! Who goes first when a machine has more to do than it can: so that other work does not show in a p99.

use std::process::Command;

/// A program's place among everything else that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// It measures: what a client waits for a core that it has for itself elsewhere is not the server's doing. In a trace of
    /// B7 it waited 30 ms for one. It takes little time, and takes it at once; without root it is as `Ahead`.
    First,
    /// It is measured. Without root it is as usual, and the figures are as noisy as the machine.
    Ahead,
    Usual,
    /// It has to be there, and nobody measures it.
    Behind,
}

/// The kernel groups what runs by session, so niceness has to be the session's. The new session sets its own, before it
/// becomes the program: nothing else is touched, and nothing is left when the program ends or is killed. A kernel that
/// does not group has no such file, and without root one may not go ahead; then it stays as it is.
const IN_A_SESSION: &str = r#"echo "$0" 2>/dev/null >/proc/self/autogroup; exec "$@""#;
/// The same, and before whatever is of no real-time policy.
const AT_ONCE: &str =
    r#"echo "$0" 2>/dev/null >/proc/self/autogroup; chrt --fifo --pid 1 $$ 2>/dev/null >&2; exec "$@""#;

impl Rank {
    /// The command at this place.
    pub fn of(self, command: Command) -> Command {
        let (script, nice) = match self {
            Self::First => (AT_ONCE, "-10"),
            Self::Ahead => (IN_A_SESSION, "-10"),
            Self::Usual => return command,
            Self::Behind => (IN_A_SESSION, "19"),
        };
        let mut session = Command::new("setsid");
        session.args(["sh", "-c", script, nice]).arg(command.get_program()).args(command.get_args());
        session
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The place of whatever runs a program, and of the program itself.
    #[test]
    fn a_place_is_the_programs_own() {
        let mut command = Command::new("cat");
        command.arg("/proc/self/autogroup");
        let Ok(before) = fs::read_to_string("/proc/self/autogroup") else { return };
        let output = Rank::Behind.of(command).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.trim_end().ends_with("nice 19"), "{shown}");
        assert_eq!(fs::read_to_string("/proc/self/autogroup").unwrap(), before, "nobody else's place has changed");
    }

    #[test]
    fn what_measures_goes_first() {
        let mut command = Command::new("sh");
        command.args(["-c", "chrt --pid $$"]);
        let output = Rank::First.of(command).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let may = rustix::process::geteuid().is_root();
        assert_eq!(shown.contains("SCHED_FIFO"), may, "{shown}");
    }
}
