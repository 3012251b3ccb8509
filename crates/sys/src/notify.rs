//! System calls that ask somebody else first.
//!
//! # Theory of operation
//! A filter holds the calls that make internet sockets, and those by which a thread changes its network namespace. Whoever has the filter's
//! listener says what becomes of each: the kernel carries it out as if nothing had been, or the caller gets a descriptor made for it. All other calls
//! pass by a bitmap. Calls numbered otherwise, as 32-bit programs make them, pass, too.
//!
//! When the last copy of the listener is closed, the calls that it holds, and all later ones, fail with `ENOSYS`. It hangs up when
//! nobody has the filter any more (Linux 5.9).
//!
//! # Kernel interface
//! seccomp(2) `SECCOMP_SET_MODE_FILTER` with `SECCOMP_FILTER_FLAG_NEW_LISTENER` (Linux 5.0) and `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` (Linux 5.19:
//! a signal does not take back what is being looked at), `SECCOMP_USER_NOTIF_FLAG_CONTINUE` (Linux 5.5), `SECCOMP_ADDFD_FLAG_SEND` (Linux 5.14),
//! `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (Linux 6.6: caller and listener take turns on one processor).
//!
//! # References
//! seccomp_unotify(2); include/uapi/linux/seccomp.h; kernel/seccomp.c.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use crate::packet::Insn;
use crate::seccomp::{AUDIT_ARCH, JUMP_IF_EQUAL, LOAD_WORD, RETURN, install_listener, low_half};

/// A call that waits for a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// What the kernel calls it.
    pub id: u64,
    /// The thread, by its number in our pid namespace; 0 if it has none there.
    pub tid: i32,
    /// Where in its memory the call stands: another program has it elsewhere.
    pub instruction: u64,
    /// What it wants.
    pub wish: Wish,
}

/// What a held call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// `socket(family, type, protocol)`, the type with its flags.
    Socket([i32; 3]),
    /// Another network namespace, or perhaps one.
    Namespace,
}

/// Has calls of the calling thread, and of what it becomes and starts, held from now on.
///
/// # Errors
/// `EACCES` without `CAP_SYS_ADMIN` or `PR_SET_NO_NEW_PRIVS`; `EBUSY` where there is such a filter already; `ENOSYS` or `EINVAL`
/// before Linux 5.0. In words: the calls of this machine are numbered in a way that is not known here.
pub fn hold_sockets() -> io::Result<OwnedFd> {
    let audit_arch = AUDIT_ARCH.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    let program = program(audit_arch);
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    let listener = match install_listener(&program, flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        // Before Linux 5.19.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install_listener(&program, flags)?,
        installed => installed?,
    };
    Ok(listener)
}

/// Has the kernel hand over the processor between callers and this listener's thread, if it can.
pub fn take_turns(listener: BorrowedFd<'_>) {
    // SAFETY: the kernel takes the flag by value and touches no memory of ours.
    let _older_kernel = unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SET_FLAGS, FD_SYNC_WAKE_UP) };
}

/// Waits for a call.
///
/// # Errors
/// `ENOENT`: the one that was there is gone, or nobody has the filter any more. `EINTR`.
pub fn next_held(listener: BorrowedFd<'_>) -> io::Result<Held> {
    // SAFETY: a structure of numbers, which the kernel wants to be zero.
    let mut notif: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `seccomp_notif`, whose size is part of the ioctl's number.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, &raw mut notif) })?;
    let libc::seccomp_notif { id, pid, data, .. } = notif;
    let wish = if i64::from(data.nr) == libc::SYS_socket {
        Wish::Socket([int(data.args[0]), int(data.args[1]), int(data.args[2])])
    } else {
        Wish::Namespace
    };
    Ok(Held { id, tid: pid.cast_signed(), instruction: data.instruction_pointer, wish })
}

/// Whether a call still waits: what was read of its thread meanwhile is that thread's.
pub fn is_held(listener: BorrowedFd<'_>, held: &Held) -> bool {
    // SAFETY: the kernel reads one u64.
    unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_ID_VALID, &raw const held.id) == 0 }
}

/// Lets the kernel carry a call out.
///
/// # Errors
/// `ENOENT`: it does not wait any more.
pub fn let_go(listener: BorrowedFd<'_>, held: &Held) -> io::Result<()> {
    let flags = low_half(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE);
    let mut response = libc::seccomp_notif_resp { id: held.id, val: 0, error: 0, flags };
    // SAFETY: the kernel reads one `seccomp_notif_resp`, whose size is part of the ioctl's number.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, &raw mut response) })
}

