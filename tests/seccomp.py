"""seccomp.py RULE PROGRAM [ARGUMENT...]: becomes PROGRAM, under a filter on system calls as others install them.

Each rule is a short program for classic BPF over `struct seccomp_data` (seccomp(2)): number of the system call at 0, machine at 4, low
half of the first argument at 16, of the second at 24, of the third at 32 (little-endian machines). `listener` holds nothing, and has calls told
to whoever has the descriptor (seccomp_unotify(2)): there is one such filter to a process.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

LOAD, IF_EQUAL, IF_ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, KILL = 0x7FFF0000, 0x80000000
NUMBER, FIRST, SECOND, THIRD = 0, 16, 24, 32
UNSHARE, CLONE, SOCKET, SECCOMP = {"x86_64": (272, 56, 41, 317), "aarch64": (97, 220, 198, 277)}[platform.machine()]
NEW_LISTENER = 0x8
CLONE_NEWUSER = 0x10000000
AF_INET6, AF_NETLINK, AF_PACKET, NETLINK_NETFILTER = 10, 16, 17, 12


def fail(number):
    return 0x00050000 | number


def user_namespaces(verdict):
    """unshare(2) as a whole, and clone(2) with CLONE_NEWUSER: what Docker's default profile has for those without CAP_SYS_ADMIN."""
    return [
        (LOAD, 0, 0, NUMBER),
        (IF_EQUAL, 3, 0, UNSHARE),
        (IF_EQUAL, 0, 3, CLONE),
        (LOAD, 0, 0, FIRST),
        (IF_ANY_BIT, 0, 1, CLONE_NEWUSER),
        (RETURN, 0, 0, verdict),
        (RETURN, 0, 0, ALLOW),
    ]


def sockets(family, protocol, verdict):
    """socket(2) of a family, and of one protocol if it is not None."""
    third = [] if protocol is None else [(LOAD, 0, 0, THIRD), (IF_EQUAL, 0, 1, protocol)]
    return [
        (LOAD, 0, 0, NUMBER),
        (IF_EQUAL, 0, 3 + len(third), SOCKET),
        (LOAD, 0, 0, FIRST),
        (IF_EQUAL, 0, 1 + len(third), family),
        *third,
        (RETURN, 0, 0, verdict),
        (RETURN, 0, 0, ALLOW),
    ]


def seccomp_flags(flags, verdict):
    """seccomp(2) with any of these."""
    return [
        (LOAD, 0, 0, NUMBER),
        (IF_EQUAL, 0, 3, SECCOMP),
        (LOAD, 0, 0, SECOND),
        (IF_ANY_BIT, 0, 1, flags),
        (RETURN, 0, 0, verdict),
        (RETURN, 0, 0, ALLOW),
    ]


RULES = {
    "refuse-user-namespaces": user_namespaces(fail(errno.EPERM)),
    "kill-for-user-namespaces": user_namespaces(KILL),
    "no-netfilter": sockets(AF_NETLINK, NETLINK_NETFILTER, fail(errno.EPROTONOSUPPORT)),
    "no-ipv6": sockets(AF_INET6, None, fail(errno.EAFNOSUPPORT)),
    "no-packet-sockets": sockets(AF_PACKET, None, fail(errno.EAFNOSUPPORT)),
    "listener": [(RETURN, 0, 0, ALLOW)],
    "no-listeners": seccomp_flags(NEW_LISTENER, fail(errno.EINVAL)),
}


def install(insns, flags):
    """prctl(2): PR_SET_NO_NEW_PRIVS; seccomp(2): SECCOMP_SET_MODE_FILTER with a struct sock_fprog. Who gets a listener keeps it."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *insn) for insn in insns))
    program = struct.pack("HP", len(insns), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) == 0:
        result = libc.syscall(SECCOMP, 1, flags, program)
        if result >= 0:
            return flags and os.set_inheritable(result, True)
    sys.exit(f"seccomp.py: {os.strerror(ctypes.get_errno())}")


install(RULES[sys.argv[1]], NEW_LISTENER if sys.argv[1] == "listener" else 0)
os.execvp(sys.argv[2], sys.argv[2:])
