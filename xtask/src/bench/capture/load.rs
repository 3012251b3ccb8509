//! Loads, and who sends them: numbered Ethernet frames out of one end of a veth pair, as evenly as a spinning process can.
//!
//! # Kernel interface
//! `AF_PACKET` with protocol 0: such a socket sends, and receives nothing. getifaddrs(3). `CAP_NET_RAW`.

use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, bind, send, socket};

use crate::bench::numbered::{MARK_LEN, Sent, mark};
use crate::process::Result;

/// What is sent in one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) frame_len: usize,
    /// 0: as fast as they go.
    pub(super) pps: u32,
    pub(super) count: u64,
    /// What both ends of the veth pair take.
    pub(super) mtu: u32,
}

impl Load {
    pub(super) fn sent(self) -> Sent {
        Sent { count: self.count, frame_len: self.frame_len, mark_at: HEADER.len() }
    }

    /// At least what a file of it takes, whatever its form.
    pub(super) fn file_bytes(self) -> u64 {
        self.count * (self.frame_len as u64 + 64)
    }

    /// How much of it is sent after a while, as a part. All of what is not paced: it is over before memory grows cold.
    pub(super) fn sent_after(self, elapsed: Duration) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
        let count = self.count as f64;
        if self.pps == 0 { 1.0 } else { elapsed.as_secs_f64() * f64::from(self.pps) / count }
    }

    /// A tenth, to see whether all works.
    pub(super) fn quick(self) -> Self {
        Self { count: self.count / 10, ..self }
    }
}

pub(super) const LOADS: [Load; 4] = [
    Load { name: "64 B, 200 kpps", frame_len: 64, pps: 200_000, count: 600_000, mtu: 1500 },
    Load { name: "1400 B, 70 kpps", frame_len: 1400, pps: 70_000, count: 210_000, mtu: 1500 },
    // As long as TCP with segmentation offload makes them; here whole, on a link of the largest MTU.
    Load { name: "64000 B, 3 kpps", frame_len: 64_000, pps: 3_000, count: 24_000, mtu: 65_535 },
    Load { name: "1400 B, unpaced", frame_len: 1400, pps: 0, count: 300_000, mtu: 1500 },
];

/// `bench capture load INTERFACE FRAME_LEN COUNT PPS`: sends, and prints the nanoseconds that it took.
pub(super) fn send_load(interface: &str, frame_len: &str, count: &str, pps: &str) -> Result {
    let mut frame = HEADER.to_vec();
    frame.resize(frame_len.parse::<usize>()?.max(HEADER.len() + MARK_LEN), 0);
    let took = send_frames(interface, &mut frame, count.parse()?, pps.parse()?)?;
    println!("{}", took.as_nanos());
    Ok(())
}

fn send_frames(interface: &str, frame: &mut [u8], count: u64, pps: u64) -> Result<Duration> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &link(interface)?)?;
    let start = Instant::now();
    for number in 0..count {
        frame[HEADER.len()..][..MARK_LEN].copy_from_slice(&mark(number));
        // At rate 0 every frame is due at once.
        let due = (number * NS_PER_S).checked_div(pps).map_or(start, |ns| start + Duration::from_nanos(ns));
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        send(socket.as_raw_fd(), frame, MsgFlags::empty())?;
    }
    Ok(start.elapsed())
}

/// The address to bind to.
fn link(interface: &str) -> Result<LinkAddr> {
    let mut addresses = getifaddrs()?.filter(|one| one.interface_name == interface);
    let link = addresses.find_map(|one| one.address?.as_link_addr().copied());
    Ok(link.ok_or_else(|| format!("there is no link {interface}"))?)
}

/// To an address that nobody has, so that the receiver's stack drops the frame right behind its taps: both addresses are
/// locally administered, the type is for experiments (IEEE 802, section 9.2.4).
const HEADER: [u8; 14] = [0x02, 0, 0, 0, 0, 0x99, 0x02, 0, 0, 0, 0, 0x01, 0x88, 0xb5];

const NS_PER_S: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_load_takes_its_time() {
        let [small, .., unpaced] = LOADS;
        assert!((small.sent_after(Duration::from_millis(1500)) - 0.5).abs() < 1e-9);
        assert!((small.quick().sent_after(Duration::from_millis(150)) - 0.5).abs() < 1e-9);
        assert!((unpaced.sent_after(Duration::ZERO) - 1.0).abs() < 1e-9);
    }
}
