"""The servers of the internet, one process: HTTP, echo, sink, generator, DNS.

usage: servers.py {wan|dns} IPV6 ADDRESS...

`wan` serves everything, `dns` only DNS. TCP listens on every address, UDP on each ADDRESS by itself, so that answers leave
from the address that was asked. "ready" is printed once all of it listens. DNS knows *.lab.test (the first IPv4 and
the first IPv6 ADDRESS), neutral.test, alias.test, which is another name of www.lab.test, and big.lab.test TXT, whose answer needs TCP; it fails
for broken.test and is silent about silent.test; all else is NXDOMAIN.
"""
import random
import socket
import struct
import sys
import threading

MODE, IPV6, ADDRESSES = sys.argv[1], sys.argv[2] == "1", sys.argv[3:]
BLOCK = random.Random(1).randbytes(1 << 16)
seen = {"sink": 0, "dns": 0}
payloads = set()


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def start(work, *args):
    threading.Thread(target=work, args=args, daemon=True).start()


def serve_tcp(port, talk, addresses=None):
    for address in addresses or (["::"] if IPV6 else ["0.0.0.0"]):
        listener = socket.socket(family(address), socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, port))
        listener.listen(512)
        start(accept, listener, talk)


def accept(listener, talk):
    while True:
        connection, peer = listener.accept()
        start(converse, connection, peer, talk)


def converse(connection, peer, talk):
    try:
        with connection:
            talk(connection, peer)
    except OSError:
        pass  # The client left; that is its right.


def serve_udp(port, answer):
    for address in ADDRESSES:
        sock = socket.socket(family(address), socket.SOCK_DGRAM)
        # A test that counts datagrams must not lose one to a full buffer. SO_RCVBUFFORCE = 33.
        sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)
        sock.bind((address, port))
        start(receive, sock, answer)


def receive(sock, answer):
    while True:
        datagram, peer = sock.recvfrom(65535)
        try:
            answer(sock, datagram, peer)
        except OSError:
            pass  # An ICMP error of an earlier answer.


def http(connection, peer):
    stream = connection.makefile("rb")
    while request := stream.readline():
        while stream.readline() not in (b"\r\n", b"\n", b""):
            pass
        respond(connection, request.split()[1].decode(), peer[0].removeprefix("::ffff:"))


def respond(connection, path, peer):
    if path.startswith("/bytes/"):
        return send_body(connection, int(path[7:]))
    texts = {
        "/whoami": peer,
        "/sink": f"{seen['sink']} {len(payloads)}",
        "/dns": str(seen["dns"]),
    }
    body = (texts.get(path, "hello from the lab") + "\n").encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def send_body(connection, size):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    while size:
        size -= connection.send(BLOCK[:size])


def echo_tcp(connection, _peer):
    while chunk := connection.recv(65536):
        connection.sendall(chunk)


def echo_udp(sock, datagram, peer):
    sock.sendto(datagram, peer)


def sink(_sock, datagram, _peer):
    seen["sink"] += 1
    payloads.add(datagram[:32])


def generate(sock, datagram, peer):
    """`COUNT SIZE` asks for COUNT datagrams of SIZE bytes; each starts with its number."""
    count, size = map(int, datagram.split())
    for number in range(count):
        sock.sendto(b"%08d" % number + bytes(size - 8), peer)
        if number % 50 == 49:
            threading.Event().wait(0.001)  # The veth's queue holds 1000 packets.


def records(name, qtype):
    """The answers' data, or None for a name that does not exist."""
    name = name.lower()
    if name == "neutral.test":
        values = ["192.0.2.1"] + (["2001:db8:ff::1"] if IPV6 else [])
    elif name.endswith(".lab.test"):
        values = ["198.51.100.2"] + (["2001:db8:1::2"] if IPV6 else [])
    else:
        return None
    if qtype == 16:
        lines = 20 if name == "big.lab.test" else 1
        return [bytes([90]) + b"%02d" % n + b"x" * 88 for n in range(lines)]
    wanted = {1: socket.AF_INET, 28: socket.AF_INET6}.get(qtype)
    return [socket.inet_pton(wanted, v) for v in values if family(v) == wanted]


def resolve(query, limit):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("latin1"))
        at += query[at] + 1
    (qtype,) = struct.unpack("!H", query[at + 1 : at + 3])
    question = query[12 : at + 5]
    name = ".".join(labels).lower()
    found = records("www.lab.test" if name == "alias.test" else name, qtype)
    flags = 0x8580 | (2 if name == "broken.test" else 3 if found is None else 0)
    owner, body, count = b"\xc0\x0c", b"", len(found or [])
    if name == "alias.test":
        target = b"\x03www\x03lab\x04test\x00"
        body = owner + struct.pack("!HHIH", 5, 1, 5, len(target)) + target
        # The alias stands behind the question, and what it leads to behind the record's head.
        owner, count = struct.pack("!H", 0xC000 | 12 + len(question) + 12), count + 1
    body += b"".join(owner + struct.pack("!HHIH", qtype, 1, 5, len(d)) + d for d in found or [])
    if limit and 12 + len(question) + len(body) > limit:
        flags, body, count = flags | 0x0200, b"", 0
    return query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + question + body


def dns_udp(sock, datagram, peer):
    seen["dns"] += 1
    if b"\x06silent\x04test" in datagram:
        return
    sock.sendto(resolve(datagram, 512), peer)


def dns_tcp(connection, _peer):
    stream = connection.makefile("rb")
    while len(header := stream.read(2)) == 2:
        seen["dns"] += 1
        answer = resolve(stream.read(struct.unpack("!H", header)[0]), None)
        connection.sendall(struct.pack("!H", len(answer)) + answer)


serve_udp(53, dns_udp)
serve_tcp(53, dns_tcp, ADDRESSES if MODE == "dns" else None)
if MODE == "wan":
    serve_tcp(80, http)
    serve_tcp(7, echo_tcp)
    serve_udp(7, echo_udp)
    serve_udp(9, sink)
    serve_udp(19, generate)
print("ready", flush=True)
sys.stdin.read()
