"""Reads a capture file block by block, refuses whatever the specifications do not allow, and prints what is in it as JSON.

usage: blocks.py [--torn] FILE

Written from draft-ietf-opsawg-pcapng-03 (pcapng) and draft-ietf-opsawg-pcap-04 (pcap); for what Apple adds (process blocks, packet option
0x8001) from bsd/net/pktap.h of XNU and from what Wireshark's wiretap/pcapng.c reads. It shares nothing with what writes our files.
Blocks, options and values that a specification allows and that we do not write are refused too: they would be a mistake.

With --torn the file may end within a block, as one does whose writer was killed; "torn" says how many bytes that are.
A file that begins as gzip does is unpacked first; each member's checksum and length have to be right.
"""
import gzip
import io
import ipaddress
import json
import struct
import sys

SECTION, INTERFACE, NAMES, STATISTICS, PACKET, SECRETS, PROCESS = 0x0A0D0D0A, 1, 4, 5, 6, 10, 0x80000001
KINDS = {
    SECTION: "section", INTERFACE: "interface", NAMES: "names", STATISTICS: "statistics", PACKET: "packet",
    SECRETS: "secrets", PROCESS: "process",
}
BYTE_ORDER_MAGIC, TLS_KEY_LOG = 0x1A2B3C4D, 0x544C534B
LINKTYPE_ETHERNET, MAX_BLOCK_LEN, NANOSECONDS = 1, 16 << 20, 9


class Refused(Exception):
    pass


class Torn(Exception):
    """The file ends where something should go on."""


def demand(is_so, *words):
    if not is_so:
        raise Refused(" ".join(str(word) for word in words))


class Cursor:
    """Takes fields from the front of bytes, in a byte order."""

    def __init__(self, data, order):
        self.data, self.order, self.at = data, order, 0

    def left(self):
        return len(self.data) - self.at

    def bytes(self, length):
        demand(length <= self.left(), "a field of", length, "bytes where", self.left(), "are left")
        self.at += length
        return self.data[self.at - length : self.at]

    def padded(self, length):
        """A value and its padding to 32 bits, which has to be zero."""
        value = self.bytes(length)
        padding = self.bytes(-length % 4)
        demand(not any(padding), "padding is not zero:", padding)
        return value

    def number(self, form):
        return struct.unpack(self.order + form, self.bytes(struct.calcsize(form)))[0]

    def u16(self):
        return self.number("H")

    def u32(self):
        return self.number("I")

    def timestamp(self):
        """Upper half first, whatever the byte order of each."""
        upper, lower = self.u32(), self.u32()
        return upper << 32 | lower


def text(value):
    demand(value and 0 not in value, "a text is empty or has a zero:", value)
    return value.decode("utf-8")


def sized(form):
    def read(value, order):
        demand(len(value) == struct.calcsize(form), "a value of", len(value), "bytes is no", form)
        return struct.unpack(order + form, value)[0]

    return read


def timestamp(value, order):
    demand(len(value) == 8, "a time stamp of", len(value), "bytes")
    return Cursor(value, order).timestamp()


def filter_text(value, _order):
    """A byte that says which language, 0 for libpcap's, and the filter."""
    demand(value[:1] == b"\0", "a filter in language", value[:1])
    return text(value[1:])


def string(value, _order):
    return text(value)


def resolution(value, order):
    exponent = sized("B")(value, order)
    demand(exponent == NANOSECONDS, "time stamps in units of", exponent)
    return exponent


def thread_of_process(value, order):
    demand(len(value) == 8, "pid and tid in", len(value), "bytes")
    return list(struct.unpack(order + "II", value))


def flags(value, order):
    """Bits 0 and 1 are the direction; we know of no others."""
    bits = sized("I")(value, order)
    demand(bits in (1, 2), "epb_flags", hex(bits))
    return {1: "inbound", 2: "outbound"}[bits]


# By block: code of an option, its name, how it is read, whether it may come more than once.
COMMENT = {1: ("comments", string, True)}
OPTIONS = {
    SECTION: {2: ("hardware", string, False), 3: ("os", string, False), 4: ("application", string, False)},
    INTERFACE: {
        2: ("name", string, False), 3: ("description", string, False), 9: ("tsresol", resolution, False),
        11: ("filter", filter_text, False),
    },
    PACKET: {
        2: ("direction", flags, False), 4: ("dropped", sized("Q"), False), 8: ("thread", thread_of_process, False),
        0x8001: ("process", sized("I"), False),
    },
    NAMES: {},
    STATISTICS: {
        2: ("started", timestamp, False), 3: ("ended", timestamp, False), 4: ("received", sized("Q"), False),
        7: ("os_dropped", sized("Q"), False), 8: ("delivered", sized("Q"), False),
    },
    SECRETS: {},
    PROCESS: {2: ("name", string, False), 4: ("uuid", lambda value, order: value.hex(), False)},
}


