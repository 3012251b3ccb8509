//! How a connection of TCP goes, as seen from beside it.
//!
//! # References
//! RFC 9293, section 3.3.2; RFC 1122, section 4.2.3.6 (keep-alives).

use nsntrace_dissect::{Tcp, TcpFlags};

/// How a connection went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpEnd {
    /// Nothing was seen of its beginning or its end.
    #[default]
    Open,
    /// Nobody answered SYN.
    Unanswered,
    /// SYN was answered by RST.
    Refused,
    /// It was ended by RST.
    Reset,
    /// Both ends said that they had finished.
    Closed,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TcpState {
    end: TcpEnd,
    /// The sequence number of SYN, and which end sent it.
    isn: Option<(u32, bool)>,
    /// Of the local end and of the other: the sequence number behind the last byte.
    next: [Option<u32>; 2],
    has_finished: [bool; 2],
    pub(super) retransmissions: u64,
}

impl TcpState {
    pub(super) fn end(&self) -> TcpEnd {
        self.end
    }

    pub(super) fn see(&mut self, tcp: &Tcp, payload_len: u32, is_sent: bool) {
        let side = usize::from(!is_sent);
        let is_syn = tcp.flags.contains(TcpFlags::SYN);
        if is_syn && !tcp.flags.contains(TcpFlags::ACK) && self.isn.is_none() {
            self.isn = Some((tcp.seq, is_sent));
            self.end = TcpEnd::Unanswered;
        } else if is_syn && tcp.flags.contains(TcpFlags::ACK) && self.end == TcpEnd::Unanswered {
            self.end = TcpEnd::Open;
        }
        self.count_bytes(tcp, payload_len, side);
        if tcp.flags.contains(TcpFlags::FIN) {
            self.has_finished[side] = true;
        }
        if tcp.flags.contains(TcpFlags::RST) {
            self.reset(is_sent);
        } else if self.has_finished == [true; 2] && self.end == TcpEnd::Open {
            self.end = TcpEnd::Closed;
        }
    }

    /// SYN and FIN take a number each, as a byte does.
    fn count_bytes(&mut self, tcp: &Tcp, payload_len: u32, side: usize) {
        let flags = [TcpFlags::SYN, TcpFlags::FIN].into_iter().filter(|flag| tcp.flags.contains(*flag));
        let len = payload_len.saturating_add(u32::try_from(flags.count()).unwrap_or(0));
        let behind = tcp.seq.wrapping_add(len);
        let Some(next) = self.next[side] else {
            self.next[side] = Some(behind);
            return;
        };
        // Numbers are a circle: less than half of it ahead is later.
        if behind.wrapping_sub(next).cast_signed() > 0 {
            self.next[side] = Some(behind);
        }
        let is_probe = payload_len <= 1 && tcp.seq == next.wrapping_sub(1) && len == payload_len;
        self.retransmissions +=
            u64::from(len > 0 && !is_probe && tcp.seq.wrapping_sub(next).cast_signed() < 0);
    }

    fn reset(&mut self, is_sent: bool) {
        let is_answer = self.isn.is_some_and(|(_, from_local)| from_local != is_sent);
        self.end = match self.end {
            TcpEnd::Unanswered if is_answer => TcpEnd::Refused,
            // Whoever sends to one that has closed is told so; all was said by then.
            TcpEnd::Closed => TcpEnd::Closed,
            TcpEnd::Refused => TcpEnd::Refused,
            TcpEnd::Open if self.has_finished[usize::from(is_sent)] => TcpEnd::Closed,
            _ => TcpEnd::Reset,
        };
    }

    /// Whether a segment begins another connection between the same ports.
    pub(super) fn is_succeeded_by(&self, tcp: &Tcp) -> bool {
        let is_first = tcp.flags.contains(TcpFlags::SYN) && !tcp.flags.contains(TcpFlags::ACK);
        let is_over = matches!(self.end, TcpEnd::Refused | TcpEnd::Reset | TcpEnd::Closed);
        is_first && (is_over || self.isn.is_some_and(|(isn, _)| isn != tcp.seq))
    }
}

/// Whether a segment answers a SYN, so that its receiver began.
pub(super) fn is_answer(tcp: &Tcp) -> bool {
    tcp.flags.contains(TcpFlags::SYN | TcpFlags::ACK)
}
