//! The exit codes: a contract with scripts, so a number never changes its meaning.

use std::process::ExitCode;

use evidence::Phase;

/// How a run of `mesh-probe` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// The level is ready, or may start; for other commands: an answer was printed.
    Ready,
    /// Judged, and not ready.
    NotReady,
    /// The command line, the key or the name of a level or code is wrong. Repeating it cannot help.
    Usage,
    /// No judgement: the collector cannot be reached or understood, or it cannot tell itself.
    CannotTell,
    /// The wait's time passed, and the level was still not ready.
    TimedOut,
    /// The collector or we refused the other's credentials.
    NotAuthorised,
    /// As Nagios has it, which gives other meanings to the same numbers.
    Nagios(Nagios),
}

/// The states of a Nagios plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nagios {
    /// Yes.
    Ok,
    /// Yes, and not of all who were asked.
    Warning,
    /// No.
    Critical,
    /// Nobody can tell.
    Unknown,
}

impl Nagios {
    const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// The word of the first line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The table as `--help` shows it.
pub const TABLE: &str = "\
Exit codes:
  0  ready; for other commands than gate and wait: an answer was printed
  1  judged, and not ready; for udp and handshake: refused
  2  usage: a wrong argument, no mesh key, an unknown level or code
  3  cannot tell: the collector is unreachable or says unknown, or a host is silent
  4  the wait timed out
  5  not authorised: another mesh key, a role that may not ask, or a socket that is not ours to open
With --nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. With -o terraform-external: 0, 2 or 5.";

impl Exit {
    /// The code of a level that was asked once.
    pub const fn of_phase(phase: Phase) -> Self {
        match phase {
            Phase::Ready => Self::Ready,
            Phase::NotReady => Self::NotReady,
            Phase::Unknown => Self::CannotTell,
        }
    }

    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::NotReady => 1,
            Self::Usage => 2,
            Self::CannotTell => 3,
            Self::TimedOut => 4,
            Self::NotAuthorised => 5,
            Self::Nagios(state) => state.code(),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_ones_that_scripts_know() {
        let all = [
            Exit::Ready,
            Exit::NotReady,
            Exit::Usage,
            Exit::CannotTell,
            Exit::TimedOut,
            Exit::NotAuthorised,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5]);
        for exit in all {
            assert!(TABLE.contains(&format!("\n  {}  ", exit.code())));
        }
    }

    #[test]
    fn an_unknown_phase_is_never_ready_and_never_judged() {
        assert_eq!(Exit::of_phase(Phase::Unknown), Exit::CannotTell);
    }
}
