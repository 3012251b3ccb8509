//! Who calls nsntrace, which decides the transport: root goes by NAT, an ordinary user by proxy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nsntrace_testkit::{Finished, Lab, Plan, Process, nsntrace, until, within};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Goes by NAT.
    Root,
    /// Goes by proxy.
    User,
}

impl Caller {
    /// A lab with a directory that everybody may write to, and in it the binary, since a user cannot reach a build folder of root's.
    pub(crate) fn lab() -> Lab {
        let lab = Lab::new(&Plan::default());
        lab.dir.copy_program(nsntrace(), "nsntrace");
        fs::set_permissions(lab.dir.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
        lab
    }

    /// `nsntrace arguments...` on the host of such a lab, behind the words of `wrapper`, not started yet.
    pub(crate) fn wrapped(self, lab: &Lab, wrapper: &[&str], arguments: &[&str]) -> Command {
        let binary = lab.dir.join("nsntrace");
        let words = wrapper.iter().chain(self.becoming());
        let mut words = words.map(Into::into).chain([binary.into_os_string()]);
        let mut command = Command::new(words.next().expect("the binary at least"));
        command.args(words).args(arguments).current_dir(lab.dir.path()).stdin(Stdio::null());
        command
    }

    /// `nsntrace arguments...`, not started yet.
    pub(crate) fn command(self, lab: &Lab, arguments: &[&str]) -> Command {
        self.wrapped(lab, &[], arguments)
    }

    /// Starts `nsntrace arguments...`.
    #[track_caller]
    pub(crate) fn start(self, lab: &Lab, arguments: &[&str]) -> Process {
        lab.host.spawn(self.command(lab, arguments))
    }

    /// Runs `nsntrace arguments...` to its end.
    #[track_caller]
    pub(crate) fn run(self, lab: &Lab, arguments: &[&str]) -> Finished {
        self.start(lab, arguments).wait()
    }

    /// setpriv(1) becomes what it starts, so that the pid is front's.
    fn becoming(self) -> &'static [&'static str] {
        match self {
            Self::Root => &[],
            Self::User => &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"],
        }
    }
}

/// Interrupts a trace whose program has ended or is about to, and does so once more when that is offered.
#[track_caller]
pub(crate) fn leave(process: Process) -> Finished {
    let is_offered = || process.stderr().contains("interrupt once more").then_some(());
    // Up to the moment in which front sees the program's end, a signal is the program's.
    until("it offers to give up", Duration::from_mins(1), || {
        process.signal(SIGINT);
        within(Duration::from_millis(500), is_offered)
    });
    process.signal(SIGINT);
    process.wait()
}

const SIGINT: i32 = 2;
