//! procfs' table of TCP sockets, one line each.
//!
//! ```text
//!   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
//!    0: 0100007F:9C41 0100007F:1F90 05 00000000:00000000 03:00000C2B 00000000     0        0 0 3 ffff9f0a40b2a000
//! ```
//!
//! # Kernel interface
//! `/proc/thread-self/net/tcp`, `/proc/thread-self/net/tcp6`. No privilege.
//!
//! # References
//! `proc_net(5)`; Documentation/networking/proc_net_tcp.rst; `tcp4_seq_show()` in `net/ipv4/tcp_ipv4.c`, `seq_open_net()` in `fs/proc/proc_net.c`.

use std::{
    fs::File,
    io::{self, Read, Seek},
};

/// The table of one address family, of the namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Table(File);

impl Table {
    /// Opens those that there are.
    pub(crate) fn open_all() -> Vec<Self> {
        PATHS.iter().filter_map(|path| Some(Self(File::open(path).ok()?))).collect()
    }

    /// The states of the connections without a process.
    pub(crate) fn orphan_states(&mut self) -> io::Result<Vec<u8>> {
        let mut text = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut text)?;
        Ok(text.lines().filter_map(orphan_state).collect())
    }
}

fn orphan_state(line: &str) -> Option<u8> {
    let mut fields = line.split_ascii_whitespace();
    let state = u8::from_str_radix(fields.nth(3)?, 16).ok()?;
    let inode: u64 = fields.nth(5)?.parse().ok()?;
    (inode == 0).then_some(state)
}

/// Not /proc/self: that is the process, whose namespace is its first thread's.
const PATHS: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_state_if_there_is_no_process() {
        let orphan = "   0: 0100007F:9C41 0100007F:1F90 0B 00000000:00000000 03:00000C2B 00000000     0        0 0 3 ffff9f0a40b2a000";
        assert_eq!(orphan_state(orphan), Some(11));
        assert_eq!(orphan_state(&orphan.replace(" 0 3 ", " 31415 1 ")), None);
    }

    #[test]
    fn other_lines_are_nothing() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        for line in [head, "", "0: 1 2", "0: 1 2 zz 4 5 6 7 8 0", "0: 1 2 04 4 5 6 7 8"] {
            assert_eq!(orphan_state(line), None, "{line}");
        }
    }

    #[test]
    fn a_table_can_be_read_again() {
        let mut tables = Table::open_all();
        assert!(!tables.is_empty());
        for table in &mut tables {
            assert!(table.orphan_states().is_ok() && table.orphan_states().is_ok());
        }
    }
}
