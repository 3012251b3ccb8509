"""Makes sockets in ways that a filter on system calls does not see, or sees of somebody else. Each that is used is a line `PID PORT` of whoever
is to be told: its maker, or who holds it. All go on sending until standard input ends: who holds a socket is looked up while it lives.
"""
import ctypes
import errno
import mmap
import os
import platform
import socket
import struct
import sys
import threading
import time

ECHO, SINK = ("198.51.100.2", 7), ("198.51.100.2", 9)
CLONE_NEWNET, CLONE_NEWUSER, CLONE_NEWPID, X32 = 0x40000000, 0x10000000, 0x20000000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
using = []


def say(s, pid=None):
    os.write(1, b"%d %d\n" % (pid or os.getpid(), s.getsockname()[1]))


def use(s):
    """Sends for ever."""
    os.set_blocking(s.fileno(), False)
    while True:
        try:
            s.send(b"x")
            s.recv(1000)
        except (BlockingIOError, ConnectionRefusedError):
            pass
        time.sleep(0.05)


def child(work, *arguments):
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        try:
            work(*arguments)
        except BaseException as error:
            os.write(2, f"{work.__name__}: {error!r}\n".encode())
        os._exit(1)
    using.append(pid)
    return pid


def address(there):
    return struct.pack("=H", 2) + struct.pack("!H", there[1]) + socket.inet_aton(there[0]) + bytes(8)


class I386:
    """System calls of i386 (`int $0x80`), which any process of x86_64 can make. Pointers are below 4 GiB."""

    # push rbx; mov eax, edi; mov ebx, esi; xchg ecx, edx: ecx = third, edx = fourth; int 0x80; pop rbx; ret
    CODE = bytes.fromhex("53 89f8 89f3 89d6 89ca 89f1 cd80 5b c3".replace(" ", ""))
    SOCKETCALL, SOCKET, CONNECT = 102, 359, 362
    MAP_32BIT = 0x40

    def __init__(self):
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | self.MAP_32BIT
        self.memory = mmap.mmap(-1, 4096, flags, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self.memory[: len(self.CODE)] = self.CODE
        self.at = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.function = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int] * 4)(self.at)

    def call(self, number, *arguments):
        result = self.function(number, *(list(arguments) + [0, 0, 0])[:3])
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    def data(self, content, offset=1024):
        self.memory[offset : offset + len(content)] = content
        return self.at + offset

    def connected(self, kind, there, by_socketcall):
        """A socket of Python's, made and connected by this."""
        name, made = self.data(address(there)), (2, kind, 0)
        if by_socketcall:
            fd = self.call(self.SOCKETCALL, 1, self.data(struct.pack("=3I", *made), 2048))
            self.call(self.SOCKETCALL, 3, self.data(struct.pack("=3I", fd, name, 16), 2048))
        else:
            fd = self.call(self.SOCKET, *made)
            self.call(self.CONNECT, fd, name, 16)
        return socket.socket(fileno=fd)


def i386(kind, there, by_socketcall):
    s = I386().connected(kind, there, by_socketcall)
    say(s)
    use(s)


class Ring:
    """One request of io_uring(7) at a time. A kernel without it fails the test."""

    SETUP, ENTER, CONNECT, SOCKET, GETEVENTS = 425, 426, 16, 45, 1

    def __init__(self):
        parameters = ctypes.create_string_buffer(120)
        self.fd = libc.syscall(self.SETUP, 1, parameters)
        assert self.fd >= 0, os.strerror(ctypes.get_errno())
        words = struct.unpack("=30I", parameters.raw)
        entries, self.sq, self.cq = words[:2], words[10:20], words[20:30]
        flags, access = mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE
        self.submissions = mmap.mmap(self.fd, self.sq[6] + 4 * entries[0], flags, access, offset=0)
        self.completions = mmap.mmap(self.fd, self.cq[5] + 16 * entries[1], flags, access, offset=0x8000000)
        self.entries = mmap.mmap(self.fd, 64 * entries[0], flags, access, offset=0x10000000)

    def ask(self, operation, fd, offset, pointer, len_or_protocol):
        """What the call of that name returns."""
        self.entries[:64] = struct.pack("=BBHiQQI36x", operation, 0, 0, fd, offset, pointer, len_or_protocol)
        (tail,) = struct.unpack_from("=I", self.submissions, self.sq[1])
        struct.pack_into("=I", self.submissions, self.sq[6], 0)
        struct.pack_into("=I", self.submissions, self.sq[1], tail + 1)
        assert libc.syscall(self.ENTER, self.fd, 1, 1, self.GETEVENTS, None, 0) == 1
        (head, mask) = (struct.unpack_from("=I", self.completions, self.cq[place])[0] for place in (0, 2))
        _, result, _ = struct.unpack_from("=QiI", self.completions, self.cq[5] + 16 * (head & mask))
        struct.pack_into("=I", self.completions, self.cq[0], head + 1)
        assert result >= 0, os.strerror(-result)
        return result


