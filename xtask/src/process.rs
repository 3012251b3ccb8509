//! Running commands, and the one error type of tasks: words for whoever typed the task.

use std::error::Error;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// What a task comes to.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The cargo that runs us, in the folder `root`.
pub(crate) fn cargo<S: AsRef<OsStr>>(root: &Path, arguments: impl IntoIterator<Item = S>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(arguments);
    command
}

/// Runs a command on our own output to its end.
///
/// # Errors
/// It cannot be started, or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| format!("cannot run {}: {error}", words(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", words(command)).into()) }
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
}
