//! The line of counts on a terminal: what a user sees, by the screen of tmux, and that no word of a program is lost for it.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nsntrace_testkit::{Lab, Plan, nsntrace, until};

/// A terminal on which a script runs.
struct Terminal<'a> {
    lab: &'a Lab,
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    /// Runs a script that has nsntrace in `$NT`, and keeps the screen when it has ended.
    fn run(lab: &'a Lab, script: &str) -> Self {
        let terminal = Self { lab, socket: lab.dir.join("tmux") };
        let script = format!("{script}\necho status=$?; exec sleep 1000");
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "90", "-y", "30", "sh", "-c", &script]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(arguments).current_dir(self.lab.dir.path());
        // Whoever runs us may be in a tmux of his own, or have no terminal at all.
        command.env_remove("TMUX").env("TERM", "xterm").env("NT", nsntrace()).stdin(Stdio::null());
        self.lab.host.spawn(command).wait().succeeded().text()
    }

    /// What it shows now, but for empty rows.
    fn screen(&self) -> Vec<String> {
        let rows = self.tmux(&["capture-pane", "-p"]);
        rows.lines().map(|row| row.trim_end().to_owned()).filter(|row| !row.is_empty()).collect()
    }

    /// Waits until it shows something.
    fn see(&self, what: &str, is_there: impl Fn(&[String]) -> bool) -> Vec<String> {
        until(what, Duration::from_mins(1), || Some(self.screen()).filter(|rows| is_there(rows)))
    }

    fn see_end(&self) -> Vec<String> {
        self.see("the end", |rows| rows.last().is_some_and(|row| row.starts_with("status=")))
    }

    /// Lets a script go on that waits for a file.
    fn make(&self, file: &str) {
        std::fs::write(self.lab.dir.join(file), "").expect("our directory");
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// The number of packets, if this is the line.
fn packets(row: &str) -> Option<u64> {
    let (packets, rest) = row.strip_prefix("nsntrace: ")?.split_once(" packets, ")?;
    let is_whole = rest.ends_with(" connections, 0 dropped") && !rest.starts_with("0 B");
    packets.parse().ok().filter(|_| is_whole)
}

fn shows_packets(rows: &[String]) -> bool {
    rows.last().is_some_and(|row| packets(row).is_some_and(|packets| packets > 0))
}

/// Waits in the shell for a file that the test makes.
const WAIT: &str = "await() { until test -e $1; do sleep 0.05; done; }; ping() { command ping -q -c3 -i0.01 198.51.100.2 >/dev/null; }";

/// Takes a connection and reads nothing.
const DEAF: &str = "import socket, time
s = socket.create_server(('', 999)); print('ready', flush=True)
c = s.accept(); time.sleep(1000)";

/// Says more than anybody takes, and ends: its connection is waited for.
const TALKER: &str = "import socket
s = socket.create_connection(('198.51.100.2', 999)); s.setblocking(False)
try:
    while True: s.send(bytes(65536))
except BlockingIOError: pass";

#[test]
fn a_silent_program_has_a_line_that_follows_and_goes() {
    let lab = Lab::new(&Plan::default());
    let mut deaf = Command::new("python3");
    deaf.args(["-c", DEAF]).stdin(Stdio::null());
    let deaf = lab.wan.spawn(deaf);
    until("it listens", Duration::from_mins(1), || (deaf.stdout() == b"ready\n").then_some(()));
    std::fs::write(lab.dir.join("talker"), TALKER).expect("our directory");
    let script = format!(
        "$NT --progress --linger 1s -o t.pcap sh -c '{WAIT}; ping; getent hosts www.lab.test >/dev/null; await one; ping; await two
         exec python3 talker'"
    );
    let terminal = Terminal::run(&lab, &script);
    let rows = terminal.see("the line", shows_packets);
    assert!(rows[rows.len() - 2].starts_with("Use ctrl-c"), "in a row of its own: {rows:#?}");
    let first = packets(&rows[rows.len() - 1]);
    assert!(
        !rows[rows.len() - 1].contains(" 0 connections"),
        "a question to a name server is one: {rows:#?}"
    );
    terminal.make("one");
    let is_more = |rows: &[String]| rows.last().is_some_and(|row| packets(row) > first);
    assert_eq!(terminal.see("more packets", is_more).len(), rows.len(), "in the same row");
    terminal.make("two");
    let end = terminal.see_end();
    assert!(end.iter().all(|row| packets(row).is_none()), "{end:#?}");
    assert!(end[rows.len() - 1].starts_with("Finished capturing "), "{end:#?}");
}

#[test]
fn no_word_of_a_program_that_prints_is_touched() {
    let lab = Lab::new(&Plan::default());
    let script = format!(
        "$NT --progress -o t.pcap sh -c '{WAIT}; ping; await one; printf half; await two; ping; ping; sleep 0.6; seq 3'"
    );
    let terminal = Terminal::run(&lab, &script);
    terminal.see("the line", shows_packets);
    terminal.make("one");
    let rows = terminal.see("what is printed", |rows| rows.last().is_some_and(|row| row == "half"));
    assert!(shows_packets(&rows[..rows.len() - 1]), "above it: {rows:#?}");
    terminal.make("two");
    let end = terminal.see_end();
    let printed = rows.len() - 1;
    assert_eq!(end[..printed], rows[..printed], "nothing is drawn any more");
    assert_eq!(end[printed..printed + 3], ["half1", "2", "3"], "{end:#?}");
    assert!(end[printed + 3].starts_with("Finished capturing "), "{end:#?}");
}

#[test]
fn what_is_typed_and_notes_of_ours_keep_their_place() {
    let lab = Lab::new(&Plan::default());
    let program = format!("sh -c '{WAIT}; ping; await one; ping; ping; ping; await two'");
    let terminal = Terminal::run(&lab, &format!("$NT --progress -c 12 -o t.pcap {program}"));
    terminal.see("the line", shows_packets);
    terminal.make("one");
    // The note takes the place of the line, which stands below it then.
    let note = |row: &String| row.starts_with("nsntrace: note: recorded 12 packets");
    let has_both = |rows: &[String]| rows.len() > 1 && note(&rows[rows.len() - 2]) && shows_packets(rows);
    let rows = terminal.see("the note", has_both);
    assert_eq!(rows.iter().filter(|row| packets(row).is_some()).count(), 1, "{rows:#?}");
    assert_eq!(packets(&rows[rows.len() - 1]), Some(12));
    terminal.tmux(&["send-keys", "typed", "Enter"]);
    let typed = terminal.see("what is typed", |rows| rows.last().is_some_and(|row| row == "typed"));
    terminal.make("two");
    let end = terminal.see_end();
    assert_eq!(end[..typed.len()], typed, "{end:#?}");
}

#[test]
fn who_does_not_ask_or_has_no_terminal_gets_no_line() {
    let lab = Lab::new(&Plan::default());
    let program = "sh -c 'sleep 1.5'";
    let script = format!(
        "$NT {program}; $NT -q --progress {program}; TERM=dumb $NT --progress {program}; $NT --progress {program} 2>err"
    );
    let run = format!("script -qec \"{}\" typescript >/dev/null", script.replace('$', "\\$"));
    Terminal::run(&lab, &run).see_end();
    let shown = std::fs::read_to_string(lab.dir.join("typescript")).expect("script(1) wrote it");
    let said = shown + &std::fs::read_to_string(lab.dir.join("err")).expect("the shell made it");
    assert!(said.matches("Finished capturing").count() == 3 && !said.contains('\x1b'), "{said}");
    assert!(!said.contains("connections"), "{said}");
}
