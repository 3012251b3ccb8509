//! What a witness has said, put together with what the kernel says of sockets.
//!
//! # Theory of operation
//! A socket that was made is known by its cookie. While it lives, the kernel tells the cookie of given addresses; when it goes, the kernel tells both, and both are
//! kept here for packets that are looked at later. Everything is bounded: what is oldest is forgotten.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::getsockname;

use crate::{Maker, Process, Word};

/// How it is known whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// It was seen to be made.
    Created,
    /// Whoever listens has the connections that come.
    Listener,
    /// A process held it when somebody looked.
    Held,
    /// Nobody else comes into question.
    Likely,
}

impl Certainty {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Listener => "listener",
            Self::Held => "held",
            Self::Likely => "likely",
        }
    }
}

/// Whose a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Who, by the witness's number.
    pub number: u32,
    /// Who.
    pub process: Arc<Process>,
    /// The thread that made it; 0 if it is not known.
    pub tid: u32,
    /// When it was asked for, in nanoseconds since the epoch; 0 if it is not known.
    pub since_ns: u64,
    /// How that is known.
    pub certainty: Certainty,
}

/// What carries a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A socket's addresses when it went. An unspecified peer is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Of what.
    pub carrier: Carrier,
    /// Its own; the address may be unspecified.
    pub local: SocketAddr,
    /// Its peer's.
    pub peer: SocketAddr,
    /// The kernel's name of it.
    pub cookie: u64,
    /// When that was heard, in nanoseconds since the epoch.
    pub heard_ns: u64,
}

/// That a socket of UDP is gone: what has its address may be another's before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What it was bound to.
    pub local: SocketAddr,
    /// When it was asked for, and when it was heard of as gone, in nanoseconds since the epoch.
    pub times_ns: [u64; 2],
}

/// Who made which socket.
#[derive(Debug, Default)]
pub struct Registry {
    processes: HashMap<u32, Arc<Process>>,
    made: HashMap<u64, Maker>,
    pings: VecDeque<(OwnedFd, Maker)>,
    pingers: VecDeque<Maker>,
    /// In the order in which they were heard of.
    departed: HashMap<(Carrier, u16), VecDeque<Departed>>,
    order: VecDeque<(Carrier, u16)>,
    /// Which nobody has taken yet.
    turns: Vec<Turn>,
    /// Gone, and nobody has said whose they were: the witness may yet.
    strangers: HashMap<u64, Departure>,
    strangers_order: VecDeque<u64>,
    holders: HashMap<u64, Maker>,
    /// How often somebody has looked who holds what.
    looks: u64,
}

#[derive(Clone, Copy, Debug)]
struct Departed {
    local: IpAddr,
    peer: SocketAddr,
    maker: Maker,
    heard_ns: u64,
}

impl Registry {
    /// Takes in what the witness said.
    pub fn hear(&mut self, word: Word) {
        match word {
            Word::Process(number, process) => {
                self.processes.insert(number, Arc::new(process));
            }
            Word::Made { cookie, maker } => self.note(cookie, maker),
            Word::Ping(socket, maker) => push(&mut self.pings, (socket, maker), MAX_PINGS),
            Word::Pings(maker) => push(&mut self.pingers, maker, MAX_PINGS),
            Word::Holds { inode, maker } => {
                self.holders.insert(inode, maker);
            }
            Word::Looked => self.looks += 1,
            Word::Serve(_) | Word::Look => {}
        }
    }

    /// Takes in whose a socket is. It stays with whom it was first.
    pub fn note(&mut self, cookie: u64, maker: Maker) {
        self.made.entry(cookie).or_insert(maker);
        if let Some(departure) = self.strangers.remove(&cookie) {
            self.depart(&departure);
        } else if self.made.len() > MAX_MADE {
            self.forget_older_half();
        }
    }

    /// The kernel numbers sockets nearly one after the other: those below the mean are older, and about a half.
    fn forget_older_half(&mut self) {
        let sum: u128 = self.made.keys().copied().map(u128::from).sum();
        let count = self.made.len() as u128;
        self.made.retain(|&cookie, _maker| u128::from(cookie) * count > sum);
    }

