"""Connects in every way that comes to mind. Each connection is a line `PID PORT`, of the process that asked for it and the port that it has.

What a socket is asked for must come out as if nobody had looked on: results and errors are checked here.
"""
import ctypes
import errno
import os
import resource
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

SERVER, SERVER6 = ("198.51.100.2", 7), ("2001:db8:1::2", 7)
AF_UNSPEC_ADDRESS = bytes(16)
MSG_FASTOPEN, CLONE_FILES = 0x20000000, 0x400
libc = ctypes.CDLL(None, use_errno=True)


def say(s):
    os.write(1, b"%d %d\n" % (os.getpid(), s.getsockname()[1]))


def tcp(family=socket.AF_INET):
    return socket.socket(family, socket.SOCK_STREAM)


def connect(s=None, server=SERVER):
    s = s or tcp()
    s.connect(server)
    talk(s)


def talk(s):
    s.sendall(b"x")
    assert s.recv(1) == b"x"
    say(s)


def in_child(work, *arguments):
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{work.__name__}: {error!r}\n".encode())
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0, work.__name__


def in_thread(work, *arguments):
    failed = []

    def run():
        try:
            work(*arguments)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failed, failed


def call(function, *arguments):
    """Result and errno of a call as the kernel has them: Python would ask again."""
    ctypes.set_errno(0)
    return function(*arguments), ctypes.get_errno()


def address(host, port):
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)


def not_blocking():
    s = tcp()
    s.setblocking(False)
    there = address(*SERVER)
    result = call(libc.connect, s.fileno(), there, 16)
    assert result == (-1, errno.EINPROGRESS), result
    result = call(libc.connect, s.fileno(), there, 16)
    assert result == (0, 0) or result[1] in (errno.EALREADY, errno.EISCONN), result
    assert select.select([], [s], [], 60)[1]
    assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    s.setblocking(True)
    talk(s)
    result = call(libc.connect, s.fileno(), there, 16)
    assert result == (-1, errno.EISCONN), result


def twice_on_one_socket():
    s = tcp()
    result = call(libc.connect, s.fileno(), address(SERVER[0], 1), 16)
    assert result == (-1, errno.ECONNREFUSED), result
    # What it had before, nobody can ask it once it has another.
    s.connect(SERVER)
    assert call(libc.connect, s.fileno(), AF_UNSPEC_ADDRESS, 16) == (0, 0)
    connect(s)


def a_longer_address():
    s = tcp()
    assert call(libc.connect, s.fileno(), address(*SERVER) + bytes(112), 128) == (0, 0)
    talk(s)


def fast_open():
    s = tcp()
    assert s.sendto(b"x", MSG_FASTOPEN, SERVER) == 1
    assert s.recv(1) == b"x"
    say(s)
    s = tcp()
    assert s.sendmsg([b"x"], [], MSG_FASTOPEN, SERVER) == 1
    assert s.recv(1) == b"x"
    say(s)


def duplicated():
    s = tcp()
    high = 900
    os.dup2(s.fileno(), high)
    assert call(libc.connect, high, address(*SERVER), 16) == (0, 0)
    talk(s)


def passed_on():
    """The child connects what the parent has made."""
    one, other = socket.socketpair()

    def child():
        _, descriptors, _, _ = socket.recv_fds(other, 1, 1)
        connect(socket.socket(fileno=descriptors[0]))

    pid = os.fork()
    if pid == 0:
        child()
        os._exit(0)
    with tcp() as s:
        socket.send_fds(one, [b"x"], [s.fileno()])
    assert os.waitpid(pid, 0)[1] == 0


def descriptors_of_its_own():
    assert libc.unshare(CLONE_FILES) == 0
    connect()


def without_leader():
    """The first thread ends, and its process goes on."""
    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
        return
    leader = os.getpid()

    def rest():
        while open(f"/proc/{leader}/stat").read().rpartition(") ")[2][0] != "Z":
            time.sleep(0.001)
        connect()
        os._exit(0)

    threading.Thread(target=rest).start()
    libc.syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)


def another_user():
    connect()
    os.setgroups([])
    os.setuid(65534)
    connect()


def stopped():
    """A child connects all the time, and is stopped and goes on all the time."""
    pid = os.fork()
    if pid == 0:
        for _ in range(300):
            s = tcp()
            s.connect(SERVER)
            say(s)
            s.close()
        os._exit(0)
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.0005)


def crowd():
    def some():
        for _ in range(50):
            connect()

    threads = [threading.Thread(target=some) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def errors():
    there = address(*SERVER)
    assert call(libc.connect, 999, there, 16) == (-1, errno.EBADF)
    assert call(libc.listen, 999, 1) == (-1, errno.EBADF)
    with open("/proc/self/status") as file:
        assert call(libc.connect, file.fileno(), there, 16) == (-1, errno.ENOTSOCK)
        assert call(libc.listen, file.fileno(), 1) == (-1, errno.ENOTSOCK)
    with tcp() as s:
        assert call(libc.connect, s.fileno(), None, 16) == (-1, errno.EFAULT)
        assert call(libc.connect, s.fileno(), there, -1) == (-1, errno.EINVAL)
        assert call(libc.connect, s.fileno(), there, 15) == (-1, errno.EINVAL)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        assert call(libc.listen, s.fileno(), 1) == (-1, errno.EOPNOTSUPP)
    for arguments in [(2, 1, 17), (2, 2, 6), (10, 2, 6), (2, 77, 0)]:
        result, error = call(libc.socket, *arguments)
        assert result == -1 and error in (errno.EPROTONOSUPPORT, errno.EINVAL, errno.ESOCKTNOSUPPORT), error


def no_more_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    for kind in (1, 2):
        assert call(libc.socket, 2, kind, 0) == (-1, errno.EMFILE)


def unix():
    directory = tempfile.mkdtemp()
    # As long as an address of IPv4, of IPv6, and another.
    for len_of_path in (13, 25, 40):
        os.chdir(directory)
        path = "x" * len_of_path
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as s:
            listener.bind(path)
            listener.listen()
            s.connect(path)
            listener.accept()[0].sendall(b"y")
            assert s.recv(1) == b"y"
        os.unlink(path)
    os.rmdir(directory)


for work in (errors, unix, no_more_descriptors, not_blocking, twice_on_one_socket, a_longer_address, fast_open, duplicated, another_user):
    in_child(work)
for work in (errors, connect, not_blocking, descriptors_of_its_own):
    in_thread(work)
connect(tcp(socket.AF_INET6), SERVER6)
passed_on()
without_leader()
stopped()
crowd()
