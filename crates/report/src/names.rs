//! Which names addresses have, as the program was told.
//!
//! # References
//! hosts(5).

use std::collections::HashMap;
use std::net::IpAddr;

use nsntrace_dissect::dns::{Data, Message};

/// Names of addresses.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// What was asked for, in the order of the answers.
    asked: HashMap<IpAddr, Vec<Asked>>,
    /// Of all of these.
    held_bytes: usize,
    hosts: HashMap<IpAddr, String>,
}

/// A name that an address had from some moment on.
#[derive(Clone, Debug)]
struct Asked {
    since_ns: u64,
    name: String,
}

impl Names {
    /// Reads the text of /etc/hosts: its first name is an address's own.
    pub fn read_hosts(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(name)) = (words.next().and_then(|word| word.parse().ok()), words.next())
            else {
                continue;
            };
            self.hosts.entry(address).or_insert_with(|| name.to_owned());
        }
    }

    /// Learns from an answer of DNS that came at `now_ns`, and gives what is new.
    pub(crate) fn learn(&mut self, message: &Message, now_ns: u64) -> Vec<(IpAddr, String)> {
        let Some(question) = message.questions.first().filter(|_| message.is_response) else {
            return Vec::new();
        };
        let mut news = Vec::new();
        for answer in &message.answers {
            let (address, name) = match &answer.data {
                // Whatever aliases are between: this name was asked for.
                Data::Address(address) => (Some(*address), &question.name),
                Data::Pointer(name) => (address_of_pointer(&answer.name), name),
                Data::Alias(_) => continue,
            };
            let is_pointer = matches!(answer.data, Data::Pointer(_));
            // A name that somebody asked for says more than the one that an address says of itself.
            let is_known = |address: &IpAddr| is_pointer && self.asked.contains_key(address);
            let Some(address) = address.filter(|address| !name.is_empty() && !is_known(address)) else {
                continue;
            };
            if self.remember(address, name, now_ns) {
                news.push((address, name.clone()));
            }
        }
        news
    }

    /// Makes a name the latest, and says whether it was not.
    fn remember(&mut self, address: IpAddr, name: &str, now_ns: u64) -> bool {
        let is_latest = |names: &Vec<Asked>| names.last().is_some_and(|last| last.name == name);
        if self.asked.get(&address).is_some_and(is_latest) || self.held_bytes > MAX_HELD_BYTES {
            return false;
        }
        let names = self.asked.entry(address).or_default();
        if names.len() == MAX_NAMES_OF_ONE {
            self.held_bytes -= names.remove(0).cost();
        }
        let asked = Asked { since_ns: now_ns, name: name.to_owned() };
        self.held_bytes += asked.cost();
        names.push(asked);
        true
    }

    /// The name of a peer that was first talked to at `now_ns`, and was greeted by a name perhaps: that one, if it is one of the address's; else the
    /// latest that was asked for by then; else the one of the greeting; else that of /etc/hosts; else what was asked for later.
    pub fn of<'a>(&'a self, address: IpAddr, now_ns: u64, greeted: Option<&'a str>) -> Option<&'a str> {
        let greeted_as_asked = greeted.filter(|name| self.is_asked(address, name));
        let asked = self.asked.get(&address).map_or(&[][..], Vec::as_slice);
        let by_then = asked.iter().rev().find(|asked| asked.since_ns <= now_ns);
        let by_then = by_then.map(|asked| asked.name.as_str());
        let later = asked.first().map(|asked| asked.name.as_str());
        greeted_as_asked.or(by_then).or(greeted).or_else(|| self.host(address)).or(later)
    }

    /// The name that an address has in /etc/hosts.
    pub fn host(&self, address: IpAddr) -> Option<&str> {
        self.hosts.get(&address).map(String::as_str)
    }

    /// Whether that is one of the names that were asked for and led to this address.
    pub(crate) fn is_asked(&self, address: IpAddr, name: &str) -> bool {
        let asked = self.asked.get(&address).into_iter().flatten();
        asked.into_iter().any(|asked| asked.name.eq_ignore_ascii_case(name))
    }

    /// All names that an address has had, the latest first: hosts that share one are told apart by nothing else.
    pub(crate) fn all(&self, address: IpAddr) -> Vec<&str> {
        let asked = self.asked.get(&address).into_iter().flatten().rev();
        let mut all = Vec::new();
        for name in asked.map(|asked| asked.name.as_str()).chain(self.host(address)) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }
}

impl Asked {
    fn cost(&self) -> usize {
        self.name.len() + size_of::<Self>()
    }
}

