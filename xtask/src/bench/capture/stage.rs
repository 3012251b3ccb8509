//! One run: a tool records in a namespace, a load is sent there, the tool is interrupted, and its file is counted.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::load::Load;
use super::tools::{INSIDE, Tool};
use crate::bench::machine::{Processors, Reserve};
use crate::bench::numbered::{self, Census};
use crate::bench::{children, lab, words};
use crate::process::{self, Result};

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Processor time of all processes of the tool, until the load begins.
    pub(super) cpu_before: Duration,
    /// From then to the end of the last of them.
    pub(super) cpu: Duration,
    /// Of the process that records.
    pub(super) peak_kib: u64,
    /// Of nsntrace's other process.
    pub(super) front_peak_kib: Option<u64>,
    /// The time that it took to send the load, if there was one.
    pub(super) sending: Duration,
    pub(super) census: Census,
}

/// Where runs take place.
#[derive(Debug)]
pub(super) struct Stage {
    /// Ourselves, who can also be asked to send a load.
    own: String,
    /// Where files go.
    folder: PathBuf,
    processors: Processors,
}

impl Stage {
    /// Makes the namespace in which peers record. To be called in a namespace of our own.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        process::run(Command::new("sh").args(["-euc", SCRIPT]))?;
        Ok(Self { own: lab::own_path()?, folder: folder.to_owned(), processors: Processors::choose()? })
    }

    /// Lets a tool record a load, or nothing for a while. `look` sees the file before it is deleted.
    ///
    /// # Errors
    /// The tool does not get as far as recording, does not end, leaves a file that cannot be, or nsntrace's own words
    /// are not what the file says.
    pub(super) fn run(
        &self,
        tool: &Tool,
        load: Load,
        look: impl FnOnce(&Path, Census) -> Result,
    ) -> Result<Run> {
        let file = self.folder.join("capture").with_extension(tool.extension);
        let said = self.folder.join("said");
        let run = self.record(tool, load, &file, &said).and_then(|run| {
            look(&file, run.census)?;
            Ok(run)
        });
        for path in [&file, &said] {
            let _never_made = fs::remove_file(path);
        }
        run
    }

    fn record(&self, tool: &Tool, load: Load, file: &Path, said: &Path) -> Result<Run> {
        let recording = Recording::start(tool, load.mtu, file, said, &self.processors)?;
        let reserve = Reserve::new(Path::new(MEMORY), load.file_bytes())?;
        let cpu_before = recording.cpu()?;
        let sending = self.send(load, &recording.link, &reserve)?;
        sleep(AFTER_LOAD);
        let (peak_kib, front_peak_kib) = recording.peaks()?;
        let cpu = recording.stop()?.saturating_sub(cpu_before);
        let census = numbered::count(file, load.sent())?;
        if tool.is_ours {
            words::check(&fs::read_to_string(said)?, census)?;
        }
        Ok(Run { cpu_before, cpu, peak_kib, front_peak_kib, sending, census })
    }

    /// Has a load sent, and hands out memory as fast as it is needed. The sender has been waited for when this returns.
    fn send(&self, load: Load, link: &str, reserve: &Reserve) -> Result<Duration> {
        if load.count == 0 {
            sleep(IDLE);
            return Ok(IDLE);
        }
        let numbers = [load.frame_len.to_string(), load.count.to_string(), load.pps.to_string()];
        let before = received(link)?;
        let mut sender = self.processors.on(self.processors.sender, || {
            let mut command = Command::new(&self.own);
            command.args(["bench", "capture", "load", link]).args(&numbers).stdout(Stdio::piped());
            Ok(command.spawn()?)
        })?;
        let start = Instant::now();
        while sender.try_wait()?.is_none() {
            reserve.keep_for_rest(load.sent_after(start.elapsed()))?;
            sleep(RESERVE_STEP);
        }
        let ns = String::from_utf8(sender.wait_with_output()?.stdout)?;
        let arrived = received(link)? - before;
        if arrived < load.count {
            return Err(format!("of {} frames {} left {link}", load.count, arrived).into());
        }
        Ok(Duration::from_nanos(ns.trim().parse()?))
    }
}

/// Frames that the other end of a veth pair took from `link`: its packets sent, /proc/net/dev.
fn received(link: &str) -> Result<u64> {
    let table = fs::read_to_string("/proc/self/net/dev")?;
    let row = table.lines().find_map(|line| line.trim_start().strip_prefix(link)?.strip_prefix(':'));
    let row = row.ok_or_else(|| format!("there is no link {link}"))?;
    Ok(row.split_whitespace().nth(TX_PACKETS).unwrap_or_default().parse()?)
}

/// A tool at work.
struct Recording {
    child: Child,
    /// The process that records, if it is not the child.
    worker: Option<u32>,
    /// The end of the veth pair that loads go into.
    link: String,
}

