//! Where the time of one traced run of `true` goes: the record that strace(1) makes of it, as a table.
//!
//! strace holds up what it watches, so that the sum is more than the time that the run takes by itself; the shares are
//! what to look at. Its filter in the kernel lets all calls pass unseen that are not of interest here.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::record::{Call, Record};
use crate::bench::residue::Residue;
use crate::bench::rounds::ms;
use crate::bench::series::Series;
use crate::process::{self, Result};

/// Watches `runs` runs, and prints what they spend their time on.
///
/// # Errors
/// A run fails, or leaves something behind.
pub(super) fn run(strace: &Path, nsntrace: &Path, folder: &Path, runs: usize) -> Result {
    let mut all: Vec<Vec<Step>> = Vec::new();
    let before = Residue::now()?;
    for _ in 0..runs {
        all.push(steps(&watch(strace, nsntrace, folder)?)?);
        before.wait(PATIENCE)?;
    }
    print!("{}", table(&all));
    Ok(())
}

/// One run. strace ends when the last process has.
fn watch(strace: &Path, nsntrace: &Path, folder: &Path) -> Result<Vec<Record>> {
    let records = folder.join("strace");
    fs::create_dir(&records)?;
    let mut command = Command::new(strace);
    command.args(["-ff", "-ttt", "-T", "--seccomp-bpf", "-e", CALLS, "-o"]).arg(records.join("record"));
    command.arg(nsntrace).args(["-q", "true"]).current_dir(folder);
    process::output(&mut command)?;
    let paths = fs::read_dir(&records)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let texts = paths.iter().map(|path| Ok(Record::parse(&fs::read_to_string(path)?)));
    let texts = texts.collect();
    fs::remove_dir_all(&records)?;
    texts
}

/// The calls that steps begin or end with, and those that wait.
const CALLS: &str = "trace=execve,unshare,setns,setsid,setsockopt,socket,sendto,sendmsg,recvfrom,recvmsg,\
    poll,ppoll,close,exit_group";

/// One line of the table. A step that was not seen took no known time.
struct Step {
    name: &'static str,
    took: Option<Duration>,
}

/// Who is who in the records of one run.
struct Cast<'a> {
    all: &'a [Record],
    front: &'a Record,
    worker: &'a Record,
    program: &'a Record,
}

impl<'a> Cast<'a> {
    fn find(all: &'a [Record]) -> Result<Self> {
        let begin = |record: &&Record| record.first(&["execve("]).map_or(Duration::MAX, |call| call.at);
        let front = all.iter().min_by_key(begin).ok_or("strace wrote nothing")?;
        let who = |what: &str, parts: &[&str]| {
            let found = all.iter().find(|record| record.first(parts).is_some());
            found.ok_or_else(|| format!("strace saw no {what}"))
        };
        let worker = who("worker", &["setsid("])?;
        let program = who("program", &["setns(", "CLONE_NEWNET"])?;
        Ok(Self { all, front, worker, program })
    }

    /// The call that asks the kernel for the ring, by whichever thread.
    fn ring(&self) -> Option<&'a Call> {
        self.all.iter().find_map(|record| record.first(&["setsockopt(", "PACKET_RX_RING"]))
    }
}

/// What one run did, in its order.
fn steps(records: &[Record]) -> Result<Vec<Step>> {
    let cast = Cast::find(records)?;
    Ok(until_exit(&cast).into_iter().chain(beside(&cast)).chain(behind_the_prompt(&cast)).collect())
}

