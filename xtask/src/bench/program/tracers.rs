//! Who traces: nobody, nsntrace in its forms, peers that record beside the program, and the C tool.

use std::fs;
use std::io::{self, BufRead as _, BufReader, PipeReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::by_hand::{self, ByHand, Offload};
use super::told::{self, Told};
use crate::process::{self, Result};
use crate::tools;

/// One way to trace a program.
#[derive(Debug)]
pub(super) struct Tracer {
    pub(super) name: &'static str,
    pub(super) keeps: Keeps,
    pub(super) offload: Offload,
    way: Way,
}

/// What is kept of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    Nothing,
    /// As the C tool does, 8192 bytes at most, or less.
    Head,
    Whole,
}

#[derive(Debug)]
enum Way {
    Untraced,
    /// nsntrace with options, into a file or a pipe.
    Ours(PathBuf, &'static [&'static str], Output),
    /// A program that records until it is interrupted, its words, and those that it says when it records.
    Beside(PathBuf, &'static [&'static str], &'static str),
    C,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    File,
    Pipe,
}

impl Tracer {
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.way, Way::Ours(..))
    }

    /// Whether the shares of others are in parts of this one.
    pub(super) fn is_untraced(&self) -> bool {
        matches!(self.way, Way::Untraced)
    }

    /// Runs a command to its end, traced, with `file` for the packets. `None` if there was nobody to tell anything.
    ///
    /// # Errors
    /// The command or the tracer fails; its words are in the message.
    pub(super) fn run(&self, words: &[String], file: &Path) -> Result<Option<Told>> {
        match &self.way {
            Way::Untraced => {
                let _way_out = ByHand::make(self.offload)?;
                process::output(by_hand::inside().args(words))?;
                Ok(None)
            }
            Way::Ours(program, options, Output::File) => {
                let mut command = Command::new(program);
                command.arg("-o").arg(file).args(*options).args(words);
                Ok(Some(told::parse(&complaints(&mut command)?)))
            }
            Way::Ours(program, options, Output::Pipe) => {
                let mut command = Command::new(program);
                command.args(["-o", "-"]).args(*options).args(words);
                Ok(Some(told::parse(&read_to_nowhere(command)?)))
            }
            Way::Beside(program, arguments, ready) => {
                let _way_out = ByHand::make(self.offload)?;
                let tool = Beside::start(program, arguments, ready, file)?;
                process::output(by_hand::inside().args(words))?;
                // For those that show a frame only when its block is full or old.
                thread::sleep(TAIL);
                Ok(Some(told::parse(&tool.stop()?)))
            }
            Way::C => {
                let mut command = Command::new("/bin/sh");
                command.args(["-euc", C_SCRIPT]).arg(file).args(words);
                Ok(Some(told::parse(&complaints(&mut command)?)))
            }
        }
    }

    /// Whether there is a file afterwards.
    pub(super) fn has_file(&self) -> bool {
        !matches!(self.way, Way::Untraced | Way::Ours(_, _, Output::Pipe))
    }
}

/// Those that are here, and for each other one why it is not.
///
/// # Errors
/// nsntrace does not say which options it has.
pub(super) fn all(nsntrace: &Path) -> Result<(Vec<Tracer>, Vec<String>)> {
    let help = process::output(Command::new(nsntrace).arg("--help"))?;
    let untraced = |name, offload| Tracer { name, keeps: Keeps::Nothing, offload, way: Way::Untraced };
    let mut here = vec![untraced("untraced", Offload::Full), untraced("untraced, no offload", Offload::Off)];
    let mut missing = Vec::new();
    for &(name, options, output, keeps, offload) in OURS {
        let lacks = |option: &&&str| option.starts_with("--") && !help.contains(**option);
        if let Some(option) = options.iter().find(lacks) {
            missing.push(format!("{name}: nsntrace has no {option} yet"));
            continue;
        }
        let way = Way::Ours(nsntrace.to_owned(), options, output);
        here.push(Tracer { name, keeps, offload, way });
    }
    for &(name, program, arguments, ready, keeps) in PEERS {
        match tools::find(program) {
            Some(path) => {
                let way = Way::Beside(path, arguments, ready);
                here.push(Tracer { name, keeps, offload: Offload::Full, way });
            }
            None => missing.push(format!("{name}: not installed")),
        }
    }
    if tools::find(C_TOOL).is_some() {
        here.push(Tracer { name: C_NAME, keeps: Keeps::Head, offload: Offload::Full, way: Way::C });
    } else {
        missing.push(format!("{C_NAME}: not installed"));
    }
    Ok((here, missing))
}

/// Runs a command to its end, and gives what it wrote on its standard error.
fn complaints(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{}\n{}", output.status, text.trim()).into()) }
}

/// The same for a command whose standard output is read as fast as it comes, for nothing.
fn read_to_nowhere(mut command: Command) -> Result<String> {
    let (reader, writer) = io::pipe()?;
    let mut cat = Command::new("cat").stdin(reader).stdout(Stdio::null()).spawn()?;
    let child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn();
    // It holds our copy of the writing end, and would keep cat waiting.
    drop(command);
    let output = child.and_then(Child::wait_with_output);
    cat.wait()?;
    let output = output?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{}\n{}", output.status, text.trim()).into()) }
}

