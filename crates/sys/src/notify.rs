//! System calls that ask somebody else first.
//!
//! # Theory of operation
//! A filter holds the calls before which no packet of a socket has been: of TCP those that connect and listen, since whoever has the filter's listener can look at
//! the socket then; of other internet sockets the one that makes them, for they may send at once. Besides it holds calls by which a thread changes its network
//! namespace. The listener says what becomes of each: the kernel carries it out as if nothing had been, or the caller gets a descriptor made for it. All other
//! calls pass by a bitmap. Calls numbered otherwise, as 32-bit programs make them, pass, too.
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
use crate::seccomp::{
    AUDIT_ARCH, JUMP_IF_EQUAL, JUMP_IF_GREATER_OR_EQUAL, LOAD_WORD, RETURN, install_listener, low_half,
};

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
    /// `socket(family, type, protocol)`, the type with its flags: of the internet, and no stream.
    Socket([i32; 3]),
    /// A connection, or connections that come, for what may be a socket.
    Connection {
        /// The caller's descriptor of it.
        fd: i32,
        /// The address is as long as one of the internet, neither more nor less.
        has_internet_address: bool,
    },
    /// Another network namespace, or perhaps one.
    Namespace,
}

/// Has calls of the calling thread, and of what it becomes and starts, held from now on.
///
/// # Errors
/// `EACCES` without `CAP_SYS_ADMIN` or `PR_SET_NO_NEW_PRIVS`; `EBUSY` where there is such a filter already; `ENOSYS` or `EINVAL`
/// before Linux 5.0, and before 5.6, which could hold, but not let go. In words: the calls of this machine are numbered in a way that is not known here.
pub fn hold_sockets() -> io::Result<OwnedFd> {
    let audit_arch = AUDIT_ARCH.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    can_look_at_sockets()?;
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
    let wish = wish(i64::from(data.nr), data.args.map(int));
    Ok(Held { id, tid: pid.cast_signed(), instruction: data.instruction_pointer, wish })
}

