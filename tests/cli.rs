//! The command line: what is said, where, and that nothing is touched before all of it is understood.
#![forbid(unsafe_code)]

use nsntrace_testkit::{Finished, Lab, Plan, Residue};

#[test]
fn smoke_messages_word_for_word() {
    let lab = Lab::new(&Plan { ipv6: false, ..Plan::default() });
    let finished = lab.start(&["/bin/echo", "hello"]).wait().succeeded();
    assert_eq!(finished.text(), "hello\n", "standard output is the program's alone");
    let address =
        finished.stderr.lines().nth(1).and_then(|line| line.split(' ').next_back()).expect("line 2");
    let expected = format!(
        "Starting network trace of 'echo' on interface up0.\n\
         Your IP address in this trace is {address}\n\
         Use ctrl-c to end at any time.\n\
         \n\
         Finished capturing 0 packets.\n"
    );
    assert_eq!(finished.stderr, expected);
    assert!(address.starts_with("10.") && address.ends_with('.'), "{address}");
    assert!(lab.dir.join("nsntrace.pcap").exists(), "the default file is in the working directory");
}

#[test]
fn the_program_writes_between_our_lines() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace_sh("echo out; echo err >&2");
    assert_eq!((report.stdout().as_str(), report.program_stderr.as_str()), ("out\n", "err\n"));
    assert!(report.address6.is_some(), "and a line names the IPv6 address");
}

#[test]
fn quiet_says_nothing() {
    let lab = Lab::new(&Plan::default());
    for quiet in ["-q", "--quiet"] {
        let finished = lab.start(&[quiet, "sh", "-c", "echo out; echo err >&2"]).wait().succeeded();
        assert_eq!((finished.text().as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
    }
    let finished = lab.start(&["-q", "no-such-program"]).wait().ended_with(127);
    assert!(finished.stderr.starts_with("nsntrace: "), "errors are said all the same: {}", finished.stderr);
}

#[test]
fn smoke_help_goes_to_stdout() {
    let lab = Lab::new(&Plan::default());
    for help in ["-h", "--help"] {
        let finished = lab.start(&[help]).wait().succeeded();
        let text = finished.text();
        assert_eq!(finished.stderr, "");
        assert!(text.contains("nsntrace [options] program [arguments]"), "{text}");
        let missing: Vec<_> = OPTIONS.iter().filter(|option| !text.contains(**option)).collect();
        assert!(missing.is_empty(), "{missing:?} not in:\n{text}");
    }
}

const OPTIONS: [&str; 17] = [
    "-o",
    "--outfile",
    "-d",
    "--device",
    "-f",
    "--filter",
    "-u",
    "--user",
    "--use-public-dns",
    "--wait-all",
    "-q",
    "--quiet",
    "-h",
    "--help",
    "-V",
    "--version",
    "nsntrace.pcap",
];

#[test]
fn smoke_version_goes_to_stdout() {
    let lab = Lab::new(&Plan::default());
    for version in ["-V", "--version"] {
        let finished = lab.start(&[version]).wait().succeeded();
        let expected = format!("nsntrace {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((finished.text().as_str(), finished.stderr.as_str()), (expected.as_str(), ""));
    }
}

#[test]
fn parsing_stops_at_the_programs_name() {
    let lab = Lab::new(&Plan::default());
    let report = lab.trace(&["echo", "-o", "x", "--help", "-q", "--no-such-flag", "--", "-"]);
    assert_eq!(report.stdout(), "-o x --help -q --no-such-flag -- -\n");
    let report = lab.trace(&["--", "echo", "-d", "nowhere"]);
    assert_eq!(report.stdout(), "-d nowhere\n");
}

#[test]
fn short_and_long_options_in_every_spelling() {
    let lab = Lab::new(&Plan::default());
    for spelling in [&["-o", "a.pcap"][..], &["-oa.pcap"], &["--outfile", "a.pcap"], &["--outfile=a.pcap"]] {
        lab.start(&[spelling, &["-d", "up0", "true"]].concat()).wait().succeeded();
        std::fs::remove_file(lab.dir.join("a.pcap")).unwrap_or_else(|e| panic!("{spelling:?}: {e}"));
    }
}

/// What was typed wrong is told before anything is touched: no file, no change, status 125.
#[track_caller]
fn refused(lab: &Lab, arguments: &[&str], why: &[&str]) {
    let before = Residue::of(&lab.host);
    let finished = lab.start(arguments).wait().ended_with(125);
    check_error(&finished, why);
    assert_eq!(before, Residue::of(&lab.host), "{arguments:?}");
    assert!(!lab.dir.join("nsntrace.pcap").exists(), "{arguments:?} made a file");
}

/// One line, a second one with a hint at most, nothing on standard output, no trace started.
#[track_caller]
fn check_error(finished: &Finished, why: &[&str]) {
    let lines: Vec<_> = finished.stderr.lines().collect();
    let (first, others) = lines.split_first().expect("something is said");
    assert!(first.starts_with("nsntrace: ") && !first.ends_with('.'), "{first}");
    assert!(others.len() <= 1 && others.iter().all(|line| line.starts_with("hint: ")), "{}", finished.stderr);
    let missing: Vec<_> = why.iter().filter(|word| !finished.stderr.contains(**word)).collect();
    assert!(missing.is_empty(), "{missing:?} not in: {}", finished.stderr);
    assert_eq!(finished.text(), "");
}

#[test]
fn smoke_bad_command_lines_are_refused() {
    let lab = Lab::new(&Plan::default());
    refused(&lab, &[], &["program", "hint: "]);
    refused(&lab, &["-q"], &["program"]);
    refused(&lab, &["--no-such-flag", "true"], &["--no-such-flag"]);
    refused(&lab, &["-x", "true"], &["-x"]);
    refused(&lab, &["-o"], &["-o"]);
    refused(&lab, &["--wait-all=yes", "true"], &["wait-all"]);
    refused(&lab, &["-d", "nosuch0", "true"], &["nosuch0"]);
    refused(&lab, &["-d", "a-name-of-more-than-15-bytes", "true"], &["a-name-of-more-than-15-bytes"]);
    refused(&lab, &["-d", "", "true"], &[]);
    refused(&lab, &["-u", "no_such_user", "true"], &["no_such_user", "hint: ", "num"]);
    refused(&lab, &["-u", "", "true"], &[]);
    refused(&lab, &["-u", "4294967295", "true"], &["4294967295"]);
    refused(&lab, &["-u", "99999999999", "true"], &["99999999999"]);
    refused(&lab, &["-u", "1000:no_such_group", "true"], &["no_such_group"]);
}

#[test]
fn files_that_cannot_be_written_are_told_before_anything_is_touched() {
    let lab = Lab::new(&Plan::default());
    refused(
        &lab,
        &["-o", "no/such/dir/x.pcap", "true"],
        &["no/such/dir/x.pcap", "No such file or directory"],
    );
    refused(&lab, &["-o", ".", "true"], &["Is a directory"]);
    refused(&lab, &["-o", "", "true"], &[]);
}

#[test]
fn without_privilege_it_says_what_is_needed() {
    let lab = Lab::new(&Plan::default());
    lab.host.sh(&format!("chmod 777 {}", lab.dir.path().display()));
    let script = format!(
        "cd {}; cp {} ./nsntrace; setpriv --reuid=65534 --regid=65534 --clear-groups ./nsntrace --net nat true",
        lab.dir.path().display(),
        nsntrace_testkit::nsntrace().display()
    );
    let finished = lab.host.try_sh(&script).ended_with(125);
    check_error(&finished, &["hint: ", "root"]);
}