    /// Takes in that a socket is gone.
    pub fn depart(&mut self, departure: &Departure) {
        let Some(maker) = self.made.remove(&departure.cookie) else { return self.wait_for_word(departure) };
        let Departure { carrier, local, peer, heard_ns, .. } = *departure;
        let key = (carrier, local.port());
        if local.port() == 0 {
            // It was never used.
            return;
        }
        if carrier == Carrier::Udp {
            if self.turns.len() >= MAX_TURNS {
                self.turns.copy_within(MAX_TURNS / 2.., 0);
                self.turns.truncate(MAX_TURNS / 2);
            }
            self.turns.push(Turn { local, times_ns: [maker.since_ns, heard_ns] });
        }
        let departed = Departed { local: local.ip(), peer, maker, heard_ns };
        self.departed.entry(key).or_default().push_back(departed);
        self.order.push_back(key);
        if self.order.len() > MAX_DEPARTED
            && let Some(oldest) = self.order.pop_front()
            && let Some(departed) = self.departed.get_mut(&oldest)
        {
            departed.pop_front();
            if departed.is_empty() {
                self.departed.remove(&oldest);
            }
        }
    }

    /// Keeps a departure of a socket that nobody has spoken of: a short life may be over before the witness says whose it was.
    fn wait_for_word(&mut self, departure: &Departure) {
        self.strangers.insert(departure.cookie, *departure);
        self.strangers_order.push_back(departure.cookie);
        if self.strangers_order.len() > MAX_STRANGERS
            && let Some(oldest) = self.strangers_order.pop_front()
        {
            self.strangers.remove(&oldest);
        }
    }

    /// Whose socket has this cookie.
    pub fn by_cookie(&self, cookie: u64, certainty: Certainty) -> Option<Owner> {
        self.owner(*self.made.get(&cookie)?, certainty)
    }

    /// Who held a socket when somebody looked.
    pub fn holder(&self, inode: u64) -> Option<Owner> {
        self.owner(*self.holders.get(&inode)?, Certainty::Held)
    }

    /// How often somebody has looked.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// Forgets who held what: somebody looks again.
    pub fn forget_holders(&mut self) {
        self.holders.clear();
    }

    /// When ports of UDP may have passed on, as far as nobody was told yet.
    pub fn take_turns(&mut self) -> Vec<Turn> {
        mem::take(&mut self.turns)
    }

    /// Whose socket it was that had these addresses; the one that went last.
    pub fn departed(&self, carrier: Carrier, local: SocketAddr, peer: SocketAddr) -> Option<Owner> {
        let departed = self.departed.get(&(carrier, local.port()))?;
        let last = |peer| departed.iter().rev().find(|gone| gone.is_of(local.ip(), peer));
        if let Some(gone) = last(Some(peer)) {
            return self.owner(gone.maker, Certainty::Created);
        }
        let gone = last(None)?;
        let certainty = if carrier == Carrier::Tcp { Certainty::Listener } else { Certainty::Created };
        self.owner(gone.maker, certainty)
    }

    /// Whose connection it was that is gone, if it was asked for just before its first packet.
    pub fn begun_at(&self, local: SocketAddr, peer: SocketAddr, first_ns: u64) -> Option<Owner> {
        let departed = self.departed.get(&(Carrier::Tcp, local.port()))?;
        let is_it = |gone: &&Departed| {
            let until_first_ns = first_ns.checked_sub(gone.maker.since_ns);
            until_first_ns.is_some_and(|ns| ns <= AT_ONCE_NS) && gone.is_of(local.ip(), Some(peer))
        };
        self.owner(departed.iter().rev().find(is_it)?.maker, Certainty::Created)
    }

