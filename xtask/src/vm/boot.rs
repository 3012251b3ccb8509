//! A guest's run in qemu, from power on to power off.
//!
//! # References
//! qemu-system-x86_64(1); Documentation/admin-guide/kernel-parameters.rst.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::machine::Machine;
use super::verdict::last_lines;
use crate::process::{self, Result};

/// Boots, copies the serial console to a file, shows the lines of it that are for us, and waits for the end.
///
/// # Errors
/// qemu fails, or the guest takes too long.
pub(super) fn run(
    folder: &Path,
    machine: &Machine,
    kernel: &Path,
    initramfs: &Path,
    runs: u32,
) -> Result<PathBuf> {
    let console = folder.join("console");
    let mut command = command(machine, kernel, initramfs);
    let words = process::words(&command);
    let mut qemu = command.spawn().map_err(|error| format!("cannot run {words}: {error}"))?;
    let output = qemu.stdout.take().expect("it is piped");
    let limit = LIMIT + LIMIT_PER_RUN * runs;
    let copied = wait(output, File::create(&console)?, limit);
    if copied.is_none() {
        qemu.kill()?;
    }
    finish(&mut qemu, copied, limit).map_err(|error| {
        let said = fs::read(&console).unwrap_or_default();
        let last = last_lines(&String::from_utf8_lossy(&said));
        format!("{error}\n{last}\nhint: see {}", console.display())
    })?;
    Ok(console)
}

fn command(machine: &Machine, kernel: &Path, initramfs: &Path) -> Command {
    let [board, processor] = machine.hardware;
    let mut qemu = Command::new(machine.qemu);
    qemu.args(["-machine", board, "-cpu", processor, "-accel", &format!("tcg,thread={}", machine.threads)])
        .args(["-smp", "2", "-m", "384", "-nic", "none", "-display", "none", "-monitor", "none"])
        // A guest that crashes or is done is over.
        .args(["-no-reboot", "-serial", "stdio"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", &format!("console={} quiet panic=-1", machine.console)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    qemu
}

/// Copies until the end of the output. `None` when that does not come in time.
fn wait(output: ChildStdout, mut to: File, limit: Duration) -> Option<io::Result<()>> {
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more when it took too long.
        let _too_late = sender.send(copy(BufReader::new(output), &mut to, &mut io::stdout()));
    });
    match done.recv_timeout(limit) {
        Ok(copied) => Some(copied),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(Err(io::Error::other("the copying thread panicked"))),
    }
}

fn copy(mut from: impl BufRead, to: &mut impl Write, progress: &mut impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        if line.starts_with(OURS) {
            progress.write_all(&line)?;
        }
        line.clear();
    }
    Ok(())
}

fn finish(qemu: &mut Child, copied: Option<io::Result<()>>, limit: Duration) -> Result {
    let status = qemu.wait()?;
    match copied {
        None => Err(format!("the guest was not done after {} s", limit.as_secs()).into()),
        Some(Err(error)) => Err(format!("cannot read the guest's console: {error}").into()),
        Some(Ok(())) if status.success() => Ok(()),
        Some(Ok(())) => Err(format!("qemu: {status}").into()),
    }
}

/// What lines for us begin with.
const OURS: &[u8] = b"vm-test: ";
/// For booting, on a machine that has other things to do.
const LIMIT: Duration = Duration::from_mins(5);
const LIMIT_PER_RUN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn wait_for(child: &mut Child, limit: Duration) -> Option<io::Result<()>> {
        let output = child.stdout.take().unwrap();
        wait(output, File::create("/dev/null").unwrap(), limit)
    }

    #[test]
    fn everything_is_copied_and_our_lines_are_shown() {
        let (mut to, mut progress) = (Vec::new(), Vec::new());
        let text = b"noise\nvm-test: one\n\xffvm-test: no\nvm-test: two";
        copy(&text[..], &mut to, &mut progress).unwrap();
        assert_eq!(to, text);
        assert_eq!(progress, b"vm-test: one\nvm-test: two");
    }

    #[test]
    fn a_guest_that_hangs_is_given_up() {
        let mut guest = shell("exec sleep 1000");
        let limit = Duration::from_millis(50);
        let copied = wait_for(&mut guest, limit);
        assert!(copied.is_none());
        guest.kill().unwrap();
        let error = finish(&mut guest, copied, Duration::from_secs(7)).unwrap_err();
        assert_eq!(error.to_string(), "the guest was not done after 7 s");
    }

    #[test]
    fn a_qemu_that_fails_is_a_failure() {
        let mut qemu = shell("exit 1");
        let copied = wait_for(&mut qemu, LIMIT);
        assert_eq!(finish(&mut qemu, copied, LIMIT).unwrap_err().to_string(), "qemu: exit status: 1");
    }
}
