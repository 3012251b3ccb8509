//! nsntrace as an extcap, with a real tshark, which finds, starts and stops it by the code that Wireshark has for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nsntrace_testkit::{Lab, Plan, Process, Residue, nsntrace, until};

/// As patient as a busy machine asks for.
const PATIENCE: Duration = Duration::from_mins(1);
/// What makes a command run as an ordinary user.
const AS_NOBODY: [&str; 6] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// A host whose users have the directory of the test as their home.
fn lab() -> Lab {
    let lab = Lab::new(&Plan::default());
    fs::set_permissions(lab.dir.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    lab.dir.copy_program(nsntrace(), "nsntrace");
    lab
}

/// The same, and Wireshark knows of nsntrace.
fn installed() -> Lab {
    let lab = lab();
    let folder = lab.dir.join(".config/wireshark/extcap");
    run(
        &lab,
        &[&["./nsntrace"], [format!("--install-extcap={}", folder.display()).as_str()].as_slice()].concat(),
    );
    lab
}

fn spawn(lab: &Lab, words: &[&str]) -> Process {
    let mut command = Command::new("env");
    command.args(["-u", "XDG_CONFIG_HOME"]).env("HOME", lab.dir.path()).args(words);
    command.current_dir(lab.dir.path()).stdin(Stdio::null());
    lab.host.spawn(command)
}

#[track_caller]
fn run(lab: &Lab, words: &[&str]) -> String {
    spawn(lab, words).wait().succeeded().text()
}

/// `before tshark -i nsntrace` with these preferences of the interface.
fn start(lab: &Lab, before: &[&str], options: &[&str], fields: &[(&str, &str)]) -> Process {
    let preferences: Vec<_> =
        fields.iter().map(|(field, value)| format!("extcap.nsntrace.{field}:{value}")).collect();
    let preferences: Vec<_> = preferences.iter().flat_map(|preference| ["-o", preference]).collect();
    let tshark = ["tshark", "-n", "-l", "-i", "nsntrace"];
    spawn(lab, &[before, &tshark, options, &preferences].concat())
}

fn shown(process: &Process) -> String {
    String::from_utf8_lossy(&process.stdout()).into_owned()
}

#[test]
fn a_user_links_it_for_himself_and_root_for_all() {
    let lab = lab();
    let line = "nsntrace (nsntrace: run a program)";
    let program = lab.dir.join("nsntrace");
    let install = |before: &[&str], folder: &str| {
        let link = format!("{folder}/nsntrace");
        for _again in 0..2 {
            let said = run(&lab, &[before, &["./nsntrace", "--install-extcap"]].concat());
            assert_eq!(said, format!("{link} -> {}\n", program.display()));
        }
        assert_eq!(lab.host.list(folder), ["nsntrace"], "a link and nothing else");
    };
    assert!(!run(&lab, &["tshark", "-D"]).contains(line));
    let own = lab.dir.join(".config/wireshark/extcap");
    install(&AS_NOBODY, &own.display().to_string());
    assert!(run(&lab, &["tshark", "-D"]).contains(line));
    fs::remove_file(own.join("nsntrace")).expect("it was made");

    let folders = run(&lab, &["tshark", "-G", "folders"]);
    let system =
        folders.lines().find_map(|line| line.strip_prefix("Extcap path:")).expect("tshark tells").trim();
    lab.host.sh(&format!("mount -t tmpfs tmpfs {system}"));
    install(&[], system);
    assert!(run(&lab, &[AS_NOBODY.as_slice(), &["tshark", "-D"]].concat()).contains(line));
}

#[test]
fn what_is_no_link_is_left_alone() {
    let lab = lab();
    let finished = spawn(&lab, &["./nsntrace", "--install-extcap=."]).wait().ended_with(125);
    assert!(finished.stderr.contains("it is there already, and no link"), "{}", finished.stderr);
    let nobody =
        spawn(&lab, &["env", "PATH=/nowhere", "./nsntrace", "--install-extcap"]).wait().ended_with(125);
    assert!(nobody.stderr.contains("hint: install tshark, or name the folder"), "{}", nobody.stderr);
}

#[test]
fn smoke_packets_are_shown_while_the_program_runs_and_it_ends_with_the_program() {
    let lab = installed();
    let before = Residue::of(&lab.host);
    let script = "sh -c 'ping -q -c1 198.51.100.2; until test -e go-on; do sleep 0.05; done'";
    let process = start(&lab, &[], &["-f", "icmp"], &[("command", script), ("output", "words")]);
    until("a reply is shown", PATIENCE, || shown(&process).contains("Echo (ping) reply").then_some(()));
    fs::write(lab.dir.join("go-on"), "").expect("our directory");
    let finished = process.wait().succeeded();
    assert_eq!(finished.text().lines().count(), 2, "{}", finished.text());
    assert!(!finished.stderr.contains("Error by extcap"), "it has nothing to say: {}", finished.stderr);
    let words = fs::read_to_string(lab.dir.join("words")).expect("it was named");
    assert!(words.contains("1 packets transmitted, 1 received"), "{words}");
    before.assert_same(&lab.host);
}

#[test]
fn without_privilege_it_works_by_proxy() {
    let lab = installed();
    let file = lab.dir.join("nobody.pcapng");
    let options = ["-w", file.to_str().expect("it is text")];
    start(
        &lab,
        &AS_NOBODY,
        &options,
        &[("command", "curl -s http://198.51.100.2/whoami"), ("output", "words")],
    )
    .wait()
    .succeeded();
    assert_eq!(fs::read_to_string(lab.dir.join("words")).expect("it was named"), "198.51.100.1\n");
    let capture = nsntrace_testkit::CaptureFile::new(&file);
    assert_eq!(capture.count("http.response"), 1);
    assert_eq!(capture.field("http.request", "frame.interface_name"), ["eth0"]);
}

/// Notes that it was asked to end, as its child does, which does not end with it.
const STUBBORN: &str = "sh -c 'trap \"touch told; exit\" TERM; \
    sh -c \"trap \\\"touch child-told; exit\\\" TERM; while :; do sleep 0.05; done\" & \
    while :; do ping -q -c1 198.51.100.2; sleep 0.05; done'";

#[test]
fn a_capture_that_is_stopped_ends_all_that_was_started() {
    let lab = installed();
    let before = Residue::of(&lab.host);
    let process = start(&lab, &[], &["-f", "icmp"], &[("command", STUBBORN)]);
    until("a reply is shown", PATIENCE, || shown(&process).contains("Echo (ping) reply").then_some(()));
    process.signal(2);
    let finished = process.wait().succeeded();
    assert!(!finished.stderr.contains("Error by extcap"), "to be stopped is no failure: {}", finished.stderr);
    assert!(lab.dir.join("told").exists() && lab.dir.join("child-told").exists(), "each was asked");
    before.assert_same(&lab.host);
}

#[test]
fn a_capture_that_has_enough_ends_the_program_too() {
    let lab = installed();
    let before = Residue::of(&lab.host);
    let finished = start(&lab, &[], &["-c", "2", "-f", "icmp"], &[("command", STUBBORN)]).wait().succeeded();
    assert_eq!(finished.text().lines().count(), 2, "{}", finished.text());
    before.assert_same(&lab.host);
}

/// No word comes then, but the pipe has no reader any more.
#[test]
fn a_wireshark_that_is_killed_leaves_nothing() {
    let lab = installed();
    let before = Residue::of(&lab.host);
    let process = start(&lab, &[], &["-f", "icmp", "-w", "killed.pcapng"], &[("command", STUBBORN)]);
    until("something is recorded", PATIENCE, || {
        fs::metadata(lab.dir.join("killed.pcapng")).is_ok_and(|file| file.len() > 4000).then_some(())
    });
    process.signal(9);
    drop(process);
    // The FIFO and the file are Wireshark's.
    let left = before.left_after(PATIENCE, &lab.host, |_| false);
    assert!(left.is_empty(), "{left}");
    assert!(lab.dir.join("child-told").exists(), "each was asked");
}

#[test]
fn wireshark_is_told_why_there_is_no_capture() {
    let lab = installed();
    let told = |options: &[&str], fields: &[(&str, &str)], why: &str| {
        let finished = start(&lab, &[], options, fields).wait();
        assert!(
            finished.stderr.contains(&format!("Error by extcap pipe: nsntrace: {why}")),
            "{}",
            finished.stderr
        );
    };
    told(&[], &[], "no command to run");
    told(&[], &[("command", "no-such-program")], "cannot run 'no-such-program': No such file");
    told(&[], &[("command", "sh -c 'x")], "the command has a ' that nothing closes");
    told(&[], &[("command", "true"), ("user", "nobody-here")], "unknown user 'nobody-here'");
    told(&["-f", "tcp and"], &[("command", "true")], "bad filter: ");
    told(&[], &[("command", "sh -c 'exit 3'")], "'sh' ended with status 3");
}

#[test]
fn a_filter_is_judged_before() {
    let lab = lab();
    let judged = |filter: &str| {
        run(&lab, &["./nsntrace", "--extcap-capture-filter", filter, "--extcap-interface", "nsntrace"])
    };
    assert_eq!(judged("tcp port 80"), "");
    assert_eq!(judged("tcp port").lines().count(), 1);
    assert!(judged("tcp port").starts_with("bad filter: "));
}