    /// Whose socket of UDP had these addresses at a time: one of those that are gone, or the one that lives.
    pub fn at(
        &self,
        (local, peer): (SocketAddr, SocketAddr),
        at_ns: u64,
        living: Option<Owner>,
    ) -> Option<Owner> {
        let departed = self.departed.get(&(Carrier::Udp, local.port()));
        let had = |peer| departed.and_then(|departed| had_at(departed, local.ip(), peer, at_ns));
        let Some(gone) = had(Some(peer)).or_else(|| had(None)) else {
            return living.or_else(|| self.departed(Carrier::Udp, local, peer));
        };
        // It came after the one that is gone, or was there beside it all the time: of another family, or both share the port.
        let had_them_by_then = |living: &Owner| {
            living.since_ns <= at_ns && gone.may_have_gone_by(at_ns) || living.since_ns <= gone.maker.since_ns
        };
        living.filter(had_them_by_then).or_else(|| self.owner(gone.maker, Certainty::Created))
    }

    /// Whose pings these are.
    pub fn pinger(&self, id: u16, is_v6: bool) -> Option<Owner> {
        let has_id = |socket: &OwnedFd| {
            let address = getsockname(socket).ok().and_then(|address| SocketAddr::try_from(address).ok());
            address.is_some_and(|address| address.port() == id && address.is_ipv6() == is_v6)
        };
        if let Some((_, maker)) = self.pings.iter().rev().find(|(socket, _)| has_id(socket)) {
            return self.owner(*maker, Certainty::Created);
        }
        self.likely_pinger(id)
    }

    /// Programs number their pings by their pid, or there is one that pings.
    fn likely_pinger(&self, id: u16) -> Option<Owner> {
        let pid = |maker: &Maker| self.processes.get(&maker.process).map(|process| process.pid);
        let numbered = |maker: &&Maker| pid(maker).is_some_and(|pid| pid & 0xffff == u32::from(id));
        let first = *self.pingers.front()?;
        let is_alone = self.pingers.iter().all(|maker| maker.process == first.process);
        let maker = self.pingers.iter().rev().find(numbered).copied().or(is_alone.then_some(first))?;
        self.owner(maker, Certainty::Likely)
    }

    fn owner(&self, Maker { process: number, tid, since_ns }: Maker, certainty: Certainty) -> Option<Owner> {
        let process = self.processes.get(&number)?.clone();
        Some(Owner { number, process, tid, since_ns, certainty })
    }
}

impl Departed {
    /// Whether it had this local address, and this peer or none.
    fn is_of(&self, local: IpAddr, peer: Option<SocketAddr>) -> bool {
        // All addresses there are are of IPv4 as well for a socket of IPv6.
        let is_any = self.local.is_unspecified() && (self.local.is_ipv6() || local.is_ipv4());
        let is_here = self.local == local || is_any;
        is_here && peer.map_or(self.peer.port() == 0, |peer| self.peer == peer)
    }

    /// That a socket is gone is heard a moment late: within it, the next one may have its addresses.
    fn may_have_gone_by(&self, at_ns: u64) -> bool {
        self.heard_ns <= at_ns + MOMENT_NS
    }
}

/// Which of the sockets that had the same addresses, or none of a peer, had them at a time, one after the other.
fn had_at(
    departed: &VecDeque<Departed>,
    local: IpAddr,
    peer: Option<SocketAddr>,
    at_ns: u64,
) -> Option<&Departed> {
    let later = departed.partition_point(|gone| gone.heard_ns <= at_ns);
    let mut found: Option<&Departed> = None;
    for gone in departed.range(later..) {
        if found.is_some_and(|before| !before.may_have_gone_by(at_ns)) {
            break;
        }
        if gone.maker.since_ns <= at_ns && gone.is_of(local, peer) {
            found = Some(gone);
        }
    }
    found
}

fn push<T>(queue: &mut VecDeque<T>, one: T, most: usize) {
    if queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(one);
}

