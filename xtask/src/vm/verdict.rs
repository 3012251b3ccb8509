//! What a guest's traces prove, found out by others than us.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::lacks;
use super::packages::System;
use crate::process::{self, Result};

/// Takes the traces out of the console's text and judges them. What was proven, in one line.
///
/// # Errors
/// Says what is wrong.
pub(super) fn judge(system: &System, folder: &Path, console: &Path, runs: u32) -> Result<String> {
    let results = folder.join("results");
    unpack(&String::from_utf8_lossy(&fs::read(console)?), folder, &results)?;
    let read =
        |name: &str| fs::read_to_string(results.join(name)).map_err(|_none| format!("there is no {name}"));
    check_statuses(&read("status")?, runs, |name| read(&format!("{name}.err")).unwrap_or_default())?;
    let lacks = lacks::check(system, &results, &read("lacks")?)?;
    check_doctor(&results.join("doctor.json"), &diagnosis(system))?;
    check_doctor(&results.join("doctor-lacks.json"), BARE_DIAGNOSIS)?;
    check_refusal(&read("refused")?, &read("refused.err")?)?;
    check_http(&results, &read("http.out")?)?;
    let seen = bursts(&results, runs)?;
    check_bursts(&seen, runs)?;
    Ok(format!(
        "{lacks} options named that were lacking; a program without network, wget, and {runs} bursts of {PACKETS} packets traced, none missing"
    ))
}

/// The console shows a tar archive, compressed and in base64, between two lines.
fn unpack(console: &str, folder: &Path, results: &Path) -> Result {
    let text = between(console, BEGIN, END);
    let text = text.ok_or_else(|| format!("the guest did not come to its end:\n{}", last_lines(console)))?;
    let encoded = folder.join("results.base64");
    fs::write(&encoded, text)?;
    let archive = folder.join("results.tar.gz");
    let decoded = Command::new("base64").args(["--decode", "--ignore-garbage"]).arg(&encoded).output()?;
    fs::write(&archive, decoded.stdout)?;
    let _ = fs::remove_dir_all(results);
    fs::create_dir_all(results)?;
    process::run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(results))
}

/// What a guest said last, for whoever has only this log.
pub(super) fn last_lines(console: &str) -> String {
    let lines: Vec<_> = console.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    let (inside, _) = rest.split_once(end)?;
    Some(inside)
}

/// Lines of `NAME STATUS`, one for each trace.
fn check_statuses(text: &str, runs: u32, words_of: impl Fn(&str) -> String) -> Result {
    let failed = text.lines().filter_map(|line| line.split_once(' ')).find(|(_, status)| *status != "0");
    if let Some((name, status)) = failed {
        return Err(format!("trace {name} ended with {status}: {}", words_of(name).trim_end()).into());
    }
    let (count, expected) = (text.lines().count(), usize::try_from(runs)? + 2);
    if count == expected { Ok(()) } else { Err(format!("{count} traces were made, not {expected}").into()) }
}

/// What the doctor must find in a guest that has the modules of NAT, and not those of queues and of the proxy.
fn diagnosis(system: &System) -> String {
    let owner = if system.is_before(5, 12) { " table-owner" } else { "" };
    format!("nat route-ipv6 name-servers ping-sockets packet-queue{owner} tproxy")
}

/// What `--net auto` takes and what the guest has not must have been found, and nothing more.
fn check_doctor(report: &Path, expected: &str) -> Result {
    let filter = "[.auto // \"none\", (.checks[] | select(.result == \"missing\") | .name)] | join(\" \")";
    let found = process::output(Command::new("jq").args(["-r", filter]).arg(report))?;
    if found.trim() == expected {
        Ok(())
    } else {
        Err(format!("the doctor found `{}`, not `{expected}`", found.trim()).into())
    }
}

/// What a user is told whom the kernel gives no user namespace.
fn check_refusal(status: &str, words: &str) -> Result {
    if status == "125\n" && words == REFUSAL {
        Ok(())
    } else {
        Err(format!("without user namespaces a user's trace ended with {}: {words}", status.trim()).into())
    }
}

/// What wget printed, and what tshark sees of the conversation.
fn check_http(results: &Path, page: &str) -> Result {
    if page != PAGE {
        return Err(format!("wget printed {page:?}").into());
    }
    let fields = ["http.request.method", "http.response.code"];
    let seen = tshark(&results.join("http.pcap"), "http", &fields)?;
    let expected = "GET\t\n\t200\n";
    if seen == expected {
        Ok(())
    } else {
        Err(format!("tshark saw {seen:?} of HTTP, not {expected:?}").into())
    }
}

/// The payloads of all bursts, in the order of the traces.
fn bursts(results: &Path, runs: u32) -> Result<Vec<String>> {
    let traces = (0..runs).map(|run| fs::read(results.join(format!("burst-{run}.pcap"))));
    let joined = join(&traces.collect::<std::io::Result<Vec<_>>>()?)?;
    let file = results.join("bursts.pcap");
    fs::write(&file, joined)?;
    // What ICMP quotes is not what was sent.
    let payloads = tshark(&file, &format!("udp.dstport == {PORT} && !icmp"), &["udp.payload"])?;
    payloads.lines().map(decode).collect()
}

/// Packets of several pcap files as one file: one tshark is faster than a hundred.
fn join(files: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut joined = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let (header, records) = file.split_at_checked(PCAP_HEADER).ok_or("a trace has no header")?;
        if index == 0 {
            joined.extend(header);
        } else if joined[..PCAP_HEADER] != *header {
            return Err(format!("the header of trace {index} is another").into());
        }
        joined.extend(records);
    }
    Ok(joined)
}

