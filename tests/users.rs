//! `-u`: who the program is, found without a C library.
#![forbid(unsafe_code)]

use nsntrace_testkit::{Lab, Plan, Report};

/// Users and groups of a machine of our own.
const USERS: &str = "
echo 'tess:x:4711:4712:Tess:/home/tess:/bin/bash' >> /etc/passwd
echo 'twin:x:4713:4712::/:' >> /etc/passwd
echo '4714:x:4715:4712:a name of digits:/srv:/bin/sh' >> /etc/passwd
echo 'tess:x:4712:' >> /etc/group
echo 'wheel:x:4800:root,tess' >> /etc/group
echo 'other:x:4801:twin,testing' >> /etc/group
echo 'audio2:x:4802:tess' >> /etc/group
";

fn lab() -> Lab {
    let lab = Lab::new(&Plan { private_etc: true, ..Plan::default() });
    lab.host.sh(USERS);
    lab
}

#[track_caller]
fn check(lab: &Lab, user: &str, script: &str, expected: &str) {
    let report = lab.trace_with(&["-u", user], &["sh", "-c", script]);
    assert_eq!(report.stdout(), expected, "-u {user}: {script}");
}

#[test]
fn smoke_nobody_by_name() {
    let lab = Lab::new(&Plan::default());
    let report =
        lab.trace_with(&["-u", "nobody"], &["sh", "-c", "id -un; curl -s http://198.51.100.2/whoami"]);
    assert_eq!(report.stdout(), "nobody\n198.51.100.1\n");
    assert!(report.file.count("http") >= 2);
}

#[test]
fn a_name_brings_all_its_groups() {
    let lab = lab();
    check(
        &lab,
        "tess",
        "id -u; id -g; id -G | tr ' ' '\\n' | sort -n | xargs",
        "4711\n4712\n4712 4800 4802\n",
    );
    check(&lab, "twin", "id -u; id -G | tr ' ' '\\n' | sort -n | xargs", "4713\n4712 4801\n");
}

#[test]
fn all_four_ids_are_set_and_no_capability_is_left() {
    let lab = lab();
    let script = "grep -E '^(Uid|Gid|CapPrm|CapEff)' /proc/self/status | tr -s '\\t' ' '";
    let expected = "Uid: 4711 4711 4711 4711\nGid: 4712 4712 4712 4712\n\
                    CapPrm: 0000000000000000\nCapEff: 0000000000000000\n";
    check(&lab, "tess", script, expected);
}

#[test]
fn a_number_of_an_entry_is_the_same_as_its_name() {
    let lab = lab();
    check(
        &lab,
        "4711",
        "id -un; id -g; echo $HOME $USER; id -G | tr ' ' '\\n' | sort -n | xargs",
        "tess\n4712\n/home/tess tess\n4712 4800 4802\n",
    );
}

#[test]
fn a_number_without_an_entry_is_taken_as_it_is() {
    let lab = lab();
    let report = lab.trace_with(&["--user", "5999"], &["sh", "-c", "id -u; id -g; id -G"]);
    let text = report.stdout();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "5999");
    assert!(!lines[2].split(' ').any(|group| group == "0"), "root's group stays behind: {text}");
    assert_eq!(lines[1], lines[2], "and no group of root's");
}

#[test]
fn a_group_after_a_colon() {
    let lab = lab();
    check(&lab, "5999:6001", "id -u; id -g; id -G", "5999\n6001\n6001\n");
    check(&lab, "4711:6001", "id -u; id -g; id -G | grep -cw 0 || true", "4711\n6001\n0\n");
}

#[test]
fn the_environment_says_who() {
    let lab = lab();
    check(&lab, "tess", "echo $HOME $USER $LOGNAME $SHELL", "/home/tess tess tess /bin/bash\n");
    check(&lab, "twin", "echo $HOME $USER $LOGNAME $SHELL", "/ twin twin /bin/sh\n");
    let mut command = lab.nsntrace(&["-q", "-u", "tess", "sh", "-c", "echo $KEPT $HOME"]);
    command.env("KEPT", "kept").env("HOME", "/root");
    assert_eq!(lab.host.spawn(command).wait().succeeded().text(), "kept /home/tess\n");
}

#[test]
fn without_u_the_environment_is_untouched() {
    let lab = Lab::new(&Plan::default());
    let mut command = lab.nsntrace(&["-q", "sh", "-c", "echo $HOME $USER $SHELL"]);
    command.env("HOME", "/h").env("USER", "u").env("SHELL", "/s");
    assert_eq!(lab.host.spawn(command).wait().succeeded().text(), "/h u /s\n");
}

#[test]
fn a_user_may_ping_and_resolve() {
    let lab = lab();
    let script = "ping -q -c1 198.51.100.2 >/dev/null && getent hosts www.lab.test >/dev/null && echo both";
    check(&lab, "tess", script, "both\n");
}

#[test]
fn signals_of_root_reach_a_program_of_somebody_else() {
    let lab = lab();
    let mut process = lab.start(&["-o", "trace.pcap", "-u", "tess", "sleep", "60"]);
    process.await_stderr("ctrl-c");
    process.signal(15);
    Report::new(process.wait().ended_with(143), &lab.dir.join("trace.pcap"));
}

#[test]
fn broken_lines_in_passwd_do_no_harm() {
    let lab = lab();
    lab.host
        .sh("printf 'broken\\n:::\\n\\nmore:x:notanumber:1::/:/bin/sh\\n\\377\\376:x:1:1::/:\\n' > /etc/p
        cat /etc/passwd >> /etc/p; cat /etc/p > /etc/passwd");
    check(&lab, "tess", "id -u", "4711\n");
    let finished = lab.start(&["-u", "more", "true"]).wait().ended_with(125);
    assert!(finished.stderr.starts_with("nsntrace: "), "{}", finished.stderr);
}