/// Sockets that live, of which we know; 50 bytes each.
const MAX_MADE: usize = 1 << 18;
/// Sockets that are gone, and whose packets may not have been looked at.
const MAX_DEPARTED: usize = 1 << 16;
/// Sockets that are gone, and that the witness may speak of yet, if it ever saw them.
const MAX_STRANGERS: usize = 1 << 12;
/// Sockets that have gone since the last block of packets.
const MAX_TURNS: usize = 1 << 12;
/// From the call to the first packet it takes some ten microseconds, unless the caller has to wait for a processor. For another socket to have the same addresses by
/// then, the first must have been reset, both be bound to one port, and nobody have said that the first is gone.
const AT_ONCE_NS: u64 = 200_000;
/// As long as a word of the kernel's may take.
const MOMENT_NS: u64 = 50_000_000;
/// A descriptor each.
const MAX_PINGS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let mut registry = Registry::default();
        for (number, pid) in [(1, 4321), (2, 4322)] {
            registry.hear(Word::Process(number, Process { pid, ..Process::default() }));
            registry.hear(Word::Made { cookie: 100 + u64::from(number), maker: maker(number, pid) });
        }
        registry
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn departure(cookie: u64, carrier: Carrier, local: &str, peer: &str) -> Departure {
        Departure { carrier, local: address(local), peer: address(peer), cookie, heard_ns: 1 }
    }

    fn maker(process: u32, tid: u32) -> Maker {
        Maker { process, tid, since_ns: 0 }
    }

    fn pid(owner: Option<Owner>) -> Option<(u32, Certainty)> {
        owner.map(|owner| (owner.process.pid, owner.certainty))
    }

    #[test]
    fn a_socket_is_its_makers_while_it_lives_and_after() {
        let mut registry = registry();
        assert_eq!(pid(registry.by_cookie(101, Certainty::Created)), Some((4321, Certainty::Created)));
        assert_eq!(registry.by_cookie(103, Certainty::Created), None);
        registry.depart(&departure(101, Carrier::Tcp, "10.0.0.1:40000", "192.0.2.7:443"));
        registry.depart(&departure(103, Carrier::Tcp, "10.0.0.1:40001", "192.0.2.7:443"));
        assert_eq!(registry.by_cookie(101, Certainty::Created), None);
        let ask = |local, peer| pid(registry.departed(Carrier::Tcp, address(local), address(peer)));
        assert_eq!(ask("10.0.0.1:40000", "192.0.2.7:443"), Some((4321, Certainty::Created)));
        assert_eq!(ask("10.0.0.2:40000", "192.0.2.7:443"), None);
        assert_eq!(ask("10.0.0.1:40000", "192.0.2.7:80"), None);
        assert_eq!(ask("10.0.0.1:40001", "192.0.2.7:443"), None, "nobody saw it made");
        let udp = registry.departed(Carrier::Udp, address("10.0.0.1:40000"), address("192.0.2.7:443"));
        assert_eq!(udp, None);
    }

    #[test]
    fn whoever_connects_what_another_made_does_not_take_it() {
        let mut registry = registry();
        registry.note(101, maker(2, 1));
        assert_eq!(pid(registry.by_cookie(101, Certainty::Created)), Some((4321, Certainty::Created)));
    }

    #[test]
    fn a_connection_that_is_gone_began_when_it_was_asked_for() {
        const US: u64 = 1_000;
        let (server, other, nobody) = ("192.0.2.7:443", "192.0.2.8:443", "0.0.0.0:0");
        let mut registry = registry();
        let sockets =
            [(1, 1000, server), (2, 5000, server), (1, 5050, server), (2, 5100, other), (2, 5150, nobody)];
        for (cookie, (process, since_us, peer)) in (1001..).zip(sockets) {
            registry.note(cookie, Maker { since_ns: since_us * US, ..maker(process, 1) });
            registry.depart(&departure(cookie, Carrier::Tcp, "10.0.0.1:40000", peer));
        }
        let ask = |local: &str, at_us: u64| {
            let owner = registry.begun_at(address(local), address(server), at_us * US);
            owner.map(|owner| owner.number)
        };
        let expected =
            [(999, None), (1000, Some(1)), (1200, Some(1)), (1201, None), (5049, Some(2)), (5199, Some(1))];
        assert_eq!(expected.map(|(at_us, _)| ask("10.0.0.1:40000", at_us)), expected.map(|(_, owner)| owner));
        assert_eq!(ask("10.0.0.2:40000", 1000), None);
    }

    #[test]
    fn of_too_many_the_older_are_forgotten() {
        let mut registry = registry();
        let last = 1 << 20;
        for cookie in last - MAX_MADE as u64..last {
            registry.note(cookie, maker(1, 1));
        }
        assert!((MAX_MADE / 3..=MAX_MADE).contains(&registry.made.len()));
        let is_known = |registry: &Registry, cookie| registry.by_cookie(cookie, Certainty::Created).is_some();
        assert_eq!([101, last - 1].map(|cookie| is_known(&registry, cookie)), [false, true]);
        // Others on the machine have made very many since.
        while registry.made.len() < MAX_MADE {
            registry.note(last + registry.made.len() as u64, maker(1, 1));
        }
        registry.note(last << 8, maker(1, 1));
        registry.note(last << 9, maker(1, 1));
        assert!(registry.made.len() > MAX_MADE / 3, "{}", registry.made.len());
    }

    #[test]
    fn a_word_may_come_later_than_the_end() {
        let mut registry = registry();
        registry.depart(&departure(103, Carrier::Tcp, "10.0.0.1:40001", "192.0.2.7:443"));
        registry.hear(Word::Made { cookie: 103, maker: maker(2, 1) });
        let owner = registry.departed(Carrier::Tcp, address("10.0.0.1:40001"), address("192.0.2.7:443"));
        assert_eq!(pid(owner), Some((4322, Certainty::Created)));
    }

    #[test]
    fn a_socket_without_peer_talks_to_all() {
        let mut registry = registry();
        registry.depart(&departure(101, Carrier::Udp, "0.0.0.0:5000", "0.0.0.0:0"));
        registry.depart(&departure(102, Carrier::Tcp, "[::]:80", "[::]:0"));
        let (local, peer) = (address("10.0.0.1:5000"), address("192.0.2.7:53"));
        assert_eq!(pid(registry.departed(Carrier::Udp, local, peer)), Some((4321, Certainty::Created)));
        let local = address("10.0.0.1:80");
        assert_eq!(pid(registry.departed(Carrier::Tcp, local, peer)), Some((4322, Certainty::Listener)));
    }

    #[test]
    fn of_two_sockets_with_the_same_addresses_each_had_them_in_its_time() {
        const MS: u64 = 1_000_000;
        let ask = |[first, second]: [(u64, u64); 2], at_ms: u64| {
            let mut registry = registry();
            for (process, (since_ms, heard_ms)) in [(1, first), (2, second)] {
                let cookie = 1000 + u64::from(process);
                registry.note(cookie, Maker { since_ns: since_ms * MS, ..maker(process, 1) });
                let gone = departure(cookie, Carrier::Udp, "10.0.0.1:5000", "192.0.2.7:53");
                registry.depart(&Departure { heard_ns: heard_ms * MS, ..gone });
            }
            let (local, peer) = (address("10.0.0.1:5000"), address("192.0.2.7:53"));
            let owner = registry.at((local, peer), at_ms * MS, None);
            let turns = registry.take_turns().len();
            assert_eq!((turns, registry.take_turns().len()), (2, 0));
            owner.map(|owner| owner.number)
        };
        // The first is heard of when the second is there already.
        let short = [(10, 20), (13, 24)];
        assert_eq!([10, 12, 13, 19, 30].map(|at_ms| ask(short, at_ms)), [1, 1, 2, 2, 2].map(Some));
        // The second was asked for long before it had them.
        let long = [(1, 9000), (2, 9500)];
        assert_eq!([1, 5, 8900, 9100].map(|at_ms| ask(long, at_ms)), [1, 1, 1, 2].map(Some));
    }

    #[test]
    fn a_socket_that_lives_has_its_addresses_since_the_one_before_it_went() {
        const MS: u64 = 1_000_000;
        let mut registry = registry();
        for (process, cookie, since_ms) in [(1, 1001, 10), (2, 1002, 13)] {
            registry.note(cookie, Maker { since_ns: since_ms * MS, ..maker(process, 1) });
        }
        let gone = departure(1001, Carrier::Udp, "10.0.0.1:5000", "192.0.2.7:53");
        registry.depart(&Departure { heard_ns: 20 * MS, ..gone });
        let living = registry.by_cookie(1002, Certainty::Created);
        let ask = |local: &str, at_ms: u64| {
            let owner = registry.at((address(local), address("192.0.2.7:53")), at_ms * MS, living.clone());
            owner.map(|owner| owner.number)
        };
        assert_eq!([11, 13, 19, 21].map(|at_ms| ask("10.0.0.1:5000", at_ms)), [1, 2, 2, 2].map(Some));
        assert_eq!(ask("10.0.0.2:5000", 11), Some(2), "the one that went was bound to another address");
        registry.note(1003, Maker { since_ns: 14 * MS, ..maker(1, 1) });
        let beside = departure(1003, Carrier::Udp, "[::]:5000", "[::]:0");
        registry.depart(&Departure { heard_ns: 400 * MS, ..beside });
        let both = registry.at((address("10.0.0.9:5000"), address("192.0.2.7:53")), 15 * MS, living.clone());
        assert_eq!(both.map(|owner| owner.number), Some(2), "it was there before, and is still");
    }

    #[test]
    fn a_socket_of_ipv6_has_addresses_of_ipv4_and_none_the_other_way_round() {
        let mut registry = registry();
        registry.depart(&departure(101, Carrier::Udp, "0.0.0.0:5000", "0.0.0.0:0"));
        registry.depart(&departure(102, Carrier::Udp, "[::]:5001", "[::]:0"));
        let ask = |local| pid(registry.departed(Carrier::Udp, address(local), address("192.0.2.7:53")));
        assert_eq!(ask("[2001:db8::1]:5000"), None);
        assert_eq!(ask("10.0.0.1:5001"), Some((4322, Certainty::Created)));
    }

    #[test]
    fn pings_are_of_whoever_has_the_id_or_is_alone() {
        let mut registry = registry();
        let maker = |process| maker(process, 0);
        assert_eq!(registry.pinger(9, false), None);
        registry.hear(Word::Pings(maker(1)));
        assert_eq!(pid(registry.pinger(9, false)), Some((4321, Certainty::Likely)));
        registry.hear(Word::Pings(maker(2)));
        assert_eq!(registry.pinger(9, false), None, "it may be either's");
        assert_eq!(pid(registry.pinger(4322, false)), Some((4322, Certainty::Likely)));
        // Any socket with a port will do.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let id = socket.local_addr().unwrap().port();
        registry.hear(Word::Ping(socket.into(), maker(1)));
        assert_eq!(pid(registry.pinger(id, false)), Some((4321, Certainty::Created)));
        assert_ne!(pid(registry.pinger(id, true)), Some((4321, Certainty::Created)));
    }

    #[test]
    fn what_is_oldest_is_forgotten() {
        let mut registry = registry();
        for cookie in 1000..1002 + MAX_DEPARTED as u64 {
            registry.hear(Word::Made { cookie, maker: maker(1, 0) });
            let local = SocketAddr::from(([10, 0, 0, 1], u16::try_from(cookie % 60_000 + 1).unwrap()));
            let departure =
                Departure { local, ..departure(cookie, Carrier::Udp, "0.0.0.0:1", "192.0.2.7:9") };
            registry.depart(&departure);
        }
        assert_eq!(registry.order.len(), MAX_DEPARTED);
        let kept: usize = registry.departed.values().map(VecDeque::len).sum();
        assert_eq!(kept, MAX_DEPARTED);
    }
}
