//! Running commands, and the one error type of tasks: words for whoever typed the task.

use std::collections::VecDeque;
use std::error::Error;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a task comes to.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The cargo that runs us, in the folder `root`.
pub(crate) fn cargo<S: AsRef<OsStr>>(root: &Path, arguments: impl IntoIterator<Item = S>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(arguments);
    command
}

/// Where cargo keeps what it downloads.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}

/// Runs a command on our own output to its end.
///
/// # Errors
/// It cannot be started, or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| format!("cannot run {}: {error}", words(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", words(command)).into()) }
}

/// As [`run`], and the end of what it complained of is in the error too, for whoever reads only the end of a long log.
///
/// # Errors
/// It cannot be started, or does not succeed.
pub(crate) fn tell(command: &mut Command) -> Result {
    command.stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot run {}: {error}", words(command)))?;
    let complaint = last_lines(child.stderr.take().expect("it is piped"))?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}\n{complaint}", words(command)).into()) }
}

/// Shows what it reads as it comes, and keeps the end of it.
fn last_lines(from: impl Read) -> Result<String> {
    let mut lines = VecDeque::new();
    for line in BufReader::new(from).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        eprintln!("{line}");
        if lines.len() == MAX_COMPLAINT {
            lines.pop_front();
        }
        lines.push_back(line);
    }
    Ok(Vec::from(lines).join("\n"))
}

/// What a command wrote on its standard output.
///
/// # Errors
/// It cannot be started, or does not succeed; its standard error is in the message.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("cannot run {}: {error}", words(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}\n{}", words(command), output.status, complaint.trim_end()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A command as a shell would show it.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words: Vec<_> = [program].into_iter().chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

/// How many lines of what a command complained of are told again.
const MAX_COMPLAINT: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_says_its_words_and_its_complaint() {
        let error = output(Command::new("/bin/sh").args(["-c", "echo oh >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "sh -c echo oh >&2; exit 3: exit status: 3\noh");
        let error = run(&mut Command::new("/nonexistent/tool")).unwrap_err();
        assert!(error.to_string().starts_with("cannot run tool: "), "{error}");
    }

    #[test]
    fn the_end_of_a_long_complaint_is_told_again() {
        let mut command = Command::new("/bin/sh");
        let error =
            tell(command.args(["-c", "for i in $(seq 40); do echo line $i >&2; done; exit 3"])).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("exit status: 3\nline 11\n") && error.ends_with("\nline 40"), "{error}");
        assert!(tell(&mut Command::new("/bin/true")).is_ok());
    }
}