def options(cursor, kind):
    """Options to the end of a block: none at all, or a list that opt_endofopt ends."""
    found, known = {"comments": []}, COMMENT | OPTIONS[kind]
    if not cursor.left():
        return found
    while True:
        code, length = cursor.u16(), cursor.u16()
        if code == 0:
            demand(length == 0, "opt_endofopt has a length")
            demand(cursor.left() == 0, cursor.left(), "bytes behind opt_endofopt")
            return found
        value = cursor.padded(length)
        demand(code in known, "option", hex(code), "in a block of", KINDS[kind])
        name, read, is_repeatable = known[code]
        if is_repeatable:
            found[name].append(read(value, cursor.order))
        else:
            demand(name not in found, "option", code, "twice in a block of", KINDS[kind])
            found[name] = read(value, cursor.order)


class PcapNg:
    """One section, which is all that a file of ours has."""

    def __init__(self, data):
        self.data, self.at, self.order = data, 0, "="
        self.section, self.kinds = None, []
        self.interfaces, self.packets, self.processes, self.secrets, self.names = [], [], [], [], []

    def read(self):
        while self.at < len(self.data):
            kind, body, length = self.block()
            demand((kind == SECTION) == (not self.kinds), "the section header is not first, or comes again")
            demand(not self.is_closed() or kind == STATISTICS, KINDS[kind], "behind the statistics")
            getattr(self, "take_" + KINDS[kind])(Cursor(body, self.order))
            self.kinds.append(KINDS[kind])
            self.at += length
        demand(self.kinds, "an empty file")

    def block(self):
        """Type, body and length of the block at hand."""
        head = self.data[self.at : self.at + 12]
        if len(head) < 12:
            raise Torn
        if head[:4] == SECTION.to_bytes(4, "big"):
            orders = {struct.pack(order + "I", BYTE_ORDER_MAGIC): order for order in "<>"}
            demand(head[8:] in orders, "byte-order magic", head[8:])
            self.order = orders[head[8:]]
        demand(self.order in "<>", "the file does not begin with a section header")
        kind, length = struct.unpack(self.order + "II", head[:8])
        demand(kind in KINDS, "a block of type", hex(kind))
        demand(12 <= length <= MAX_BLOCK_LEN and length % 4 == 0, "a block of", length, "bytes")
        if self.at + length > len(self.data):
            raise Torn
        body = self.data[self.at + 8 : self.at + length - 4]
        (again,) = struct.unpack_from(self.order + "I", self.data, self.at + length - 4)
        demand(again == length, "a block of", length, "bytes says at its end", again)
        return kind, body, length

    def is_closed(self):
        return "statistics" in self.kinds[-1:]

    def take_section(self, cursor):
        magic, major, minor, length = cursor.u32(), cursor.u16(), cursor.u16(), cursor.number("q")
        demand((magic, major, minor) == (BYTE_ORDER_MAGIC, 1, 0), "version", major, minor)
        demand(length in (-1, len(self.data) - self.at - len(cursor.data) - 12), "a section of", length, "bytes")
        self.section = options(cursor, SECTION)

    def take_interface(self, cursor):
        demand(set(self.kinds) <= {"section", "interface"}, "an interface is described late")
        linktype, reserved, snaplen = cursor.u16(), cursor.u16(), cursor.u32()
        demand((linktype, reserved) == (LINKTYPE_ETHERNET, 0), "link type", linktype, reserved)
        interface = options(cursor, INTERFACE)
        demand(interface.get("tsresol") == NANOSECONDS, "time stamps are not in nanoseconds")
        self.interfaces.append(interface | {"snaplen": snaplen, "packets": 0, "statistics": None})

    def interface(self, cursor):
        number = cursor.u32()
        demand(number < len(self.interfaces), "interface", number, "of", len(self.interfaces))
        return number

    def take_packet(self, cursor):
        number = self.interface(cursor)
        stamp, captured, original = cursor.timestamp(), cursor.u32(), cursor.u32()
        interface = self.interfaces[number]
        check_lengths(captured, original, interface["snaplen"])
        data = cursor.padded(captured)
        packet = options(cursor, PACKET)
        demand("direction" in packet, "a packet without a direction")
        demand(packet.get("dropped") != 0, "a drop count of nothing")
        demand(packet.get("process", -1) < len(self.processes), "a packet of a process that is still to come")
        if "process" in packet and "thread" in packet:
            process = self.processes[packet["process"]]
            demand(packet["thread"][0] == process["pid"], "a packet of", packet["thread"], "and of", process)
        interface["packets"] += 1
        fields = {"interface": number, "ns": stamp, "original": original, "data": data.hex()}
        self.packets.append(packet | fields)

    def take_names(self, cursor):
        found = []
        while True:
            kind, length = cursor.u16(), cursor.u16()
            value = cursor.padded(length)
            if kind == 0:
                demand(length == 0, "nrb_record_end has a length")
                break
            demand(kind in (1, 2), "a record of names of type", kind)
            address_len = {1: 4, 2: 16}[kind]
            demand(length > address_len + 1 and value[-1] == 0, "a record of names of", length, "bytes:", value)
            address = str(ipaddress.ip_address(value[:address_len]))
            found += [[address, text(name)] for name in value[address_len:-1].split(b"\0")]
        demand(found, "a block of names without names")
        options(cursor, NAMES)
        self.names += found

    def take_statistics(self, cursor):
        number, stamp = self.interface(cursor), cursor.timestamp()
        found = options(cursor, STATISTICS)
        interface = self.interfaces[number]
        demand(interface["statistics"] is None, "statistics of interface", number, "twice")
        for name in ("started", "ended", "received", "delivered"):
            demand(name in found, "statistics without", name)
        demand(found["started"] <= found["ended"] == stamp, "statistics from", found, "at", stamp)
        demand(found["received"] >= found["delivered"] + found.get("os_dropped", 0), "counts", found)
        demand(found["delivered"] >= interface["packets"], "more packets than were delivered", found)
        interface["statistics"] = found

    def take_secrets(self, cursor):
        kind, length = cursor.u32(), cursor.u32()
        demand(kind == TLS_KEY_LOG, "secrets of type", hex(kind))
        lines = cursor.padded(length).decode("ascii")
        demand(lines.endswith("\n"), "a key log does not end with a line")
        options(cursor, SECRETS)
        before = len(self.packets)
        self.secrets += [{"line": line, "packets_before": before} for line in lines.splitlines() if line]

    def take_process(self, cursor):
        pid = cursor.u32()
        process = options(cursor, PROCESS)
        demand("name" in process, "a process without a name")
        self.processes.append(process | {"pid": pid})

    def summary(self):
        order = []
        for kind in self.kinds:
            if not order or order[-1] != kind:
                order.append(kind)
        names = ("section", "interfaces", "processes", "secrets", "names", "packets")
        return {"format": "pcapng", "order": order} | {name: getattr(self, name) for name in names}