/// The steps that whoever waits for front waits for: one begins where the other ends.
fn until_exit(cast: &Cast<'_>) -> Vec<Step> {
    let Cast { all, front, worker, program } = cast;
    let unshare = all.iter().find_map(|record| record.first(&["unshare(", "CLONE_NEWNET"]));
    let ready = worker.first(&["sendto(", "\"ready\\0"]);
    let is_early = |call: &&Call| ready.is_some_and(|ready| call.at < ready.at);
    let messages = || worker.all(&["sendto(", "nlmsg_len="]).filter(is_early);
    let carrier_waits = worker.all(&["poll("]).filter(is_early).map(|call| call.took).sum();
    let last_message_end = messages().next_back().map(Call::end);
    let executed = program.all(&["execve(", " = 0"]).next_back().map(Call::end);
    let finished = front.first(&["recvfrom(", "\"finished\\0"]).map(Call::end);
    let begin = front.first(&["execve("]).map(|call| call.at);
    let moments = [
        ("exec of nsntrace, and its checks", begin),
        ("namespace (unshare)", unshare.map(|call| call.at)),
        ("sockets inside, fork of worker", unshare.map(Call::end)),
        ("worker, up to its first netlink message", worker.first(&["setsid("]).map(|call| call.at)),
        (NETWORK, messages().next().map(|call| call.at)),
        ("waiting for ring and recorder", last_message_end),
        ("start of the program", ready.map(|call| call.at)),
        ("the program", executed),
        ("drain: its end to the complete file", program.end),
        ("front's exit", finished),
        ("", front.end),
    ];
    let steps = moments.windows(2).map(|pair| Step { name: pair[0].0, took: between(pair[0].1, pair[1].1) });
    let mut steps: Vec<_> = steps.collect();
    let network = steps.iter().position(|step| step.name == NETWORK);
    if let Some(index) = network {
        steps[index].took = steps[index].took.map(|took| took.saturating_sub(carrier_waits));
        steps.insert(index + 1, Step { name: "waiting for carrier", took: Some(carrier_waits) });
    }
    steps.push(Step { name: "sum: exec to front's end", took: between(begin, front.end) });
    steps
}

const NETWORK: &str = "network: first netlink message to last";

/// What goes on meanwhile.
fn beside(cast: &Cast<'_>) -> [Step; 1] {
    [Step { name: "beside: opening the ring", took: cast.ring().map(|call| call.took) }]
}

/// What worker does after front has ended, or at least does not wait for.
fn behind_the_prompt(cast: &Cast<'_>) -> [Step; 5] {
    let Cast { all, front, worker, .. } = cast;
    let ours = || all.iter().filter(|record| !std::ptr::eq(*record, *front));
    // Front and the program have the same descriptor, but are not the last to close it, which is what takes long.
    let ring = cast.ring().and_then(Call::descriptor).map(|descriptor| format!("close({descriptor})"));
    let ring = ring.and_then(|close| {
        let closes = ours().filter_map(|record| record.all(&[&close]).map(|call| call.took).max());
        closes.max()
    });
    let veth = worker.first(&["sendto(", "RTM_DELLINK"]).map(|call| call.took);
    let conntrack: Duration = worker.all(&["sendto(", "IPCTNL_MSG_CT_"]).map(|call| call.took).sum();
    let table = worker.first(&["NFT_MSG_NEWTABLE", "sendto("]).and_then(|call| {
        let close = format!("close({})", call.descriptor()?);
        worker.all(&[&close]).filter(|close| close.at > call.at).map(|close| close.took).max()
    });
    [
        Step { name: "behind: closing the ring", took: ring },
        Step { name: "behind: deleting the veth", took: veth },
        Step { name: "behind: forgetting connections", took: Some(conntrack) },
        Step { name: "behind: closing the nf_tables socket", took: table },
        Step { name: "behind: front's end to worker's", took: between(front.end, worker.end) },
    ]
}

fn between(from: Option<Duration>, to: Option<Duration>) -> Option<Duration> {
    to?.checked_sub(from?)
}

fn table(runs: &[Vec<Step>]) -> String {
    let head = format!("{:<44}{:>10}{:>10}{:>10}\n", "ms under strace, of one run", "min", "median", "max");
    let names = runs.first().into_iter().flatten().map(|step| step.name);
    let rows = names.enumerate().map(|(index, name)| {
        let series: Series = runs.iter().filter_map(|steps| steps[index].took).map(ms).collect();
        match (series.median(), series.range()) {
            (Some(median), Some((min, max))) => format!("{name:<44}{min:>10.2}{median:>10.2}{max:>10.2}\n"),
            _ => format!("{name:<44}{:>10}\n", "not seen"),
        }
    });
    std::iter::once(head).chain(rows).collect()
}