fn wish(number: i64, arguments: [i32; 6]) -> Wish {
    let [first, second, third, ..] = arguments;
    match number {
        libc::SYS_socket => Wish::Socket([first, second, third]),
        libc::SYS_connect => {
            let has_internet_address = ADDRESS_LENS.contains(&third.cast_unsigned());
            Wish::Connection { fd: first, has_internet_address }
        }
        libc::SYS_listen | libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_sendmmsg => {
            Wish::Connection { fd: first, has_internet_address: false }
        }
        _ => Wish::Namespace,
    }
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

/// `ENOSYS` before Linux 5.6.
fn can_look_at_sockets() -> io::Result<()> {
    // SAFETY: pidfd_getfd(2) takes integers; there is no such descriptor.
    let done = unsafe { libc::syscall(libc::SYS_pidfd_getfd, -1, -1, 0) };
    let error = io::Error::last_os_error();
    if done < 0 && error.raw_os_error() == Some(libc::ENOSYS) { Err(error) } else { Ok(()) }
}

/// Everything that is not held is allowed, and so is every call of another architecture; x32's numbers are none of these.
fn program(audit_arch: u32) -> Vec<Insn> {
    let is_arch = insn(JUMP_IF_EQUAL, audit_arch, 1, 0);
    let mut insns = vec![load(offset_of!(libc::seccomp_data, arch)), is_arch, ALLOW];
    insns.push(load(offset_of!(libc::seccomp_data, nr)));
    let mut on = |number: libc::c_long, then: &[Insn]| {
        // A call's block is left with a word on it: so the number is still there for the next.
        let len = u8::try_from(then.len()).unwrap_or(u8::MAX);
        insns.push(insn(JUMP_IF_EQUAL, low_half(number), 0, len));
        insns.extend(then);
    };
    let if_any_bit = |argument, bits: libc::c_int| {
        [load_argument(argument), insn(JUMP_IF_ANY_BIT, bits.cast_unsigned(), 1, 0), ALLOW, HOLD]
    };
    on(libc::SYS_sendto, &if_any_bit(3, libc::MSG_FASTOPEN));
    on(libc::SYS_sendmsg, &if_any_bit(2, libc::MSG_FASTOPEN));
    on(libc::SYS_sendmmsg, &if_any_bit(3, libc::MSG_FASTOPEN));
    on(libc::SYS_connect, &IF_ADDRESS_MAY_BE_INTERNET);
    on(libc::SYS_socket, &IF_INTERNET_AND_NO_STREAM);
    on(libc::SYS_unshare, &if_any_bit(0, libc::CLONE_NEWNET));
    on(libc::SYS_listen, &[HOLD]);
    on(libc::SYS_setns, &[HOLD]);
    insns.push(ALLOW);
    insns
}

/// An internet socket takes an address of 16 bytes or more. Of 110 bytes is `struct sockaddr_un`, and nothing else.
const IF_ADDRESS_MAY_BE_INTERNET: [Insn; 5] = [
    load_argument(2),
    insn(JUMP_IF_EQUAL, 110, 1, 0),
    insn(JUMP_IF_GREATER_OR_EQUAL, ADDRESS_LENS[0], 1, 0),
    ALLOW,
    HOLD,
];

const IF_INTERNET_AND_NO_STREAM: [Insn; 8] = [
    load_argument(0),
    insn(JUMP_IF_EQUAL, libc::AF_INET.cast_unsigned(), 1, 0),
    insn(JUMP_IF_EQUAL, libc::AF_INET6.cast_unsigned(), 0, 3),
    load_argument(1),
    insn(AND, SOCK_TYPE_MASK, 0, 0),
    insn(JUMP_IF_EQUAL, libc::SOCK_STREAM.cast_unsigned(), 0, 1),
    ALLOW,
    HOLD,
];

const ALLOW: Insn = insn(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0);
const HOLD: Insn = insn(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0);

const fn insn(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
    Insn { code, jt, jf, k }
}

/// The low word of an argument: an int is not more, and the kernel does not look at the rest.
const fn load_argument(number: usize) -> Insn {
    load(offset_of!(libc::seccomp_data, args) + number * size_of::<u64>() + LOW_WORD)
}

#[expect(clippy::cast_possible_truncation, reason = "an offset in a structure of 64 bytes")]
const fn load(offset: usize) -> Insn {
    insn(LOAD_WORD, offset as u32, 0, 0)
}

/// `sizeof(struct sockaddr_in)` and `sizeof(struct sockaddr_in6)`.
const ADDRESS_LENS: [u32; 2] = [16, 28];
/// include/linux/net.h.
const SOCK_TYPE_MASK: u32 = 0xf;
/// Where in a register's eight bytes the low word is.
const LOW_WORD: usize = if cfg!(target_endian = "big") { 4 } else { 0 };
/// include/uapi/linux/bpf_common.h: `BPF_JMP | BPF_JSET | BPF_K`.
const JUMP_IF_ANY_BIT: u16 = 0x45;
/// `BPF_ALU | BPF_AND | BPF_K`.
const AND: u16 = 0x54;

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
    fn verdict(arch: u32, number: i64, arguments: [u64; 6]) -> u32 {
        let insns = program(7);
        let (mut accumulator, mut at) = (0, 0);
        loop {
            let Insn { code, jt, jf, k } = insns[at];
            let jump = |holds: bool| usize::from(if holds { jt } else { jf });
            at += 1;
            match code {
                LOAD_WORD => {
                    accumulator = match k as usize {
                        0 => low_half(number),
                        4 => arch,
                        offset => int(arguments[(offset - 16) / 8]).cast_unsigned(),
                    }
                }
                AND => accumulator &= k,
                JUMP_IF_EQUAL => at += jump(accumulator == k),
                JUMP_IF_GREATER_OR_EQUAL => at += jump(accumulator >= k),
                JUMP_IF_ANY_BIT => at += jump(accumulator & k != 0),
                RETURN => return k,
                code => panic!("{code:#x}"),
            }
        }
    }

    fn holds(number: i64, arguments: &[i32]) -> bool {
        let mut registers = [0; 6];
        for (register, argument) in registers.iter_mut().zip(arguments) {
            // An int is half a register, and what is in the other does not count.
            *register = u64::from(argument.cast_unsigned()) | 0xab << 40;
        }
        assert_eq!(verdict(8, number, registers), libc::SECCOMP_RET_ALLOW, "another architecture");
        assert_eq!(verdict(7, number | 0x4000_0000, registers), libc::SECCOMP_RET_ALLOW, "x32");
        verdict(7, number, registers) == libc::SECCOMP_RET_USER_NOTIF
    }

    #[test]
    fn internet_sockets_that_may_send_at_once_are_held() {
        let (stream, datagram, raw, flags) = (1, 2, 3, 0o2_004_000);
        for family in [libc::AF_INET, libc::AF_INET6] {
            assert!(!holds(libc::SYS_socket, &[family, stream | flags, 0]));
            for kind in [datagram, datagram | flags, raw] {
                assert!(holds(libc::SYS_socket, &[family, kind, 0]), "{family} {kind}");
            }
        }
        for family in [libc::AF_UNIX, libc::AF_NETLINK, libc::AF_PACKET] {
            assert!(!holds(libc::SYS_socket, &[family, datagram, 0]), "{family}");
        }
    }

    #[test]
    fn connections_are_held_and_those_of_unix_mostly_not() {
        for (len, is_held) in
            [(0, false), (12, false), (15, false), (16, true), (28, true), (110, false), (128, true)]
        {
            assert_eq!(holds(libc::SYS_connect, &[3, 7, len]), is_held, "{len}");
        }
        assert!(holds(libc::SYS_listen, &[3, 128]));
        for (number, flags_at) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
            let mut arguments = [-1; 6];
            arguments[flags_at] = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
            assert!(!holds(number, &arguments));
            arguments[flags_at] |= libc::MSG_FASTOPEN;
            assert!(holds(number, &arguments));
        }
        for number in [libc::SYS_close, libc::SYS_write, libc::SYS_accept4, libc::SYS_bind, libc::SYS_execve]
        {
            assert!(!holds(number, &[-1; 6]), "{number}");
        }
    }

    #[test]
    fn whoever_goes_elsewhere_is_held() {
        assert!(holds(libc::SYS_setns, &[3]));
        assert!(holds(libc::SYS_unshare, &[libc::CLONE_NEWNET | libc::CLONE_NEWNS]));
        assert!(!holds(libc::SYS_unshare, &[libc::CLONE_NEWNS]));
    }

    #[test]
    fn a_wish_is_read_as_the_kernel_reads_it() {
        let arguments = [3, 2, 28, 4, 5, 6];
        assert_eq!(wish(libc::SYS_socket, arguments), Wish::Socket([3, 2, 28]));
        let connection = |has_internet_address| Wish::Connection { fd: 3, has_internet_address };
        assert_eq!(wish(libc::SYS_connect, arguments), connection(true));
        assert_eq!(wish(libc::SYS_connect, [3, 2, 128, 0, 0, 0]), connection(false));
        assert_eq!(wish(libc::SYS_listen, arguments), connection(false));
        assert_eq!(wish(libc::SYS_sendmsg, arguments), connection(false));
        assert_eq!(wish(libc::SYS_unshare, arguments), Wish::Namespace);
    }
}