/// A tool that records on the inner end of the way out.
struct Beside {
    child: Child,
    output: BufReader<PipeReader>,
}

impl Beside {
    /// Starts it, and waits until it says that it records.
    fn start(program: &Path, arguments: &[&str], ready: &str, file: &Path) -> Result<Self> {
        let (reader, writer) = io::pipe()?;
        let mut command = by_hand::inside();
        command.arg(program).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        command
            .args(arguments.iter().map(|&word| if word == FILE { file.as_os_str() } else { word.as_ref() }));
        let child = command.spawn()?;
        drop(command);
        // Dropped on the way out, it ends the child.
        let mut tool = Self { child, output: BufReader::new(reader) };
        let mut said = String::new();
        while !said.contains(ready) {
            if tool.output.read_line(&mut said)? == 0 {
                return Err(format!("it does not record: {}", said.trim()).into());
            }
        }
        Ok(tool)
    }

    /// Interrupts it, and gives what it says then.
    fn stop(mut self) -> Result<String> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGINT)?;
        let mut said = Vec::new();
        self.output.read_to_end(&mut said)?;
        self.child.wait()?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Ended long ago, where all went well.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Removes the file of the last run, so that the disk has room for the next one.
///
/// # Errors
/// It is there and stays.
pub(in crate::bench) fn remove(file: &Path) -> Result {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

pub(super) const WHOLE: &str = "nsntrace";
pub(super) const HEADS: &str = "nsntrace -s 128";

/// Ours: name, options, where to, what is kept, and what the veth pair is left without. An option in its long form is
/// looked for in the help text first.
const OURS: &[(&str, &[&str], Output, Keeps, Offload)] = &[
    (WHOLE, &[], Output::File, Keeps::Whole, Offload::Full),
    (HEADS, &["--snaplen", "128"], Output::File, Keeps::Head, Offload::Full),
    ("nsntrace -o - | cat >/dev/null", &[], Output::Pipe, Keeps::Whole, Offload::Full),
    ("nsntrace --no-offload", &["--no-offload"], Output::File, Keeps::Whole, Offload::Off),
];

const FILE: &str = "FILE";
/// Name, program, its words, what it says when it records, what is kept. Rings of 16 MiB, as nsntrace has.
const PEERS: &[(&str, &str, &[&str], &str, Keeps)] = &[
    (
        "tcpdump -B 16384",
        "tcpdump",
        &["-i", "eth0", "-n", "-Z", "root", "-B", "16384", "-w", FILE],
        "listening",
        Keeps::Whole,
    ),
    ("dumpcap -B 16", "dumpcap", &["-q", "-P", "-i", "eth0", "-B", "16", "-w", FILE], "File: ", Keeps::Whole),
    (
        "netsniff-ng, 16 MiB",
        "netsniff-ng",
        &["--in", "eth0", "--out", FILE, "--silent", "--no-promisc", "--ring-size", "16MiB"],
        "Running!",
        Keeps::Whole,
    ),
    (
        "tcpdump -B 16384 -s 128",
        "tcpdump",
        &["-i", "eth0", "-n", "-Z", "root", "-B", "16384", "-s", "128", "-w", FILE],
        "listening",
        Keeps::Head,
    ),
];

const C_TOOL: &str = "/usr/bin/nsntrace";
const C_NAME: &str = "nsntrace of Debian (C), 8192 B";
/// It demands a switch that the others must not find on, and leaves empty tables that would slow them down.
const C_SCRIPT: &str = "
trap 'sysctl -q -w net.ipv4.ip_forward=0; nft delete table ip nat; nft delete table ip filter' EXIT
sysctl -q -w net.ipv4.ip_forward=1
/usr/bin/nsntrace -o \"$0\" \"$@\" >&2
";

/// Longer than a block of any of the rings waits to be full.
const TAIL: Duration = Duration::from_millis(350);

#[cfg(test)]
mod tests {
    use super::*;

    /// An nsntrace whose help text has one of the options, and that writes its words instead of packets.
    fn fake() -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(format!("nsntrace-fake-{}", std::process::id()));
        let script = "#!/bin/sh\n[ $1 != --help ] || exec echo '  -s, --snaplen BYTES'\n\
                      echo \"$@\"; echo 'Finished capturing 7 packets.' >&2; [ $3 != fail ]\n";
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn an_option_that_is_not_there_yet_is_told() {
        let fake = fake();
        let (here, missing) = all(&fake).unwrap();
        assert!(here.iter().any(|one| one.name == HEADS));
        assert!(!here.iter().any(|one| one.name == "nsntrace --no-offload"));
        let words = "nsntrace --no-offload: nsntrace has no --no-offload yet";
        assert!(missing.iter().any(|one| one == words), "{missing:?}");
        for output in ["nsntrace", "nsntrace -o - | cat >/dev/null"] {
            let tracer = here.iter().find(|one| one.name == output).unwrap();
            let run = |word: &str| tracer.run(&[word.to_owned()], Path::new("/f"));
            assert_eq!(run("true").unwrap(), Some(Told { captured: 7, dropped: 0 }));
            assert!(run("fail").unwrap_err().to_string().contains("exit status: 1"));
        }
        fs::remove_file(fake).unwrap();
    }
}