impl Recording {
    fn start(tool: &Tool, mtu: u32, file: &Path, said: &Path, processors: &Processors) -> Result<Self> {
        if !tool.is_ours {
            set_mtu(OUTSIDE, INSIDE, mtu)?;
        }
        let child = processors.on(processors.recorder, || {
            let mut command = tool.command(file);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(said)?);
            Ok(command.spawn()?)
        })?;
        let mut recording = Self { child, worker: None, link: OUTSIDE.to_owned() };
        let ready = if tool.is_ours { recording.meet_ours(mtu, said) } else { recording.meet_peer() };
        if let Err(error) = ready {
            let words = fs::read_to_string(said).unwrap_or_default();
            return Err(format!("{error}: {}", words.trim()).into());
        }
        sleep(SETTLE);
        Ok(recording)
    }

    fn meet_ours(&mut self, mtu: u32, said: &Path) -> Result {
        let front = self.child.id();
        // The last line before the program starts, when the ring is running.
        self.wait_until(|| Ok(fs::read_to_string(said)?.contains("Use ctrl-c")))?;
        let worker = children::children(front)?.into_iter().find(|&pid| children::name(pid) == WORKER);
        let worker = worker.ok_or("nsntrace has no worker")?;
        self.worker = Some(worker);
        self.link = getifaddrs()?
            .map(|one| one.interface_name)
            .find(|name| name.starts_with("nst"))
            .ok_or("nsntrace has no link here")?;
        set_mtu(&self.link, &namespace_of_ours()?, mtu)
    }

    /// Waits until the tool has a packet socket that receives.
    fn meet_peer(&mut self) -> Result {
        let sockets = format!("/proc/{}/net/packet", self.child.id());
        self.wait_until(|| {
            let table = fs::read_to_string(&sockets)?;
            let mut rows = table.lines().skip(1);
            Ok(rows.any(|row| row.split_whitespace().nth(PACKET_RUNNING) == Some("1")))
        })
    }

    fn wait_until(&mut self, is_ready: impl Fn() -> Result<bool>) -> Result {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("has ended before it recorded: {status}").into());
            }
            if is_ready()? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("does not record after {} s", PATIENCE.as_secs()).into());
            }
            sleep(STEP);
        }
    }

    /// Processor time of all processes of the tool until now.
    fn cpu(&self) -> Result<Duration> {
        let pids = [Some(self.child.id()), self.worker];
        pids.into_iter().flatten().map(children::cpu_of).sum()
    }

    /// Peaks of the process that records, and of nsntrace's other one.
    fn peaks(&self) -> Result<(u64, Option<u64>)> {
        let child = children::peak_resident_kib(self.child.id())?;
        Ok(match self.worker {
            Some(worker) => (children::peak_resident_kib(worker)?, Some(child)),
            None => (child, None),
        })
    }

    /// Interrupts the tool. The processor time that it took, those that it left behind included.
    fn stop(mut self) -> Result<Duration> {
        let before = children::cpu_of_reaped()?;
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGINT)?;
        children::wait_or_kill(&mut self.child)?;
        children::reap_all()?;
        Ok(children::cpu_of_reaped()?.saturating_sub(before))
    }
}

impl Drop for Recording {
    /// Nobody records on when something went wrong.
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _told_by_the_next_run = children::reap_all();
    }
}

/// The one namespace that nsntrace made: runs come one after the other.
fn namespace_of_ours() -> Result<String> {
    let names = fs::read_dir("/run/netns")?.flatten().map(|entry| entry.file_name());
    let mut names = names.filter_map(|name| name.into_string().ok());
    Ok(names.find(|name| name.starts_with("nsntrace-")).ok_or("nsntrace has no namespace")?)
}

fn set_mtu(outside: &str, inside: &str, mtu: u32) -> Result {
    let mtu = mtu.to_string();
    process::run(Command::new("ip").args(["link", "set", outside, "mtu", &mtu]))?;
    process::run(Command::new("ip").args(["-n", inside, "link", "set", "eth0", "mtu", &mtu]))
}

/// Like nsntrace's: a pair, addresses on both ends, all up.
const SCRIPT: &str = "
ip netns add recorded
ip link add outside type veth peer name eth0 netns recorded
ip addr add 192.0.2.1/30 dev outside
ip link set outside up
ip -n recorded addr add 192.0.2.2/30 dev eth0
ip -n recorded link set eth0 up
ip -n recorded link set lo up
";
const OUTSIDE: &str = "outside";
const WORKER: &str = "nsntrace-worker";

/// Field numbers from 0: /proc/net/packet, `packet_seq_show()` in net/packet/af_packet.c.
const PACKET_RUNNING: usize = 5;
/// /proc/net/dev, behind the name: eight of receiving, then bytes and packets sent.
const TX_PACKETS: usize = 9;

/// Between a tool's readiness and the load: netsniff-ng binds before it has its files.
const SETTLE: Duration = Duration::from_millis(300);
/// Between the load's last packet and the interrupt.
const AFTER_LOAD: Duration = Duration::from_millis(350);
/// What a run without load lasts in its place.
const IDLE: Duration = Duration::from_secs(3);
/// As long as a tool may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(2);
/// How often memory is handed out while a load is sent: never more than some MiB are free and unused.
const RESERVE_STEP: Duration = Duration::from_millis(20);
/// A tmpfs: the lab mounts it.
const MEMORY: &str = "/run";
