//! Who may have a socket for pings.
//!
//! # Kernel interface
//! `/proc/sys/net/ipv4/ping_group_range`, of the network namespace of whoever opens it; `Gid` and `Groups` of `/proc/TID/status`.
//!
//! # References
//! `ping_init_sock()` in net/ipv4/ping.c; icmp(7).

use std::fs;

/// Whether the kernel would make one for this thread.
pub(crate) fn may_ping(tid: u32) -> bool {
    let Ok(range) = fs::read_to_string("/proc/sys/net/ipv4/ping_group_range") else { return false };
    let Ok(status) = fs::read(format!("/proc/{tid}/status")) else { return false };
    is_in_range(&range, &String::from_utf8_lossy(&status))
}

fn is_in_range(range: &str, status: &str) -> bool {
    let numbers = |text: &str| text.split_ascii_whitespace().flat_map(str::parse).collect::<Vec<u32>>();
    let line =
        |name| status.lines().find_map(|line| line.strip_prefix(name)).map(numbers).unwrap_or_default();
    let [low, high] = numbers(range)[..] else { return false };
    // Of Gid the effective one counts.
    line("Gid:").get(1).into_iter().chain(&line("Groups:")).any(|group| (low..=high).contains(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_in_the_range_may() {
        let status = "Uid:\t0\t0\t0\t0\nGid:\t1\t20\t1\t1\nGroups:\t30 40 \n";
        for (range, may) in
            [("1\t0", false), ("0\t10", false), ("20\t20", true), ("35\t45", true), ("", false)]
        {
            assert_eq!(is_in_range(range, status), may, "{range}");
        }
    }
}