def io_uring(kind, there):
    ring, name = Ring(), ctypes.create_string_buffer(address(there), 16)
    fd = ring.ask(Ring.SOCKET, socket.AF_INET, kind, 0, 0)
    ring.ask(Ring.CONNECT, fd, 16, ctypes.addressof(name), 0)
    s = socket.socket(fileno=fd)
    say(s)
    use(s)


def in_a_pid_namespace():
    """It has a number there, and is known by the one that it has here."""
    assert libc.unshare(CLONE_NEWPID) == 0
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.write(writer, b"%d" % pid)
        time.sleep(3600)
    here = int(os.read(reader, 20))
    assert os.getpid() == 1
    for kind, there in ((socket.SOCK_DGRAM, SINK), (socket.SOCK_STREAM, ECHO)):
        s = socket.socket(socket.AF_INET, kind)
        s.connect(there)
        say(s, here)
        threading.Thread(target=use, args=(s,)).start()
    time.sleep(3600)


def x32():
    """Hardly any kernel has it."""
    fd = libc.syscall(X32 | 41, 2, 2, 0)
    if fd < 0:
        assert ctypes.get_errno() == errno.ENOSYS
        time.sleep(3600)
    s = socket.socket(fileno=fd)
    s.connect(SINK)
    say(s)
    use(s)


def passed_on():
    """A datagram socket stays its maker's, a connection his who connected it."""
    one, other = socket.socketpair()
    if os.fork() == 0:
        _, descriptors, _, _ = socket.recv_fds(other, 1, 2)
        udp, tcp = (socket.socket(fileno=fd) for fd in descriptors)
        threading.Thread(target=use, args=(udp,)).start()
        use(tcp)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.create_connection(ECHO) as tcp:
        udp.connect(SINK)
        say(udp)
        say(tcp)
        socket.send_fds(one, [b"x"], [udp.fileno(), tcp.fileno()])
    time.sleep(3600)


def elsewhere():
    """What is made in another network namespace is there, and back here it is ours again; what was made here before, too."""
    before = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert libc.unshare(CLONE_NEWNET) == 0
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as s:
            # Not even its loopback is up.
            assert s.connect_ex(SINK) == errno.ENETUNREACH
    before.connect(SINK)
    say(before)
    assert libc.setns(here, 0) == 0
    after = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    after.connect(SINK)
    say(after)
    threading.Thread(target=use, args=(before,)).start()
    use(after)


def another_user_namespace():
    assert libc.unshare(CLONE_NEWUSER) == 0
    for kind, there in ((socket.SOCK_DGRAM, SINK), (socket.SOCK_STREAM, ECHO)):
        s = socket.socket(socket.AF_INET, kind)
        s.connect(there)
        say(s)
        threading.Thread(target=use, args=(s,)).start()
    time.sleep(3600)


def nobodys():
    """Connections that are over before anybody could look who holds them; nobody saw them made: their addresses are as long as those of unix sockets."""
    for _ in range(100):
        with socket.socket() as s:
            assert libc.connect(s.fileno(), address(ECHO) + bytes(94), 110) == 0


nobodys()
if platform.machine() == "x86_64":
    for by_socketcall in (False, True):
        child(i386, socket.SOCK_STREAM, ECHO, by_socketcall)
        child(i386, socket.SOCK_DGRAM, SINK, by_socketcall)
    child(x32)
child(io_uring, socket.SOCK_STREAM, ECHO)
child(io_uring, socket.SOCK_DGRAM, SINK)
child(in_a_pid_namespace)
child(passed_on)
child(elsewhere)
child(another_user_namespace)
sys.stdin.read()
for pid in using:
    os.killpg(pid, 9)
