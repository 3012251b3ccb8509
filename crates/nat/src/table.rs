//! The table: made, changed, gone.
//!
//! # Theory of operation
//! A table with `NFT_TABLE_F_OWNER` belongs to the socket that made it. Nobody else can change it: `nft flush
//! ruleset` passes it by, `nft delete table` is refused. When the socket closes, for whatever reason, the
//! kernel removes it. Kernels before Linux 5.12 do not know the flag; there the table is a plain one,
//! dropping [`Nat`] removes it, and what SIGKILL leaves behind is for [`remove_stale`](crate::remove_stale).
//!
//! Closing such a socket takes 11 to 20 ms, because the kernel waits for the rules' last readers.
//!
//! # Kernel interface
//! `nf_tables` over `NETLINK_NETFILTER`. `CAP_NET_ADMIN` over the network namespace. `inet` nat chains: Linux
//! 5.2.
//!
//! # References
//! nft(8); `nf_tables_newtable()`, `nft_rcv_nl_event()` in `net/netfilter/nf_tables_api.c`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nsntrace_netlink::{Family, Refusal, RequestError, Socket, SocketError};
use rustix::io::Errno;

use crate::{
    Begun, HandedOver, NatError, Step,
    handover::{self, Traffic},
    probe,
    rules::{add_all, replace_guards},
    transaction::Transaction,
    uapi::NFT_TABLE_F_OWNER,
    watch,
};

/// Which process a table is for. It gives the table its name, and its comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks after boot: field 22 of proc(5)'s `stat`, which tells it from a later
    /// process of that number.
    pub start_time: u64,
}

/// What a table shall do.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    /// The process that it is for.
    pub owner: Owner,
    /// The host's end of the veth, by its number.
    pub device: u32,
    /// How the names of all such devices begin, of other runs too: `nst`.
    pub device_prefix: &'a str,
    /// The IPv4 address whose packets are masqueraded.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address whose packets are masqueraded.
    pub ipv6: Option<Ipv6Addr>,
    /// The only device that packets of the traced program may leave by.
    pub only_via: Option<&'a str>,
    /// Devices that forward for us and shall not for others.
    pub guarded: &'a [&'a str],
}

/// A table in the network namespace of the thread that installed it. Dropping it removes it.
#[derive(Debug)]
pub struct Nat {
    socket: Socket,
    table: String,
    traffic: Traffic,
    is_owned: bool,
    is_removed: bool,
}

