//! One trace with very many packets: its memory while they come, and every one of them in the file.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::trace::{Plan, Trace};
use crate::bench::numbered::{self, Sent};
use crate::bench::residue::Residue;
use crate::bench::rounds::ms;
use crate::bench::{lab, verdict, words};
use crate::process::{self, Result};

/// Sends `packets` packets through one trace.
///
/// # Errors
/// The disk has no room, a step fails, the file is wrong, or something is left behind.
pub(super) fn run(nsntrace: &Path, folder: &Path, packets: u64) -> Result {
    check_room(folder, packets)?;
    let before = Residue::now()?;
    let plan = Plan { nsntrace: Some(nsntrace), folder, number: 0, beats: 0 };
    let mut trace = plan.start()?;
    trace.wait_until_it_beats()?;
    let samples = send(&trace, packets)?;
    print!("{}", samples.table());
    let ended = Instant::now();
    trace.release();
    let said = trace.wait()?;
    println!("end of the program to front's end: {:.2} ms", ms(ended.elapsed()));
    let gone = before.wait(PATIENCE)?;
    println!("until nothing is left: {:.0} ms", ms(gone));
    let checked = check(&plan, packets, &said);
    fs::remove_file(plan.file())?;
    checked
}

/// Reads the whole file: each number at most once, and as many missing as front said.
fn check(plan: &Plan<'_>, packets: u64, said: &str) -> Result {
    let file = plan.file();
    println!("file: {} bytes", fs::metadata(&file)?.len());
    let census =
        numbered::count(&file, Sent { count: packets, frame_len: FRAME_LEN, mark_at: ETHERNET_LEN })?;
    words::check(said, census)?;
    let numbered::Census { found, missing, .. } = census;
    println!("{found} packets found, each once; {missing} missing, all of them told");
    print!("{}", verdict::holds("no packet is lost", missing == 0));
    Ok(())
}

fn check_room(folder: &Path, packets: u64) -> Result {
    let mut df = Command::new("df");
    let text = process::output(df.args(["-B1", "--output=avail"]).arg(folder))?;
    let free: u64 = text.lines().nth(1).unwrap_or_default().trim().parse()?;
    let needed = packets * (FRAME_LEN as u64 + RECORD_HEADER_LEN) + SPARE;
    if free >= needed {
        return Ok(());
    }
    Err(format!("{} bytes are needed in {}, and {free} are free", needed, folder.display()).into())
}

/// What was seen while packets came.
struct Samples {
    packets: u64,
    took: Duration,
    /// Proportional memory of front and worker together, in KiB, in the order of time.
    pss_kib: Vec<u64>,
    /// The most that worker ever had resident.
    peak_kib: u64,
}

/// Sends, from the host's end of the trace's veth pair, and looks at memory meanwhile.
fn send(trace: &Trace, packets: u64) -> Result<Samples> {
    let link = traced_link()?;
    let (own, frame_len, count) = (lab::own_path()?, FRAME_LEN.to_string(), packets.to_string());
    let mut sender = Command::new(own);
    sender.args(["bench", "capture", "load", &link, &frame_len, &count, AS_FAST_AS_THEY_GO]);
    let mut sender = sender.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let (pss_kib, peak_kib) = watch(trace, &mut sender).inspect_err(|_error| {
        // It would go on for long.
        let _gone = sender.kill();
    })?;
    let output = sender.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("the sender fails: {}", output.status).into());
    }
    let took = Duration::from_nanos(String::from_utf8(output.stdout)?.trim().parse()?);
    Ok(Samples { packets, took, pss_kib, peak_kib })
}

fn watch(trace: &Trace, sender: &mut Child) -> Result<(Vec<u64>, u64)> {
    let mut pss_kib = Vec::new();
    loop {
        let [front, worker] = trace.memory()?;
        pss_kib.push(front.pss_kib + worker.pss_kib);
        if sender.try_wait()?.is_some() {
            return Ok((pss_kib, worker.peak_kib));
        }
        thread::sleep(STEP);
    }
}

/// The host's end of the one trace that runs.
fn traced_link() -> Result<String> {
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    let mut names = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    let name = names.find(|name| name.starts_with("nst"));
    Ok(name.ok_or("there is no link nst*")?.to_owned())
}

impl Samples {
    /// The highest of each half of the time: what grows is higher in the second.
    fn highest(&self) -> [u64; 2] {
        let (first, second) = self.pss_kib.split_at(self.pss_kib.len().div_ceil(2));
        let first = first.iter().max().copied().unwrap_or_default();
        [first, second.iter().max().copied().unwrap_or(first)]
    }

    fn table(&self) -> String {
        let Self { packets, took, peak_kib, .. } = self;
        let [first, second] = self.highest();
        let rate = u128::from(*packets) * 1000 / took.as_micros().max(1);
        let is_flat = second <= first + MAX_GROWTH_KIB;
        let samples = self.pss_kib.len();
        format!(
            "{packets} packets of {FRAME_LEN} bytes in {:.1} s, {rate} kpps\n\
             worker's peak: {peak_kib} KiB resident\n\
             front and worker, proportional: {first} KiB at most in the first half, {second} in the second, of \
             {samples} samples\n{}",
            took.as_secs_f64(),
            verdict::holds("memory is flat", is_flat)
        )
    }
}

const FRAME_LEN: usize = 64;
const ETHERNET_LEN: usize = 14;
/// Of a pcap file.
const RECORD_HEADER_LEN: u64 = 16;
/// What a disk should have left.
const SPARE: u64 = 2 << 30;
/// To the sender.
const AS_FAST_AS_THEY_GO: &str = "0";
/// How often memory is looked at.
const STEP: Duration = Duration::from_millis(200);
/// By when the trace is off the host.
const PATIENCE: Duration = Duration::from_secs(10);
/// A page table here, an arena there.
const MAX_GROWTH_KIB: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_told() {
        let samples = |pss_kib: &[u64]| {
            Samples { packets: 1000, took: Duration::from_secs(1), pss_kib: pss_kib.to_vec(), peak_kib: 5000 }
                .table()
        };
        assert!(samples(&[4000, 4100, 4050, 4100]).contains("met    memory is flat\n"));
        assert!(samples(&[4000, 4100, 4500, 4700]).contains("MISSED memory is flat\n"));
        assert!(samples(&[4000]).contains("1000 packets of 64 bytes in 1.0 s, 1 kpps\n"));
    }

    #[test]
    fn a_disk_without_room_is_refused() {
        check_room(Path::new("/"), 1).unwrap();
        let error = check_room(Path::new("/"), 1 << 50).unwrap_err().to_string();
        assert!(error.contains("bytes are needed in /, and "), "{error}");
    }
}
