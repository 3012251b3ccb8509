"""A program that tries to get into its tracer: front, its parent, and worker, its brother. Prints who could be reached, and how often not."""

import ctypes
import os
import socket

libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PROCESS_VM_READV, PIDFD_GETFD = 0x4206, 310, 438  # x86_64; pidfd_getfd is the same everywhere


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")


def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])


def read_memory(pid):
    buffer = ctypes.create_string_buffer(1)
    ours, theirs = Iovec(ctypes.addressof(buffer), 1), Iovec(0x400000, 1)
    checked(libc.syscall(PROCESS_VM_READV, pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))


ATTEMPTS = {
    "mem": lambda pid: open(f"/proc/{pid}/mem", "rb"),
    "fd": lambda pid: os.open(f"/proc/{pid}/fd/0", os.O_RDONLY),
    "environ": lambda pid: open(f"/proc/{pid}/environ").read(),
    "ns": lambda pid: os.readlink(f"/proc/{pid}/ns/net"),
    "ptrace": lambda pid: checked(libc.ptrace(PTRACE_SEIZE, pid, None, None)),
    "process_vm_readv": read_memory,
    "pidfd_getfd": lambda pid: checked(libc.syscall(PIDFD_GETFD, os.pidfd_open(pid), 0, 0)),
}



def say_to_netlink(port):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as ours:
        ours.sendto(bytes(16), (port, 0))


def say_to_packet(_port):
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)


# Sockets in this namespace that nobody in it has made are ours: rtnetlink and the like by their ports, and none that has a name.
ports = {line.split()[2] for line in open("/proc/net/netlink").readlines()[1:]} - {"0"}
names = [line for line in open("/proc/net/unix").readlines()[1:] if "@" in line]
print("ports of ours" if ports else "no port of ours", len(names))
for attempt in [say_to_netlink, say_to_packet]:
    for port in map(int, ports):
        try:
            attempt(port)
            print("reached", port, "by", attempt.__name__)
        except PermissionError:
            pass

front = os.getppid()
everybody = [int(name) for name in os.listdir("/proc") if name.isdigit()]
brothers = [pid for pid in everybody if pid != os.getpid() and parent(pid) == front]
refused = 0
for pid in [front, *brothers]:
    for name, attempt in ATTEMPTS.items():
        try:
            attempt(pid)
            print("reached", "front" if pid == front else "worker", "by", name)
        except PermissionError:
            refused += 1
print("refused", refused)
