//! `--wireshark`. A script stands in for the window; what reads the pipe is what Wireshark has for it, a real dumpcap that is a child of a process that stays.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nsntrace_testkit::{Lab, Plan, Process, Residue, nsntrace, until};

/// As patient as a busy machine asks for.
const PATIENCE: Duration = Duration::from_mins(1);

/// A host on which `wireshark` is `script`, run in the directory of the test.
fn lab(script: &str) -> Lab {
    let lab = Lab::new(&Plan::default());
    fs::set_permissions(lab.dir.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    lab.dir.copy_program(nsntrace(), "nsntrace");
    let stand_in = lab.dir.join("wireshark");
    fs::write(&stand_in, format!("#!/bin/sh\n{script}\n")).expect("our directory");
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).expect("it is ours");
    lab
}

/// `before nsntrace --wireshark program...` with the stand-in first on PATH.
fn start(lab: &Lab, before: &[&str], program: &[&str]) -> Process {
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", lab.dir.path().display());
    let mut command = Command::new("env");
    command
        .env("PATH", path)
        .args(["-u", "SUDO_UID", "-u", "SUDO_GID", "-u", "XDG_RUNTIME_DIR"])
        .args(before);
    command.arg(lab.dir.join("nsntrace")).arg("--wireshark").args(program);
    command.current_dir(lab.dir.path()).stdin(Stdio::null());
    lab.host.spawn(command)
}

fn has(lab: &Lab, name: &str) -> bool {
    lab.dir.join(name).exists()
}