impl Nat {
    /// Adds the table, all of it or nothing. `nft list table inet nsntrace-PID` shows it.
    ///
    /// Where the name is taken, `-2` and so on is put behind it.
    ///
    /// # Errors
    /// [`NatError::Unsupported`] names what the kernel was built without. [`NatError::Refused`]: `EPERM`
    /// without `CAP_NET_ADMIN` over the network namespace. [`NatError::DeviceName`] for a name that is empty
    /// or longer than 15 bytes.
    pub fn install(spec: &Spec<'_>) -> Result<Self, NatError> {
        match Self::install_as(spec, NFT_TABLE_F_OWNER) {
            // EOPNOTSUPP, before Linux 5.12 EINVAL: this kernel does not know the flag, or that is what it
            // says to what comes next.
            Err(error) if matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::INVAL)) => {
                Self::install_plain(spec)
            }
            other => other,
        }
    }

    /// As [`Nat::install`], without asking the kernel to clean up: what kernels before Linux 5.12 get.
    ///
    /// # Errors
    /// Those of [`Nat::install`].
    pub fn install_plain(spec: &Spec<'_>) -> Result<Self, NatError> {
        Self::install_as(spec, 0)
    }

    /// Puts other guarded devices in place of those that there are, in one transaction: at no moment are
    /// there fewer than both lists have in common.
    ///
    /// # Errors
    /// [`NatError::Refused`]: `ENOENT` where somebody deleted the table, which is possible only to one that
    /// is not owned.
    pub fn set_guarded<S: AsRef<str>>(&mut self, guarded: &[S]) -> Result<(), NatError> {
        guarded.iter().try_for_each(|name| check_name(name.as_ref()))?;
        let mut transaction = Transaction::new(&self.table);
        replace_guards(&mut transaction, &self.traffic.device_prefix, guarded);
        transaction.commit(&mut self.socket)
    }

    /// Asks whether others let pass what comes from `sources`, until [`end_probe`](Self::end_probe). It reaches nobody.
    ///
    /// # Errors
    /// [`NatError::Refused`]: `EEXIST` when a probe is going on.
    pub fn begin_probe(&mut self, sources: &[IpAddr]) -> Result<(), NatError> {
        probe::begin(&mut self.socket, &self.table, sources)
    }

    /// How many packets of each source others have let pass so far.
    ///
    /// # Errors
    /// [`NatError::Refused`], [`NatError::Netlink`].
    pub fn probed(&mut self) -> Result<Vec<u64>, NatError> {
        probe::read(&mut self.socket, &self.table)
    }

    /// Ends the probe: the sources are like any other. From now on what they begin [is counted](Self::begun), if it is to be watched.
    ///
    /// # Errors
    /// [`NatError::Refused`]: `ENOENT` when there was none; `EEXIST` when it is watched already.
    pub fn end_probe(&mut self, watch: bool) -> Result<(), NatError> {
        probe::end(&mut self.socket, &self.table, watch.then_some(&self.traffic))
    }

    /// What was seen of packets that began something, or waited for its first answer.
    ///
    /// # Errors
    /// [`NatError::Refused`], [`NatError::Netlink`].
    pub fn begun(&mut self) -> Result<Begun, NatError> {
        watch::read(&mut self.socket, &self.table)
    }

    /// Hands over what comes and goes by the device to queue `number` of nfnetlink_queue, before other tables filter it. Whoever reads the
    /// queue decides; until somebody does, the packets are lost.
    ///
    /// # Errors
    /// [`NatError::Unsupported`] where the kernel has no rule for it; [`NatError::Refused`]: `EEXIST` when it was done before.
    pub fn hand_over(&mut self, number: u16) -> Result<HandedOver, NatError> {
        handover::begin(&mut self.socket, &self.table, &self.traffic, number)
    }

    /// Hands over nothing any more.
    ///
    /// # Errors
    /// [`NatError::Refused`]: `ENOENT` when nothing was.
    pub fn keep(&mut self) -> Result<(), NatError> {
        handover::end(&mut self.socket, &self.table)
    }

    /// The name of the table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Whether the kernel removes the table when this process is gone.
    pub fn is_owned(&self) -> bool {
        self.is_owned
    }

    /// Removes the table, and tells whether that went well. Dropping does the same, silently.
    ///
    /// # Errors
    /// [`NatError::Refused`]: `ENOENT` where somebody else did it, which is possible only to a table that is
    /// not owned.
    pub fn remove(mut self) -> Result<(), NatError> {
        self.is_removed = true;
        delete(&mut self.socket, &self.table)
    }

    fn install_as(spec: &Spec<'_>, flags: u32) -> Result<Self, NatError> {
        spec.check_names()?;
        let mut socket = open()?;
        for attempt in 1.. {
            let table = spec.owner.table_name(attempt);
            let mut transaction = Transaction::new(&table);
            transaction.add_table(flags, &spec.owner.comment());
            add_all(&mut transaction, spec);
            match transaction.commit(&mut socket) {
                Err(error) if attempt < ATTEMPTS && is_name_taken(&error) => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    return Ok(Self {
                        socket,
                        table,
                        traffic: Traffic {
                            device: spec.device,
                            device_prefix: spec.device_prefix.to_owned(),
                            only_via: spec.only_via.map(str::to_owned),
                        },
                        is_owned: flags & NFT_TABLE_F_OWNER != 0,
                        is_removed: false,
                    });
                }
            }
        }
        unreachable!("the last attempt returns")
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        if !self.is_owned && !self.is_removed {
            // Somebody may have been quicker, and nobody is left to tell of anything else.
            let _ = delete(&mut self.socket, &self.table);
        }
    }
}