/// The address that is written backwards in the question for its name: RFC 1035, section 3.5; RFC 3596, section 2.5.
fn address_of_pointer(name: &str) -> Option<IpAddr> {
    let name = name.to_ascii_lowercase();
    if let Some(backwards) = name.strip_suffix(".in-addr.arpa") {
        let octets: Vec<u8> = backwards.rsplit('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        return <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
    }
    let digits: Vec<u32> =
        name.strip_suffix(".ip6.arpa")?.rsplit('.').map(hex_digit).collect::<Option<_>>()?;
    let is_whole = digits.len() == 32;
    is_whole.then(|| {
        digits.iter().fold(0_u128, |bits, digit| bits << 4 | u128::from(*digit)).to_be_bytes().into()
    })
}

fn hex_digit(text: &str) -> Option<u32> {
    let mut chars = text.chars();
    let digit = chars.next()?.to_digit(16);
    digit.filter(|_| chars.next().is_none())
}

/// More than any program asks for; somebody may answer without end.
const MAX_HELD_BYTES: usize = 32 << 20;
/// Of one address.
const MAX_NAMES_OF_ONE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use nsntrace_dissect::dns::{Answer, Qtype, Question};

    fn answer(asked: &str, records: &[(&str, Data)]) -> Message {
        Message {
            id: 1,
            is_response: true,
            rcode: 0,
            questions: vec![Question { name: asked.into(), qtype: Qtype(1) }],
            answers: records
                .iter()
                .map(|(name, data)| Answer { name: (*name).into(), data: data.clone() })
                .collect(),
        }
    }

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn an_address_has_the_name_that_was_asked_for() {
        let mut names = Names::default();
        let records = [
            ("www.example.com", Data::Alias("cdn.example.net".into())),
            ("cdn.example.net", Data::Address(A)),
        ];
        assert_eq!(names.learn(&answer("www.example.com", &records), 5), [(A, "www.example.com".into())]);
        assert_eq!(names.learn(&answer("www.example.com", &records), 6), []);
        assert_eq!(names.of(A, 5, None), Some("www.example.com"));
        let pointer = [("7.2.0.192.in-addr.arpa", Data::Pointer("host7.example.net".into()))];
        assert_eq!(names.learn(&answer("7.2.0.192.in-addr.arpa", &pointer), 7), []);
        assert_eq!(names.all(A), ["www.example.com"]);
    }

    #[test]
    fn of_names_that_share_an_address_a_peer_has_the_one_that_was_asked_for_before() {
        let mut names = Names::default();
        names.read_hosts("192.0.2.7 printer");
        for (now_ns, name) in [(10, "a.example"), (20, "b.example"), (30, "a.example")] {
            names.learn(&answer(name, &[(name, Data::Address(A))]), now_ns);
        }
        for (now_ns, greeted, expected) in [
            (9, None, "printer"),
            (10, None, "a.example"),
            (25, None, "b.example"),
            (99, None, "a.example"),
            (25, Some("A.example"), "A.example"),
            (25, Some("proxied.example"), "b.example"),
            (9, Some("proxied.example"), "proxied.example"),
        ] {
            assert_eq!(names.of(A, now_ns, greeted), Some(expected), "at {now_ns}, greeted as {greeted:?}");
        }
        assert_eq!(names.all(A), ["a.example", "b.example", "printer"]);
    }

    #[test]
    fn an_address_nobody_asked_for_has_the_name_it_gives_itself() {
        let mut names = Names::default();
        let pointer = [("7.2.0.192.in-addr.arpa", Data::Pointer("host7.example.net".into()))];
        assert_eq!(names.learn(&answer("7.2.0.192.in-addr.arpa", &pointer), 5).len(), 1);
        // Asked for after the packets that made somebody ask.
        assert_eq!(names.of(A, 3, None), Some("host7.example.net"));
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(address_of_pointer(v6), "2001:db8::1".parse().ok());
        for wrong in
            ["ip6.arpa", "1.ip6.arpa", "300.2.0.192.in-addr.arpa", "2.0.192.in-addr.arpa", "example.com"]
        {
            assert_eq!(address_of_pointer(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_is_answered() {
        let mut names = Names::default();
        for n in 0..100 {
            let name = format!("{n}.example");
            assert_eq!(names.learn(&answer(&name, &[(&name, Data::Address(A))]), n).len(), 1);
        }
        assert_eq!((names.all(A).len(), names.of(A, 99, None)), (MAX_NAMES_OF_ONE, Some("99.example")));
        let long = "x".repeat(1000);
        for n in 0..100_000_u32 {
            names.learn(&answer(&long, &[(&long, Data::Address(IpAddr::from(n.to_be_bytes())))]), 1);
        }
        assert!((30_000..40_000).contains(&names.asked.len()), "{}", names.asked.len());
    }

    #[test]
    fn hosts_give_names_where_nobody_asked() {
        let mut names = Names::default();
        names.read_hosts("# a comment\n127.0.0.1 localhost alias\n\n192.0.2.7\tprinter # here\n192.0.2.7 other\nnonsense x\n");
        assert_eq!(
            (names.of(A, 1, None), names.host(IpAddr::from([127, 0, 0, 1]))),
            (Some("printer"), Some("localhost"))
        );
        names.learn(&answer("example.com", &[("example.com", Data::Address(A))]), 1);
        assert_eq!(names.of(A, 1, None), Some("example.com"));
    }
}