#[track_caller]
fn text(lab: &Lab, name: &str) -> String {
    fs::read_to_string(lab.dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Shows packets until there are no more, and stays as a window does.
const WINDOW: &str = "tshark -n -l -i \"$3\" > shown 2> said; touch over; exec sleep 1000";

#[test]
fn smoke_packets_are_shown_while_the_program_runs_and_the_window_stays() {
    let lab = lab(WINDOW);
    let before = Residue::of(&lab.host);
    let script = "ping -q -c1 198.51.100.2 >/dev/null; until test -e go-on; do sleep 0.05; done";
    let process = start(&lab, &[], &["sh", "-c", script]);
    until("a reply is shown", PATIENCE, || {
        fs::read_to_string(lab.dir.join("shown"))
            .is_ok_and(|text| text.contains("Echo (ping) reply"))
            .then_some(())
    });
    fs::write(lab.dir.join("go-on"), "").expect("our directory");
    let finished = process.wait().succeeded();
    assert!(finished.stderr.contains("\nFinished capturing "), "{}", finished.stderr);
    until("the reader has come to the end", PATIENCE, || has(&lab, "over").then_some(()));
    assert!(!has(&lab, "nsntrace.pcap"), "no file was asked for");
    assert_eq!(text(&lab, "shown").lines().filter(|line| line.contains("ICMP")).count(), 2);
    before.assert_same_but(&lab.host, |line| line.contains(" sleep 1000"));
    assert_eq!(lab.host.sh("ps -o args= -C sleep").trim(), "sleep 1000", "it is there");
}

/// What a window can find out about itself.
const LOOK_AROUND: &str = r#"{
    echo "ids $(id -u) $(id -g) $(id -G)"; echo "home $HOME $USER display $DISPLAY $XAUTHORITY $XDG_RUNTIME_DIR"
    echo "net $(readlink /proc/$$/ns/net) user $(readlink /proc/$$/ns/user)"
    grep -E '^(CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs|Seccomp|SigBlk):' /proc/$$/status | tr -s '[:space:]' ' '; echo
    echo "session $(ps -o sid= -p $$ | tr -d ' ') $$"
} > around
"#;

fn look_around(before: &[&str]) -> (Lab, String) {
    let lab = lab(&format!("{LOOK_AROUND}{WINDOW}"));
    // As logind makes it; sudo does not pass its name on.
    lab.host.sh("mkdir -p /run/user/65534");
    let script = "readlink /proc/self/ns/net > traced";
    start(&lab, before, &["sh", "-c", script]).wait().succeeded();
    let around = text(&lab, "around");
    let net = format!("net {} user {}", link(&lab, "net"), link(&lab, "user"));
    assert!(around.contains(&net), "it is where we were started: {net}\n{around}");
    assert!(!around.contains(text(&lab, "traced").trim()), "and not where the program is:\n{around}");
    (lab, around)
}

fn link(lab: &Lab, namespace: &str) -> String {
    lab.host.sh(&format!("readlink /proc/1/ns/{namespace}")).trim().to_owned()
}

#[test]
fn by_sudo_it_is_the_users() {
    let sudo = ["SUDO_UID=65534", "SUDO_GID=65534", "DISPLAY=:99", "XAUTHORITY=/there"];
    // A descriptor of the user's, which the program gets.
    let shell = ["sh", "-c", "exec 9</etc/hostname; exec \"$@\"", "sh"];
    let (lab, around) = look_around(&[sudo.as_slice(), &shell].concat());
    let lines: Vec<_> = around.lines().collect();
    assert_eq!(lines[0], "ids 65534 65534 65534");
    assert_eq!(lines[1], "home /nonexistent nobody display :99 /there /run/user/65534");
    let none = "0000000000000000";
    let rights = format!(
        "SigBlk: {none} CapInh: {none} CapPrm: {none} CapEff: {none} CapAmb: {none} NoNewPrivs: 0 Seccomp: 0 "
    );
    assert_eq!(lines[3], rights);
    let session: Vec<_> = lines[4].split(' ').collect();
    assert_eq!(session[1], session[2], "ctrl-c and the end of the terminal pass it by: {}", lines[4]);
    let open = open_in_window(&lab);
    assert_eq!(open[..3], ["0 /dev/null", "1 /memfd:wireshark (deleted)", "2 /memfd:wireshark (deleted)"]);
    // Neither end of the pipe, but what stands for it.
    assert_eq!(open.len(), 4, "{open:?}");
    assert!(open[3].contains("/nsntrace-") && open[3].ends_with(" (deleted)"), "{open:?}");
    assert_eq!(lab.host.sh("ls -l /proc/$(pgrep -x sleep)/fd | tail -1 | cut -c1-10").trim(), "l---------");
}

/// What it has open when the trace is over.
#[track_caller]
fn open_in_window(lab: &Lab) -> Vec<String> {
    let list = "for fd in /proc/$(pgrep -x sleep)/fd/*; do echo ${fd##*/} $(readlink $fd); done";
    until("the window has seen the end", PATIENCE, || {
        let listed = lab.host.try_sh(list);
        let open: Vec<_> = listed.text().lines().map(str::to_owned).collect();
        (listed.status.success() && open.len() > 1).then_some(open)
    })
}

#[test]
fn without_privilege_it_is_in_no_namespace_of_ours() {
    let (_lab, around) = look_around(&[
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--inh-caps=-all",
    ]);
    assert!(around.starts_with("ids 65534 65534 65534\n"), "{around}");
    assert!(around.contains("CapEff: 0000000000000000 "), "{around}");
}

#[test]
fn a_capture_that_is_stopped_in_the_window_leaves_the_program_alone() {
    let lab = lab("tshark -n -l -c 2 -i \"$3\" > shown 2> said; touch over; exec sleep 1000");
    let script =
        "ping -q -c1 198.51.100.2; until test -e over; do sleep 0.05; done; ping -q -c2 -i0.1 198.51.100.2";
    let finished = start(&lab, &[], &["-f", "icmp", "sh", "-c", script]).wait().succeeded();
    let text = finished.text();
    assert!(text.contains("2 packets transmitted, 2 received"), "the program went on: {text}");
    let gone = "4 packets were captured but not written: the reader of the capture is gone.\n";
    assert!(finished.stderr.contains("\nFinished capturing 2 packets.\n"), "{}", finished.stderr);
    assert!(finished.stderr.contains(gone), "{}", finished.stderr);
}

#[test]
fn a_window_that_cannot_be_opened_is_no_trace() {
    let lab = lab("echo 'cannot open :0' >&2; exit 1");
    let before = Residue::of(&lab.host);
    let finished =
        start(&lab, &["-u", "DISPLAY", "-u", "WAYLAND_DISPLAY"], &["touch", "ran"]).wait().ended_with(125);
    let said = "nsntrace: note: Wireshark is opening; the program starts when it captures\n\
                nsntrace: Wireshark ended before it had read a packet\n  cannot open :0\nhint: there is no display here";
    assert!(finished.stderr.starts_with(said), "{}", finished.stderr);
    assert!(!has(&lab, "ran"));
    before.assert_same(&lab.host);
}

#[test]
fn without_wireshark_nothing_is_begun() {
    let lab = lab("exit 0");
    fs::remove_file(lab.dir.join("wireshark")).expect("it was made");
    let nowhere = format!("PATH={}", lab.dir.path().display());
    let finished = start(&lab, &[&nowhere], &["/bin/touch", "ran"]).wait().ended_with(125);
    let said = "nsntrace: cannot run 'wireshark': No such file or directory (os error 2)\nhint: install Wireshark, or ";
    assert!(finished.stderr.starts_with(said), "{}", finished.stderr);
    assert!(!has(&lab, "ran"));
}

#[test]
fn whoever_does_not_want_to_wait_for_the_window_need_not() {
    let lab = lab("touch opened; exec sleep 1000");
    let before = Residue::of(&lab.host);
    let process = start(&lab, &[], &["touch", "ran"]);
    until("it is about to open", PATIENCE, || has(&lab, "opened").then_some(()));
    process.signal(2);
    process.wait().ended_with(130);
    assert!(!has(&lab, "ran"));
    before.assert_same(&lab.host);
}