impl Spec<'_> {
    fn check_names(&self) -> Result<(), NatError> {
        let names = [self.device_prefix].into_iter().chain(self.only_via);
        names.chain(self.guarded.iter().copied()).try_for_each(check_name)
    }
}

impl Owner {
    /// `nsntrace-1234`, later `nsntrace-1234-2`.
    fn table_name(self, attempt: u32) -> String {
        match attempt {
            1 => format!("{TABLE_PREFIX}{}", self.pid),
            _ => format!("{TABLE_PREFIX}{}-{attempt}", self.pid),
        }
    }

    fn comment(self) -> String {
        format!("nsntrace pid {} start {}", self.pid, self.start_time)
    }

    /// The owner that [`Owner::comment`] wrote of.
    pub(crate) fn from_comment(comment: &str) -> Option<Self> {
        let (pid, start_time) = comment.strip_prefix("nsntrace pid ")?.split_once(" start ")?;
        Some(Self { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? })
    }
}

pub(crate) fn open() -> Result<Socket, NatError> {
    Socket::open(Family::Netfilter).map_err(|source| match &source {
        SocketError::Open { source: error, .. }
            if Errno::from_io_error(error) == Some(Errno::PROTONOSUPPORT) =>
        {
            let refusal = Refusal { index: 0, errno: Errno::PROTONOSUPPORT, extack: None };
            NatError::new(Step::Open, RequestError::Refused(refusal))
        }
        _ => NatError::new(Step::Open, RequestError::Socket(source)),
    })
}

pub(crate) fn delete(socket: &mut Socket, table: &str) -> Result<(), NatError> {
    let mut transaction = Transaction::new(table);
    transaction.delete_table();
    transaction.commit(socket)
}

/// Whether there is a table of this name: `EEXIST`, or `EPERM` to that one message where another socket owns
/// it. (Without `CAP_NET_ADMIN` the whole transaction is refused.)
fn is_name_taken(error: &NatError) -> bool {
    let NatError::Refused { step: Step::AddTable, refusal } = error else { return false };
    refusal.index == Transaction::FIRST && matches!(refusal.errno, Errno::EXIST | Errno::PERM)
}

pub(crate) fn check_name(name: &str) -> Result<(), NatError> {
    match name.len() {
        1..=15 => Ok(()),
        _ => Err(NatError::DeviceName { name: name.to_owned() }),
    }
}

/// How the names of all our tables begin.
pub(crate) const TABLE_PREFIX: &str = "nsntrace-";
/// How many names are tried.
const ATTEMPTS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_its_comment() {
        let owner = Owner { pid: 1234, start_time: 567_890 };
        assert_eq!(owner.comment(), "nsntrace pid 1234 start 567890");
        assert_eq!(Owner::from_comment(&owner.comment()), Some(owner));
        for comment in ["", "nsntrace pid 1 start ", "nsntrace pid x start 1", "by hand", "nsntrace pid 1"] {
            assert_eq!(Owner::from_comment(comment), None, "{comment}");
        }
    }

    #[test]
    fn names_are_checked_before_anything_is_touched() {
        let spec = Spec {
            owner: Owner { pid: 1, start_time: 1 },
            device: 7,
            device_prefix: "nst",
            ipv4: None,
            ipv6: None,
            only_via: Some("sixteen-bytes-xx"),
            guarded: &[],
        };
        let error = Nat::install(&spec).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no network device has the name 'sixteen-bytes-xx': 1 to 15 bytes are possible"
        );
        assert!(matches!(
            Nat::install(&Spec { device_prefix: "", only_via: None, ..spec }),
            Err(NatError::DeviceName { .. })
        ));
    }
}
