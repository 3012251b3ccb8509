//! System calls that a process gives up for good.
//!
//! # Theory of operation
//! A list of what is forbidden, not of what is allowed: a libc or a kernel that does the usual things by new calls goes on. What is on
//! it, nothing in nsntrace does once a trace runs, and somebody who had got into it would do next.
//!
//! # Kernel interface
//! seccomp(2) `SECCOMP_SET_MODE_FILTER` with `SECCOMP_FILTER_FLAG_TSYNC` (all threads, Linux 3.17) and `SECCOMP_FILTER_FLAG_SPEC_ALLOW` (no
//! slower memory, Linux 4.17); `struct seccomp_data` of include/uapi/linux/seccomp.h. Needs `PR_SET_NO_NEW_PRIVS`.

use std::io;
use std::mem::offset_of;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use crate::packet::Insn;

/// Forbids every thread of this process to start programs, to look into other processes, and to change mounts, namespaces, clocks or
/// the kernel: such a call fails with `EPERM`.
///
/// # Errors
/// `ENOSYS` or `EINVAL` where the kernel has no filters for system calls, `EACCES` without `PR_SET_NO_NEW_PRIVS`. In words: the calls of
/// this machine are numbered in a way that is not known here.
pub fn confine() -> io::Result<()> {
    confine_to(FORBIDDEN)
}

/// The same, but for pidfd_getfd(2): whoever is to say whose a socket is takes a descriptor of it.
///
/// # Errors
/// As [`confine`].
pub fn confine_but_for_descriptors() -> io::Result<()> {
    let forbidden: Vec<_> =
        FORBIDDEN.iter().copied().filter(|&number| number != libc::SYS_pidfd_getfd).collect();
    confine_to(&forbidden)
}

fn confine_to(forbidden: &[libc::c_long]) -> io::Result<()> {
    let audit_arch = AUDIT_ARCH.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    let program = program(audit_arch, forbidden);
    match install(&program, libc::SECCOMP_FILTER_FLAG_TSYNC | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) {
        // Before Linux 4.17.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            install(&program, libc::SECCOMP_FILTER_FLAG_TSYNC)
        }
        installed => installed,
    }
}

fn install(program: &[Insn], flags: libc::c_ulong) -> io::Result<()> {
    match set_filter(program, flags)? {
        0 => Ok(()),
        // With TSYNC a positive number is a thread that has filters of its own.
        _ => Err(io::Error::other("another thread has filters of its own")),
    }
}

/// Adds a filter to those of the calling thread, and gives its listener.
pub(crate) fn install_listener(program: &[Insn], flags: libc::c_ulong) -> io::Result<OwnedFd> {
    let fd = set_filter(program, flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
    // SAFETY: with this flag the result is a new descriptor, which is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_filter(program: &[Insn], flags: libc::c_ulong) -> io::Result<RawFd> {
    let len = u16::try_from(program.len()).map_err(|_too_long| io::Error::from_raw_os_error(libc::EINVAL))?;
    // The kernel copies the program and does not write to it; the field lacks its `const`.
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the kernel reads `filter` and the `len` instructions it points to, which outlive the call.
    let done =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) };
    // A descriptor or a thread's number, which are ints.
    RawFd::try_from(done).ok().filter(|&result| result >= 0).ok_or_else(io::Error::last_os_error)
}

/// Allows what is not in `forbidden`. Calls of another architecture, which have other numbers, are forbidden altogether.
fn program(audit_arch: u32, forbidden: &[libc::c_long]) -> Vec<Insn> {
    let load = |offset: usize| Insn { code: LOAD_WORD, jt: 0, jf: 0, k: low_half(offset) };
    let give = |k| Insn { code: RETURN, jt: 0, jf: 0, k };
    let refuse = give(libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs());
    // The next instruction is for whoever is to be refused.
    let unless_equal = |k| Insn { code: JUMP_IF_EQUAL, jt: 0, jf: 1, k };
    let mut insns = vec![load(offset_of!(libc::seccomp_data, arch))];
    insns.push(Insn { code: JUMP_IF_EQUAL, jt: 1, jf: 0, k: audit_arch });
    insns.push(refuse);
    insns.push(load(offset_of!(libc::seccomp_data, nr)));
    // x32's numbers are those of x86_64 with a bit set; no other architecture has so many.
    insns.extend([Insn { code: JUMP_IF_GREATER_OR_EQUAL, jt: 0, jf: 1, k: X32_BIT }, refuse]);
    for &number in forbidden {
        insns.extend([unless_equal(low_half(number)), refuse]);
    }
    insns.push(give(libc::SECCOMP_RET_ALLOW));
    insns
}

pub(crate) fn low_half<T: TryInto<u32>>(number: T) -> u32 {
    // An offset in a structure of 64 bytes, or the number of a system call.
    number.try_into().unwrap_or(u32::MAX)
}

/// include/uapi/linux/bpf_common.h: `BPF_LD | BPF_W | BPF_ABS`.
pub(crate) const LOAD_WORD: u16 = 0x20;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub(crate) const JUMP_IF_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGE | BPF_K`.
pub(crate) const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
/// `BPF_RET | BPF_K`.
pub(crate) const RETURN: u16 = 0x06;
/// arch/x86/include/uapi/asm/unistd.h: `__X32_SYSCALL_BIT`.
const X32_BIT: u32 = 0x4000_0000;

/// include/uapi/linux/audit.h.
pub(crate) const AUDIT_ARCH: Option<u32> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(0xc000_003e)
} else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
    Some(0xc000_00b7)
} else {
    None
};

const FORBIDDEN: &[libc::c_long] = &[
    // Programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    // The kernel and the machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // What the kernel does for others behind a filter's back, or was often attacked by.
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
];

/// `kexec_file_load`, which libc does not name for aarch64 with musl: include/uapi/asm-generic/unistd.h.
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: libc::c_long = 294;
#[cfg(not(target_arch = "aarch64"))]
const KEXEC_FILE_LOAD: libc::c_long = libc::SYS_kexec_file_load;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program says to a call: a machine for the few instructions that it uses.
    fn verdict(insns: &[Insn], arch: u32, number: u32) -> u32 {
        let (mut accumulator, mut at) = (0, 0);
        loop {
            let Insn { code, jt, jf, k } = insns[at];
            let jump = |holds: bool| usize::from(if holds { jt } else { jf });
            at += 1;
            match code {
                LOAD_WORD => accumulator = if k == 0 { number } else { arch },
                JUMP_IF_EQUAL => at += jump(accumulator == k),
                JUMP_IF_GREATER_OR_EQUAL => at += jump(accumulator >= k),
                _ => return k,
            }
        }
    }

    #[test]
    fn what_is_listed_is_refused_and_nothing_else() {
        let insns = program(7, &[59, 101]);
        let refused = libc::SECCOMP_RET_ERRNO | 1;
        for number in 0..200 {
            let expected = if [59, 101].contains(&number) { refused } else { libc::SECCOMP_RET_ALLOW };
            assert_eq!(verdict(&insns, 7, number), expected, "{number}");
        }
        assert_eq!(verdict(&insns, 8, 0), refused, "another architecture");
        assert_eq!(verdict(&insns, 7, X32_BIT), refused, "x32");
        assert_eq!((offset_of!(libc::seccomp_data, nr), offset_of!(libc::seccomp_data, arch)), (0, 4));
    }
}