/// Worker takes some 70 ms to clean up, and strace makes that longer.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const FRONT: &str = "\
100.000000 execve(\"/bin/nsntrace\", [\"nsntrace\"], 0x7ff /* 9 vars */) = 0 <0.000200>
100.005000 close(9) = 0 <0.900000>
100.050000 recvfrom(12, \"finished\\0000\", 8192, 0, NULL, NULL) = 16 <0.000500>
100.051000 exit_group(0) = ?
100.052000 +++ exited with 0 +++
";
    const NETNS: &str = "\
100.001000 unshare(CLONE_NEWNET) = 0 <0.000600>
100.001700 sendto(6, [{nlmsg_len=32, nlmsg_type=0x13}], 32, 0, NULL, 0) = 32 <0.000010>
100.002000 +++ exited with 0 +++
";
    const WORKER: &str = "\
100.003000 setsid() = 35 <0.000010>
100.004000 sendto(10, [{nlmsg_len=28, nlmsg_type=RTM_GETRULE}], 28, 0, NULL, 0) = 28 <0.000010>
100.006000 sendto(16, [[{nlmsg_len=20}], [{nlmsg_len=80, NFT_MSG_NEWTABLE}]], 100, 0, NULL, 0) = 100 <0.000900>
100.007000 ppoll([{fd=15, events=POLLIN}], 1, NULL, NULL, 8) = 1 ([{fd=15}]) <0.004000>
100.012000 sendto(10, [{nlmsg_len=28, nlmsg_type=RTM_SETLINK}], 28, 0, NULL, 0) = 28 <0.001000>
100.020000 sendto(11, \"ready\\0uplink\"..., 65, MSG_NOSIGNAL, NULL, 0) = 65 <0.000026>
100.021000 ppoll([{fd=11, events=POLLIN}], 1, NULL, NULL, 8) = 1 ([{fd=11}]) <0.020000>
100.054000 sendto(10, [{nlmsg_len=32, nlmsg_type=RTM_DELLINK}], 32, 0, NULL, 0) = 32 <0.034000>
100.090000 close(16) = 0 <0.011000>
100.102000 +++ exited with 0 +++
";
    const RING: &str = "\
100.003500 setsockopt(9, SOL_PACKET, PACKET_RX_RING, 0x7fe, 28) = 0 <0.015000>
100.060000 close(9) = 0 <0.024000>
";
    const PROGRAM: &str = "\
100.005500 setns(5, CLONE_NEWNET) = 0 <0.000036>
100.020100 execve(\"/nowhere/true\", [\"true\"], 0x7ff) = -1 ENOENT (No such file or directory) <0.000020>
100.020500 execve(\"/bin/true\", [\"true\"], 0x7ff) = 0 <0.000500>
100.022000 +++ exited with 0 +++
";

    #[test]
    fn every_step_has_its_time_and_they_add_up() {
        let records = [PROGRAM, RING, WORKER, NETNS, FRONT].map(Record::parse);
        let steps = steps(&records).unwrap();
        let took = |name: &str| {
            let step = steps.iter().find(|step| step.name.contains(name)).unwrap_or_else(|| panic!("{name}"));
            step.took.unwrap().as_micros()
        };
        for (name, expected) in [
            ("checks", 1000),
            ("unshare", 600),
            ("sockets inside", 1400),
            ("up to its first", 1000),
            ("network", 5000),
            ("carrier", 4000),
            ("waiting for ring", 7000),
            ("start of the program", 1000),
            ("the program", 1000),
            ("drain", 28500),
            ("front's exit", 1500),
            ("sum", 52000),
            ("opening the ring", 15000),
            ("closing the ring", 24000),
            ("veth", 34000),
            ("connections", 0),
            ("nf_tables", 11000),
            ("front's end to worker's", 50000),
        ] {
            assert_eq!(took(name), expected, "{name}");
        }
        let sum = steps.iter().position(|step| step.name.starts_with("sum")).unwrap();
        assert_eq!(
            steps[..sum].iter().filter_map(|step| step.took).sum::<Duration>(),
            steps[sum].took.unwrap()
        );
        let table = table(&[steps]);
        assert!(
            table.contains(&format!(
                "{:<44}{:>10}{:>10}{:>10}\n",
                "waiting for carrier", "4.00", "4.00", "4.00"
            ))
        );
    }

    #[test]
    fn what_was_not_seen_is_told() {
        let no_ready = WORKER.replace("ready", "other");
        let records = [PROGRAM, &no_ready, NETNS, FRONT].map(Record::parse);
        let table = table(&[steps(&records).unwrap()]);
        for name in ["beside: opening the ring", "start of the program"] {
            assert!(table.contains(&format!("{name:<44}{:>10}\n", "not seen")), "{table}");
        }
        assert!(steps(&[Record::parse(FRONT)]).is_err());
    }
}
