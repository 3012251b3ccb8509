//! Exit statuses: the program's own when there is one, ours otherwise.
//!
//! 125 to 127 are what env(1), timeout(1) and nohup(1) use; docs/decisions/0003 says why not the C tool's 1.

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, Signal, WaitStatus, setrlimit};

/// The program talked to somebody whom it should not have talked to, whatever its own status is.
pub(crate) const UNEXPECTED: u8 = 124;
/// nsntrace itself failed.
pub(crate) const FAILED: u8 = 125;
/// The program is there but cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// There is no such program.
pub(crate) const NOT_FOUND: u8 = 127;

/// How the traced program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It exited with a status.
    Exited(u8),
    /// A signal killed it.
    Killed(i32),
}

impl End {
    /// Reads a wait status. `None` when the process has not ended.
    pub(crate) fn of(status: WaitStatus) -> Option<Self> {
        if let Some(code) = status.exit_status() {
            return Some(Self::Exited(u8::try_from(code & 0xff).unwrap_or(FAILED)));
        }
        status.terminating_signal().map(Self::Killed)
    }

    /// Ends as the program did: with its status, or 128+n when signal n killed it.
    ///
    /// After SIGINT and SIGQUIT, which a terminal sends, we die by the same signal. A shell sees 128+n all the same, and
    /// knows that a loop or script around us is to end too.
    pub(crate) fn pass_on(self) -> ExitCode {
        match self {
            Self::Exited(code) => ExitCode::from(code),
            Self::Killed(signal) => {
                if signal == Signal::INT.as_raw() || signal == Signal::QUIT.as_raw() {
                    die_by(signal);
                }
                ExitCode::from(u8::try_from(128 + signal).unwrap_or(FAILED))
            }
        }
    }
}

/// Returns only if the signal did not end us.
fn die_by(signal: i32) {
    // The program's core dump is its own; ours would tell nothing.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    nsntrace_sys::die_by(signal);
}
