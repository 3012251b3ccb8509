//! One table of flags that the parser, `--help`, the man page and the completions of shells are made from.
//!
//! `xtask` reads the text of this file, so what it tells is written as literals.

use super::{Effect, Flag, Group, ProcessInfo, Request, form, quantity, text, transport};
use crate::text_file::STDERR;

/// Every flag, in the order of the help text.
pub(crate) const FLAGS: &[Flag] = &[
    Flag {
        short: Some('f'),
        long: "filter",
        group: Group::Packets,
        effect: Effect::Value("EXPR", |options, filter| {
            options.filter = Some(text(filter)?);
            Ok(())
        }),
        help: "record only what matches, as in pcap-filter(7)",
        #[cfg(test)]
        more: "EXPR is in the language of pcap-filter(7). It is compiled by nsntrace itself and runs in the \
               kernel, before a packet is copied. What it becomes is shown by --dump-filter.",
        #[cfg(test)]
        example: "nsntrace -f 'tcp port 443' curl https://example.com/",
    },
    Flag {
        short: Some('s'),
        long: "snaplen",
        group: Group::Packets,
        effect: Effect::Value("BYTES", |options, bytes| {
            options.snaplen = quantity::snaplen(&text(bytes)?)?;
            Ok(())
        }),
        help: "record at most BYTES of each packet [262144]",
        #[cfg(test)]
        more: "Headers fit into 96 bytes. How long a packet was is recorded all the same. 0 is the largest.",
        #[cfg(test)]
        example: "nsntrace -s 96 wget -q http://example.com/",
    },
    Flag {
        short: Some('c'),
        long: "count",
        group: Group::Packets,
        effect: Effect::Value("COUNT", |options, count| {
            options.limits.count = Some(quantity::count(&text(count)?)?);
            Ok(())
        }),
        help: "stop recording after COUNT packets",
        #[cfg(test)]
        more: "The file is whole as soon as it has them. The program goes on.",
        #[cfg(test)]
        example: "nsntrace -c 100 ping example.com",
    },
    Flag {
        short: None,
        long: "duration",
        group: Group::Packets,
        effect: Effect::Value("TIME", |options, time| {
            options.limits.duration = Some(quantity::time(&text(time)?)?);
            Ok(())
        }),
        help: "stop recording after TIME: 90, 1.5s, 10m, 2h",
        #[cfg(test)]
        more: "A number alone is in seconds; s, m, h or d may follow it. The program goes on. Setting the \
               time of day changes nothing.",
        #[cfg(test)]
        example: "nsntrace --duration 1.5s firefox",
    },
    Flag {
        short: None,
        long: "linger",
        group: Group::Packets,
        effect: Effect::Value("TIME", |options, time| {
            options.linger = quantity::time_or_none(&text(time)?)?;
            Ok(())
        }),
        help: "wait at most TIME for closing connections [2s]",
        #[cfg(test)]
        more: "A program may end before its TCP connections have closed: their last packets are waited for. With 0 \
               nothing is.",
        #[cfg(test)]
        example: "nsntrace --linger 10s ./server",
    },
    Flag {
        short: Some('B'),
        long: "buffer",
        group: Group::Packets,
        effect: Effect::Value("SIZE", |options, size| {
            options.buffer = quantity::buffer(&text(size)?)?;
            Ok(())
        }),
        help: "room for packets that wait to be written [16M]",
        #[cfg(test)]
        more: "As 4M, 64M or 1G. A larger one bears a longer stop of the disk. It is memory that cannot be \
               swapped, taken when the trace begins.",
        #[cfg(test)]
        example: "nsntrace -B 256M iperf3 -c 192.0.2.1",
    },
    Flag {
        short: Some('o'),
        long: "outfile",
        group: Group::Files,
        effect: Effect::Value("FILE", |options, file| {
            options.outfile = Some(file.into());
            Ok(())
        }),
        help: "write to FILE; - for stdout [nsntrace.pcap]",
        #[cfg(test)]
        more: "What ends in .pcapng is pcapng, anything else pcap; with .gz behind it is compressed. It may be a \
               FIFO. With - the program's own output goes to standard output as well, unless it is sent elsewhere.",
        #[cfg(test)]
        example: "nsntrace -o page.pcapng.gz curl http://example.com/",
    },
    Flag {
        short: None,
        long: "format",
        group: Group::Files,
        effect: Effect::Value("pcap|pcapng", |options, format| {
            options.format = Some(super::format(&text(format)?)?);
            Ok(())
        }),
        help: "write this format, whatever FILE is called",
        #[cfg(test)]
        more: "A pcapng file also tells which interface a packet was seen on, and what was lost.",
        #[cfg(test)]
        example: "nsntrace --format pcapng -o - make test > test.pcapng",
    },
    Flag {
        short: Some('C'),
        long: "file-size",
        group: Group::Files,
        effect: Effect::Value("SIZE", |options, size| {
            options.rotation.size = Some(quantity::file_size(&text(size)?)?);
            Ok(())
        }),
        help: "a new file at SIZE: 512K, 64M, 1G",
        #[cfg(test)]
        more: "A number alone is in millions of bytes. The first file is FILE_00001_TIME, the next \
               FILE_00002_TIME, as dumpcap(1) names them.",
        #[cfg(test)]
        example: "nsntrace -C 64M -W 4 ./daemon",
    },
    Flag {
        short: Some('G'),
        long: "file-time",
        group: Group::Files,
        effect: Effect::Value("TIME", |options, time| {
            options.rotation.time = Some(quantity::time(&text(time)?)?);
            Ok(())
        }),
        help: "a new file every TIME, named by strftime(3)",
        #[cfg(test)]
        more: "FILE may have conversions of strftime(3), such as %H; otherwise files are named as with \
               --file-size. With both options, whichever comes first.",
        #[cfg(test)]
        example: "nsntrace -G 1h -o '%Y%m%d-%H%M.pcap' ./daemon",
    },
    Flag {
        short: Some('W'),
        long: "file-count",
        group: Group::Files,
        effect: Effect::Value("COUNT", |options, count| {
            options.rotation.keep = Some(quantity::file_count(&text(count)?)?);
            Ok(())
        }),
        help: "keep the newest COUNT of those files",
        #[cfg(test)]
        more: "Older ones are removed when a new one is begun. It needs --file-size or --file-time.",
        #[cfg(test)]
        example: "nsntrace -W 10 -G 10m ./daemon",
    },
    Flag {
        short: None,
        long: "direct",
        group: Group::Files,
        effect: Effect::Switch(|options| options.direct = true),
        help: "write past the page cache always (O_DIRECT)",
        #[cfg(test)]
        more: "Otherwise that is done only while packets come fast and the disk keeps up. Not for compressed files.",
        #[cfg(test)]
        example: "nsntrace --direct -o /var/big.pcap iperf3 -c 192.0.2.1",
    },
    Flag {
        short: None,
        long: "wireshark",
        group: Group::Files,
        effect: Effect::Switch(|options| options.wireshark = true),
        help: "open Wireshark on packets as they come; no file",
        #[cfg(test)]
        more: "The program starts when Wireshark is ready, and Wireshark stays when the program has ended. By sudo it runs as \
               who called it.",
        #[cfg(test)]
        example: "nsntrace --wireshark curl http://example.com/",
    },
    Flag {
        short: None,
        long: "tls-keys",
        group: Group::Meaning,
        effect: Effect::Switch(|options| options.tls_keys = true),
        help: "write TLS keys of the program into the pcapng",
        #[cfg(test)]
        more: "Programs that heed SSLKEYLOGFILE log them, and whoever can read the file sees what was inside: its \
               mode is 0600. It must be pcapng.",
        #[cfg(test)]
        example: "nsntrace --tls-keys -o page.pcapng curl -s https://example.com/",
    },
    Flag {
        short: None,
        long: "process-info",
        group: Group::Meaning,
        effect: Effect::Value("KIND", |options, kind| {
            options.process_info = super::process_info(&text(kind)?)?;
            Ok(())
        }),
        help: "say of processes: names, full or none [names]",
        #[cfg(test)]
        more: "Names come with paths. With full there are command lines, too, which may hold secrets.",
        #[cfg(test)]
        example: "nsntrace --process-info=full -o page.pcapng curl -s https://example.com/",
    },
    Flag {
        short: None,
        long: "no-process-info",
        group: Group::Meaning,
        effect: Effect::Switch(|options| options.process_info = ProcessInfo::None),
        help: "do not find out which process each packet is of",
        #[cfg(test)]
        more: "The same as --process-info=none. The program runs without a seccomp filter of ours then, as one needs that has its own children's system calls told to it (a seccomp listener): the kernel allows one such filter, and gives EBUSY to a second.",
        #[cfg(test)]
        example: "nsntrace --no-process-info ./server",
    },
    Flag {
        short: None,
        long: "print",
        group: Group::Meaning,
        effect: Effect::OptionalValue("FILE", |options, file| {
            options.print = Some(file.unwrap_or_else(|| STDERR.into()).into());
            Ok(())
        }),
        help: "print a line per packet [standard error]",
        #[cfg(test)]
        more: "When, whose, from where to where, and what it says: a question to a name server, the name in a client \
               hello, the first line of a request, else flags and length. Packets are written to the file as well. \
               With FILE lines go there; - is standard output, which is the program's, too. Colours are for \
               terminals, unless NO_COLOR is set. What comes faster than lines can go is recorded, and counted in \
               their place.",
        #[cfg(test)]
        example: "nsntrace --print curl -so page.html http://example.com/",
    },
    Flag {
        short: None,
        long: "progress",
        group: Group::Meaning,
        effect: Effect::Switch(|options| options.progress = true),
        help: "show counts while the terminal is not used",
        #[cfg(test)]
        more: "A line with packets, bytes, connections and packets that were lost, drawn four times a second for as \
               long as nobody else writes to the terminal or reads from it; then it is left alone. Without a \
               terminal, or with --quiet, there is none.",
        #[cfg(test)]
        example: "nsntrace --progress wget -q http://example.com/large.iso",
    },
    Flag {
        short: None,
        long: "report",
        group: Group::Meaning,
        effect: Effect::Value("FILE", |options, file| {
            options.report = Some(file.into());
            Ok(())
        }),
        help: "write who was talked to into FILE, as JSON",
        #[cfg(test)]
        more: "Names, addresses, ports and bytes, and what each was known by: DNS, TLS or HTTP. - is standard \
               output.",
        #[cfg(test)]
        example: "nsntrace --report who.json npm install",
    },
    Flag {
        short: None,
        long: "expect",
        group: Group::Meaning,
        effect: Effect::Value("PEER", |options, peer| {
            options.expected.push(super::expectation(&text(peer)?)?);
            Ok(())
        }),
        help: "exit with 124 if others than PEER are talked to",
        #[cfg(test)]
        more: "PEER is NAME, *.NAME, ADDRESS or NETWORK/BITS, each with :PORT behind it or not. The option may be \
               given many times. Nothing is blocked.",
        #[cfg(test)]
        example: "nsntrace --expect '*.crates.io' --expect 192.0.2.0/24:53 cargo fetch",
    },
    Flag {
        short: None,
        long: "deny",
        group: Group::Meaning,
        effect: Effect::Value("PEER", |options, peer| {
            options.denied.push(super::expectation(&text(peer)?)?);
            Ok(())
        }),
        help: "exit with 124 if PEER is talked to, or asked for",
        #[cfg(test)]
        more: "PEER is written as for --expect, and the option may be given many times. Nothing is blocked: \
               packets are sent, recorded, and told of.",
        #[cfg(test)]
        example: "nsntrace --deny '*.doubleclick.net' ./app",
    },
    Flag {
        short: Some('d'),
        long: "device",
        group: Group::Program,
        effect: Effect::Value("DEV", |options, device| {
            options.device = Some(text(device)?);
            Ok(())
        }),
        help: "let packets leave through DEV only",
        #[cfg(test)]
        more: "What cannot leave there does not leave at all. Without it the host's routes decide.",
        #[cfg(test)]
        example: "nsntrace -d wlan0 ping -c 3 example.com",
    },
    Flag {
        short: Some('u'),
        long: "user",
        group: Group::Program,
        effect: Effect::Value("USER", |options, user| {
            options.user = Some(text(user)?);
            Ok(())
        }),
        help: "run the program as USER or USER:GROUP",
        #[cfg(test)]
        more: "Each by name or number. It takes privilege.",
        #[cfg(test)]
        example: "nsntrace -u nobody:nogroup curl http://example.com/",
    },
    Flag {
        short: None,
        long: "net",
        group: Group::Program,
        effect: Effect::Value("auto|nat|proxy", |options, how| {
            options.net = transport(&text(how)?)?;
            Ok(())
        }),
        help: "how packets get to the network [auto: what fits]",
        #[cfg(test)]
        more: "With nat the host forwards and masquerades them, which takes privilege. With proxy each connection \
               is made again by a socket of the host, which takes none.",
        #[cfg(test)]
        example: "nsntrace --net proxy curl http://example.com/",
    },
    Flag {
        short: None,
        long: "respect-firewall",
        group: Group::Program,
        effect: Effect::Switch(|options| options.respect_firewall = true),
        help: "do not go past a firewall that drops packets",
        #[cfg(test)]
        more: "Docker, firewalld and ufw make hosts drop what they forward. Otherwise packets are led past that \
               rule; with this option they go by proxy.",
        #[cfg(test)]
        example: "nsntrace --respect-firewall curl http://example.com/",
    },
    Flag {
        short: None,
        long: "use-public-dns",
        group: Group::Program,
        effect: Effect::Switch(|options| options.use_public_dns = true),
        help: "resolve names with 9.9.9.9, 1.1.1.1 and others",
        #[cfg(test)]
        more: "The others are 8.8.8.8 and 208.67.222.222. For hosts whose own name servers are not to be used.",
        #[cfg(test)]
        example: "nsntrace --use-public-dns dig example.com",
    },
    Flag {
        short: None,
        long: "wait-all",
        group: Group::Program,
        effect: Effect::Switch(|options| options.wait_all = true),
        help: "trace until the program's last process has ended",
        #[cfg(test)]
        more: "Otherwise the trace ends with the program itself, though its children may go on.",
        #[cfg(test)]
        example: "nsntrace --wait-all sh -c 'sleep 5 && curl http://example.com/ &'",
    },
    Flag {
        short: None,
        long: "no-offload",
        group: Group::Program,
        effect: Effect::Switch(|options| options.no_offload = true),
        help: "frames as on a wire; slower",
        #[cfg(test)]
        more: "Checksums are right, and no frame is longer than the MTU: the kernel is not asked to put that off.",
        #[cfg(test)]
        example: "nsntrace --no-offload curl http://example.com/",
    },
    Flag {
        short: Some('q'),
        long: "quiet",
        group: Group::Other,
        effect: Effect::Switch(|options| options.quiet = true),
        help: "say nothing but errors and losses",
        #[cfg(test)]
        more: "",
        #[cfg(test)]
        example: "nsntrace -q -o - curl -so /dev/null http://example.com/ | tshark -r -",
    },
    Flag {
        short: None,
        long: "dump-filter",
        group: Group::Other,
        effect: Effect::OptionalValue("asm|c|dec", |options, form| {
            options.dump_filter = Some(form.map_or(Ok(String::new()), text)?);
            Ok(())
        }),
        help: "print what -f is compiled to [asm]",
        #[cfg(test)]
        more: "As tcpdump(8) does with -d, -dd and -ddd. It takes no privilege and no program, and nothing else is \
               done.",
        #[cfg(test)]
        example: "nsntrace --dump-filter=c -f 'icmp or arp'",
    },
    Flag {
        short: None,
        long: "linktype",
        group: Group::Other,
        effect: Effect::Value("TYPE", |options, linktype| {
            options.linktype = Some(text(linktype)?);
            Ok(())
        }),
        help: "for it: EN10MB, RAW, NULL, LINUX_SLL2.. [EN10MB]",
        #[cfg(test)]
        more: "What a packet begins with: EN10MB, RAW, NULL, LINUX_SLL or LINUX_SLL2. With --dump-filter only.",
        #[cfg(test)]
        example: "nsntrace --dump-filter --linktype RAW -f 'udp port 53'",
    },
    Flag {
        short: None,
        long: "live",
        group: Group::Other,
        effect: Effect::Switch(|options| options.live = true),
        help: "for it: as for a packet socket, not for a file",
        #[cfg(test)]
        more: "The kernel keeps VLAN tags apart from the packet, so the two differ. With --dump-filter only.",
        #[cfg(test)]
        example: "nsntrace --dump-filter --live -f 'vlan 7'",
    },
    Flag {
        short: None,
        long: "doctor",
        group: Group::Other,
        effect: Effect::OptionalValue("text|json", |options, typed| {
            options.doctor = Some(form(typed)?);
            Ok(())
        }),
        help: "say what works on this host and what is missing",
        #[cfg(test)]
        more: "Everything is tried out in a namespace that ends with it; nothing is changed. The status is 0 if \
               some transport works.",
        #[cfg(test)]
        example: "nsntrace --doctor",
    },
    Flag {
        short: None,
        long: "install-extcap",
        group: Group::Other,
        effect: Effect::OptionalValue("FOLDER", |options, folder| {
            options.install_extcap = Some(folder.unwrap_or_default());
            Ok(())
        }),
        help: "have Wireshark list nsntrace as an interface",
        #[cfg(test)]
        more: "Links nsntrace into the folder that Wireshark looks in, which tshark tells: everybody's as root, else the user's \
               own. Wireshark lists 'nsntrace: run a program' then.",
        #[cfg(test)]
        example: "nsntrace --install-extcap",
    },
    Flag {
        short: Some('h'),
        long: "help",
        group: Group::Other,
        effect: Effect::Instead(|| Request::Help),
        help: "print this help",
        #[cfg(test)]
        more: "",
        #[cfg(test)]
        example: "nsntrace --help | less",
    },
    Flag {
        short: Some('V'),
        long: "version",
        group: Group::Other,
        effect: Effect::Instead(|| Request::Version),
        help: "print the version",
        #[cfg(test)]
        more: "",
        #[cfg(test)]
        example: "nsntrace --version",
    },
];