class Pcap:
    """The old format, with nanoseconds."""

    def __init__(self, data):
        self.data, self.at, self.packets, self.snaplen = data, 0, [], None

    def read(self):
        if len(self.data) < 24:
            raise Torn
        magics = {struct.pack(order + "I", 0xA1B23C4D): order for order in "<>"}
        demand(self.data[:4] in magics, "magic", self.data[:4])
        order = magics[self.data[:4]]
        major, minor, zone, digits, self.snaplen, link = struct.unpack(order + "HHiIII", self.data[4:24])
        demand((major, minor, zone, digits, link) == (2, 4, 0, 0, LINKTYPE_ETHERNET), "head", self.data[:24])
        self.at = 24
        while self.at < len(self.data):
            self.take_packet(order)

    def take_packet(self, order):
        if len(self.data) - self.at < 16:
            raise Torn
        seconds, ns, captured, original = struct.unpack_from(order + "IIII", self.data, self.at)
        demand(ns < 10**9, ns, "nanoseconds")
        check_lengths(captured, original, self.snaplen)
        data = self.data[self.at + 16 : self.at + 16 + captured]
        if len(data) < captured:
            raise Torn
        self.packets.append({"ns": seconds * 10**9 + ns, "original": original, "data": data.hex()})
        self.at += 16 + captured

    def summary(self):
        return {"format": "pcap", "snaplen": self.snaplen, "packets": self.packets}


def check_lengths(captured, original, snaplen):
    demand(captured <= original and captured <= snaplen, captured, "of", original, "bytes, at most", snaplen)


def unpacked(data):
    """The bytes in a gzip file, and whether it ends in its middle."""
    unpacker, pieces = gzip.open(io.BytesIO(data)), []
    try:
        while piece := unpacker.read(1 << 16):
            pieces.append(piece)
    except EOFError:
        return b"".join(pieces), True
    return b"".join(pieces), False


def main(arguments):
    may_be_torn = arguments[:1] == ["--torn"]
    with open(arguments[-1], "rb") as file:
        data = file.read()
    is_torn, is_gzip = False, data[:2] == b"\x1f\x8b"
    if is_gzip:
        data, is_torn = unpacked(data)
    reader = PcapNg(data) if data[:4] == SECTION.to_bytes(4, "big") else Pcap(data)
    try:
        reader.read()
    except Torn:
        is_torn = True
    except (Refused, UnicodeDecodeError) as error:
        sys.exit(f"{arguments[-1]}: at byte {reader.at}: {error}")
    if is_torn and not may_be_torn:
        sys.exit(f"{arguments[-1]}: ends within the block at byte {reader.at}")
    torn = len(data) - reader.at
    if not may_be_torn and isinstance(reader, PcapNg):
        if not all(interface["statistics"] for interface in reader.interfaces):
            sys.exit(f"{arguments[-1]}: an interface has no statistics")
    json.dump(reader.summary() | {"gzip": is_gzip, "torn": torn}, sys.stdout)


main(sys.argv[1:])