/// Ends a call with a copy of `fd` as its result.
///
/// # Errors
/// `EINVAL` before Linux 5.14; `ENOENT`: it does not wait any more; `EMFILE`: the caller has no room. But for the second, it still waits.
pub fn give(
    listener: BorrowedFd<'_>,
    held: &Held,
    fd: BorrowedFd<'_>,
    closes_on_exec: bool,
) -> io::Result<()> {
    let mut addfd = libc::seccomp_notif_addfd {
        id: held.id,
        flags: low_half(libc::SECCOMP_ADDFD_FLAG_SEND),
        srcfd: fd.as_raw_fd().cast_unsigned(),
        newfd: 0,
        newfd_flags: if closes_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
    };
    // SAFETY: the kernel reads one `seccomp_notif_addfd`, whose size is part of the ioctl's number.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_ADDFD, &raw mut addfd) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An int is the low half of its register; the kernel does not look at the other.
#[expect(clippy::cast_possible_truncation, reason = "as the kernel does")]
fn int(register: u64) -> i32 {
    (register as u32).cast_signed()
}

/// Holds `socket()` of two families, `unshare()` of a network namespace, and `setns()`. Everything else is allowed, and so is every call of
/// another architecture; x32's numbers are none of these.
fn program(audit_arch: u32) -> Vec<Insn> {
    let load = |offset: usize| Insn { code: LOAD_WORD, jt: 0, jf: 0, k: low_half(offset) };
    let jump = |code, k, jt, jf| Insn { code, jt, jf, k };
    let give = |k| Insn { code: RETURN, jt: 0, jf: 0, k };
    let first_argument = offset_of!(libc::seccomp_data, args) + LOW_WORD;
    vec![
        load(offset_of!(libc::seccomp_data, arch)),
        jump(JUMP_IF_EQUAL, audit_arch, 0, 10),
        load(offset_of!(libc::seccomp_data, nr)),
        jump(JUMP_IF_EQUAL, low_half(libc::SYS_socket), 2, 0),
        jump(JUMP_IF_EQUAL, low_half(libc::SYS_setns), 6, 0),
        jump(JUMP_IF_EQUAL, low_half(libc::SYS_unshare), 3, 6),
        load(first_argument),
        jump(JUMP_IF_EQUAL, libc::AF_INET.cast_unsigned(), 3, 0),
        jump(JUMP_IF_EQUAL, libc::AF_INET6.cast_unsigned(), 2, 3),
        load(first_argument),
        jump(JUMP_IF_ANY_BIT, libc::CLONE_NEWNET.cast_unsigned(), 0, 1),
        give(libc::SECCOMP_RET_USER_NOTIF),
        give(libc::SECCOMP_RET_ALLOW),
    ]
}

/// Where in a register's eight bytes the low word is.
const LOW_WORD: usize = if cfg!(target_endian = "big") { 4 } else { 0 };
/// include/uapi/linux/bpf_common.h: `BPF_JMP | BPF_JSET | BPF_K`.
const JUMP_IF_ANY_BIT: u16 = 0x45;

/// include/uapi/asm-generic/ioctl.h: direction (1 writes, 2 reads), size, `SECCOMP_IOC_MAGIC`, number.
const fn ioctl(direction: u32, size: usize, number: u32) -> libc::Ioctl {
    #[expect(clippy::cast_possible_truncation, reason = "of the structures below, at most 80 bytes")]
    let size = size as u32;
    ((direction << 30) | (size << 16) | (0x21 << 8) | number) as libc::Ioctl
}

const NOTIF_RECV: libc::Ioctl = ioctl(3, size_of::<libc::seccomp_notif>(), 0);
const NOTIF_SEND: libc::Ioctl = ioctl(3, size_of::<libc::seccomp_notif_resp>(), 1);
const NOTIF_ID_VALID: libc::Ioctl = ioctl(1, size_of::<u64>(), 2);
const NOTIF_ADDFD: libc::Ioctl = ioctl(1, size_of::<libc::seccomp_notif_addfd>(), 3);
const NOTIF_SET_FLAGS: libc::Ioctl = ioctl(1, size_of::<u64>(), 4);
/// include/uapi/linux/seccomp.h: `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
const FD_SYNC_WAKE_UP: libc::c_ulong = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program says to a call: a machine for the few instructions that it uses.
    fn verdict(arch: u32, number: i64, first_argument: u64) -> u32 {
        let insns = program(7);
        let (mut accumulator, mut at) = (0, 0);
        loop {
            let Insn { code, jt, jf, k } = insns[at];
            let jump = |holds: bool| usize::from(if holds { jt } else { jf });
            at += 1;
            match code {
                LOAD_WORD => {
                    accumulator = match k {
                        0 => low_half(number),
                        4 => arch,
                        _ => int(first_argument).cast_unsigned(),
                    }
                }
                JUMP_IF_EQUAL => at += jump(accumulator == k),
                JUMP_IF_ANY_BIT => at += jump(accumulator & k != 0),
                _ => return k,
            }
        }
    }

    #[test]
    fn internet_sockets_and_namespaces_are_held_and_nothing_else() {
        let holds = |number, argument| verdict(7, number, argument) == libc::SECCOMP_RET_USER_NOTIF;
        for (family, is_held) in [(libc::AF_UNIX, false), (libc::AF_INET, true), (libc::AF_INET6, true)] {
            let family = u64::from(family.unsigned_abs());
            assert_eq!(holds(libc::SYS_socket, family), is_held, "{family}");
            assert_eq!(holds(libc::SYS_socket, family | 1 << 40), is_held, "an int is half a register");
            assert!(!holds(libc::SYS_connect, family));
            assert_eq!(verdict(8, libc::SYS_socket, family), libc::SECCOMP_RET_ALLOW, "another architecture");
        }
        assert!(!holds(libc::SYS_socket, libc::AF_NETLINK.unsigned_abs().into()));
        assert!(!holds(libc::SYS_socket | 0x4000_0000, libc::AF_INET.unsigned_abs().into()), "x32");
        assert!(holds(libc::SYS_setns, 3));
        assert!(holds(libc::SYS_unshare, (libc::CLONE_NEWNET | libc::CLONE_NEWNS).unsigned_abs().into()));
        assert!(!holds(libc::SYS_unshare, libc::CLONE_NEWNS.unsigned_abs().into()));
    }
}
