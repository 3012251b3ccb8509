"""Runs nsntrace and has the kernel refuse one system call of it: `refuse.py REPORT ROLE SYSCALL NUMBER ERRNO COMMAND...`.

Calls are counted for each role: `front` from its first getdents64(2) on, behind the loader and Rust's run time; `worker` with its threads;
 and `program` up to its exec, when it is let go. The call of that NUMBER is not made and gives ERRNO; close(2) is made, since it closes whatever it says. REPORT gets a line
`ROLE SYSCALL COUNT` for each system call that was counted. Exits as front does.

ptrace(2), for strace counts the calls of each thread for itself and cannot tell processes apart. x86_64: the call's number and
its result are in registers (struct user, sys/user.h). Linux 5.3 (PTRACE_GET_SYSCALL_INFO).
"""

import collections
import ctypes
import errno
import os
import re
import signal
import struct
import sys

CONT_SYSCALL, DETACH, POKEUSER = 24, 17, 6
GETEVENTMSG, SEIZE, LISTEN, GET_SYSCALL_INFO = 0x4201, 0x4206, 0x4208, 0x420E
EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_STOP = 1, 2, 3, 4, 128
OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x100000  # SYSGOOD, FORK, VFORK, CLONE, EXEC, EXITKILL
ENTRY, EXIT = 1, 2
ORIG_RAX, RAX = 15 * 8, 10 * 8
WALL = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, tid, address=0, data=0):
    """False if the thread is gone."""
    return libc.ptrace(request, tid, address, data) >= 0


def names_of_syscalls():
    header = open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read()
    return {int(number): name for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header)}


class Tracer:
    def __init__(self, role, syscall, number, refusal):
        self.wanted, self.number, self.refusal = (role, syscall), number, refusal
        self.names = names_of_syscalls()
        self.counts = collections.Counter()
        self.roles = {}  # by tid; None for what is not counted (yet)
        self.early = {}  # stopped threads whose birth was not told yet
        self.refused = {}  # tid: the result that the call is to have
        self.is_begun = False
        self.born = 0
        self.status = 0

    def run(self, front):
        self.front = front
        self.roles[front] = None
        while True:
            try:
                tid, status = os.waitpid(-1, WALL)
            except ChildProcessError:
                return
            if not os.WIFSTOPPED(status):
                if tid == front:
                    self.status = status
            elif tid in self.roles:
                self.stopped(tid, status)
            else:
                self.early[tid] = status

    def stopped(self, tid, status):
        number, event = os.WSTOPSIG(status), status >> 16
        if event in (EVENT_FORK, EVENT_VFORK, EVENT_CLONE):
            self.birth(tid, event)
        elif event == EVENT_EXEC:
            if self.exec(tid):
                return
        elif event == EVENT_STOP:
            if number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
                ptrace(LISTEN, tid)
                return
        elif number == signal.SIGTRAP | 0x80:
            self.syscall(tid)
        else:
            ptrace(CONT_SYSCALL, tid, 0, number)
            return
        ptrace(CONT_SYSCALL, tid)

    def birth(self, parent, event):
        message = ctypes.c_ulong()
        ptrace(GETEVENTMSG, parent, 0, ctypes.addressof(message))
        child, role = message.value, self.roles[parent]
        if event != EVENT_CLONE and role == "front":
            self.born += 1
            role = {1: "worker", 2: "program"}.get(self.born)
        self.roles[child] = role
        if child in self.early:
            self.stopped(child, self.early.pop(child))

    def exec(self, tid):
        """True if the process is none of ours any more."""
        if self.roles[tid] == "program":
            ptrace(DETACH, tid)
            return True
        self.is_begun = open(f"/proc/{tid}/comm").read() == "nsntrace\n"
        return False

    def syscall(self, tid):
        info = ctypes.create_string_buffer(88)
        libc.ptrace(GET_SYSCALL_INFO, tid, len(info), ctypes.addressof(info))
        if info.raw[0] == EXIT and tid in self.refused:
            ptrace(POKEUSER, tid, RAX, self.refused.pop(tid))
        if info.raw[0] != ENTRY:
            return
        name = self.names.get(struct.unpack_from("Q", info.raw, 24)[0], "?")
        if tid == self.front and self.is_begun and name == "getdents64":
            self.roles[tid] = "front"
        if not self.roles[tid]:
            return
        key = (self.roles[tid], name)
        self.counts[key] += 1
        if key == self.wanted and self.counts[key] == self.number:
            self.refused[tid] = 2**64 - self.refusal
            if name != "close":
                ptrace(POKEUSER, tid, ORIG_RAX, 2**64 - 1)


def start(command):
    """The command's process, which waits until the pipe is closed."""
    held, barrier = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(barrier)
        os.read(held, 1)
        os.close(held)
        os.execvp(command[0], command)
    os.close(held)
    return pid, barrier


def main():
    report, role, syscall, number, refusal, *command = sys.argv[1:]
    front, barrier = start(command)
    tracer = Tracer(role, syscall, int(number), getattr(errno, refusal))
    ptrace(SEIZE, front, 0, OPTIONS)
    os.close(barrier)
    tracer.run(front)
    with open(report, "w") as file:
        for (role, name), count in sorted(tracer.counts.items()):
            print(role, name, count, file=file)
    status = os.waitstatus_to_exitcode(tracer.status)
    sys.exit(status if status >= 0 else 128 - status)


main()
