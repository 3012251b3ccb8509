//! What a tool says that it captured and lost, in the words that each of them has for it.

/// What a tool told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) captured: u64,
    /// 0 as well for a tool that never says.
    pub(super) dropped: u64,
}

/// Reads it out of the words of any of the tools.
pub(super) fn parse(text: &str) -> Told {
    let captured = CAPTURED.iter().find_map(|place| place.number(text));
    let dropped = DROPPED.iter().filter_map(|place| place.number(text)).sum();
    Told { captured: captured.unwrap_or(0), dropped }
}

/// Where a number is.
enum Place {
    Before(&'static str),
    After(&'static str),
    /// Behind the slash that follows.
    AfterSlash(&'static str),
}

impl Place {
    fn number(&self, text: &str) -> Option<u64> {
        match self {
            Self::Before(words) => {
                let (before, _) = text.split_once(words)?;
                before.split(|c: char| !c.is_ascii_digit()).next_back()?.parse().ok()
            }
            Self::After(words) => leading(text.split_once(words)?.1),
            Self::AfterSlash(words) => leading(text.split_once(words)?.1.split_once('/')?.1),
        }
    }
}

fn leading(text: &str) -> Option<u64> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

const CAPTURED: &[Place] = &[
    // nsntrace, and the C tool.
    Place::After("Finished capturing "),
    Place::Before(" packets captured"),
    // dumpcap; netsniff-ng.
    Place::After("Packets captured: "),
    Place::Before("  packets passed filter"),
];

const DROPPED: &[Place] = &[
    Place::Before(" packets were dropped by the kernel"),
    Place::Before(" packets were captured but not written"),
    Place::Before(" packets dropped by kernel"),
    Place::AfterSlash("Packets received/dropped on interface 'eth0': "),
    Place::Before("  packets failed filter (out of space)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, captured: u64, dropped: u64) {
        assert_eq!(parse(text), Told { captured, dropped });
    }

    #[test]
    fn the_words_of_each_tool_are_understood() {
        check("\nFinished capturing 12 packets.\n", 12, 0);
        check(
            "\nFinished capturing 12 packets.\n3 packets were dropped by the kernel: they came faster than they \
             could be written.\n",
            12,
            3,
        );
        check(
            "listening\n80123 packets captured\n121123 packets received by filter\n41000 packets dropped by kernel\n",
            80123,
            41000,
        );
        check(
            "Capturing on 'eth0'\nFile: /x\nPackets captured: 66000\nPackets received/dropped on interface 'eth0': \
             66000/38000 (pcap:38000/dumpcap:0/flushed:0/ps_ifdrop:0) (63.5%)\n",
            66000,
            38000,
        );
        check(
            "Running! Hang up with ^C!\n\n\n\r      156000  packets incoming (0 unread on exit)\n\r       29000  \
             packets passed filter\n\r      127000  packets failed filter (out of space)\n",
            29000,
            127_000,
        );
        check("", 0, 0);
    }
}