/// Text out of hexadecimal digits.
fn decode(hex: &str) -> Result<String> {
    let byte = |at: usize| hex.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    Ok(String::from_utf8(bytes.ok_or_else(|| format!("tshark printed {hex:?}"))?)?)
}

/// Every packet of every burst, once, in the order of sending.
fn check_bursts(seen: &[String], runs: u32) -> Result {
    let expected =
        (0..runs).flat_map(|run| (0..PACKETS).map(move |packet| format!("run {run} packet {packet}")));
    let expected: Vec<_> = expected.collect();
    if seen == expected {
        return Ok(());
    }
    let missing: Vec<_> =
        expected.iter().filter(|packet| !seen.contains(packet)).map(String::as_str).collect();
    let (sent, got) = (expected.len(), seen.len());
    let which = match missing.as_slice() {
        [] => "in another order, or some twice".to_owned(),
        [some @ .., _] if some.len() >= SHOWN => format!("missing are {} and more", some[..SHOWN].join(", ")),
        all => format!("missing are {}", all.join(", ")),
    };
    Err(format!("{sent} packets were sent, {got} are in the traces: {which}").into())
}

fn tshark(file: &Path, filter: &str, fields: &[&str]) -> Result<String> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(file).args(["-Y", filter, "-T", "fields"]);
    process::output(tshark.args(fields.iter().flat_map(|field| ["-e", field])))
}

/// As vm/burst.rs sends them.
const PACKETS: u32 = 20;
const PORT: u16 = 40_000;
/// Of a guest whose modules are hidden, and that has no route. What takes nf_tables is not tried then.
const BARE_DIAGNOSIS: &str = "none route-ipv4 route-ipv6 name-servers ping-sockets veth nf-tables";
/// As vm/init.sh writes them.
const REFUSAL: &str = "nsntrace: cannot make a user namespace, since kernel.unprivileged_userns_clone is 0: Operation not permitted (os error 1)\n\
     hint: run nsntrace as root, or let root allow them to users: sysctl kernel.unprivileged_userns_clone=1\n";
const PAGE: &str = "hello from the server\n";
const BEGIN: &str = "-- begin results";
const END: &str = "-- end results";
/// `struct pcap_file_header`.
const PCAP_HEADER: usize = 24;
/// How many missing packets are named.
const SHOWN: usize = 5;
/// A panic has as many.
const SHOWN_LINES: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(runs: u32) -> Vec<String> {
        (0..runs)
            .flat_map(|run| (0..PACKETS).map(move |packet| format!("run {run} packet {packet}")))
            .collect()
    }

    #[test]
    fn a_missing_first_or_last_packet_is_named() {
        assert!(check_bursts(&sent(3), 3).is_ok());
        for at in [0, 19, 20, 59] {
            let mut seen = sent(3);
            let gone = seen.remove(at);
            let error = check_bursts(&seen, 3).unwrap_err().to_string();
            assert_eq!(error, format!("60 packets were sent, 59 are in the traces: missing are {gone}"));
        }
        let error = check_bursts(&[], 1).unwrap_err().to_string();
        assert!(error.ends_with("run 0 packet 3, run 0 packet 4 and more"), "{error}");
    }

    #[test]
    fn a_packet_out_of_order_or_twice_is_a_failure() {
        let mut seen = sent(2);
        seen.swap(0, 1);
        assert!(check_bursts(&seen, 2).is_err());
        let mut seen = sent(2);
        seen.push(seen[0].clone());
        assert!(check_bursts(&seen, 2).is_err());
    }

    #[test]
    fn every_trace_has_ended_well() {
        assert!(check_statuses("bare 0\nhttp 0\nburst-0 0\n", 1, |_| String::new()).is_ok());
        let error = check_statuses("bare 0\nhttp 125\n", 1, |name| format!("words of {name}\n")).unwrap_err();
        assert_eq!(error.to_string(), "trace http ended with 125: words of http");
        let error = check_statuses("bare 0\nhttp 0\n", 1, |_| String::new()).unwrap_err();
        assert_eq!(error.to_string(), "2 traces were made, not 3");
    }

    #[test]
    fn a_console_without_an_end_is_a_failure() {
        let console = format!("boot\r\n{BEGIN}\r\nQUJD\r\n{END}\r\n");
        assert_eq!(between(&console, BEGIN, END), Some("\r\nQUJD\r\n"));
        assert_eq!(between(&console.replace(END, ""), BEGIN, END), None);
        let error =
            unpack("boot\r\nOops\r\n", Path::new("/nonexistent"), Path::new("/nonexistent")).unwrap_err();
        assert_eq!(error.to_string(), "the guest did not come to its end:\nboot\nOops");
        let lines: Vec<_> = (1..=SHOWN_LINES + 2).map(|number| number.to_string()).collect();
        assert_eq!(last_lines(&lines.join("\r\n")), lines[2..].join("\n"));
    }

    #[test]
    fn traces_are_joined_behind_one_header() {
        let file = |byte: u8, records: &[u8]| [vec![byte; PCAP_HEADER], records.to_vec()].concat();
        assert_eq!(join(&[file(1, b"ab"), file(1, b""), file(1, b"c")]).unwrap(), file(1, b"abc"));
        assert!(join(&[file(1, b"ab"), file(2, b"c")]).is_err());
        assert!(join(&[vec![1; PCAP_HEADER - 1]]).is_err());
    }

    #[test]
    fn payloads_are_decoded() {
        assert_eq!(decode("72756e").unwrap(), "run");
        for bad in ["7", "7x", "é1"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }
}
