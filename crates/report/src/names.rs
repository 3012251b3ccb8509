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
    /// The latest is the last.
    asked: HashMap<IpAddr, Vec<String>>,
    hosts: HashMap<IpAddr, String>,
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

    /// Learns from an answer of DNS, and gives what is new.
    pub(crate) fn learn(&mut self, message: &Message) -> Vec<(IpAddr, String)> {
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
            let Some(address) = address.filter(|_| self.asked.len() < MAX_NAMES) else { continue };
            let is_pointer = matches!(answer.data, Data::Pointer(_));
            // A name that somebody asked for says more than the one that an address says of itself.
            if name.is_empty() || (is_pointer && self.asked.contains_key(&address)) {
                continue;
            }
            if remember(self.asked.entry(address).or_default(), name) {
                news.push((address, name.clone()));
            }
        }
        news
    }

    /// The name of an address.
    pub fn get(&self, address: IpAddr) -> Option<&str> {
        self.all(address).next()
    }

    /// All names that an address has had, the latest first: hosts that share one are told apart by nothing else.
    pub(crate) fn all(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        let asked = self.asked.get(&address).into_iter().flatten().rev();
        asked.chain(self.hosts.get(&address)).map(String::as_str)
    }

    /// What was learned from answers, by address.
    pub fn learned(&self) -> Vec<(IpAddr, &str)> {
        let latest =
            self.asked.iter().filter_map(|(address, names)| Some((*address, names.last()?.as_str())));
        let mut all: Vec<_> = latest.collect();
        all.sort_unstable();
        all
    }
}

/// Makes a name the latest, and says whether it was not.
fn remember(names: &mut Vec<String>, name: &String) -> bool {
    if names.last() == Some(name) {
        return false;
    }
    names.retain(|other| other != name);
    if names.len() == MAX_NAMES_OF_ONE {
        names.remove(0);
    }
    names.push(name.clone());
    true
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
const MAX_NAMES: usize = 1 << 16;
/// Of one address.
const MAX_NAMES_OF_ONE: usize = 16;

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
        assert_eq!(names.learn(&answer("www.example.com", &records)), [(A, "www.example.com".into())]);
        assert_eq!(names.learn(&answer("www.example.com", &records)), []);
        assert_eq!(names.get(A), Some("www.example.com"));
        let pointer = [("7.2.0.192.in-addr.arpa", Data::Pointer("host7.example.net".into()))];
        assert_eq!(names.learn(&answer("7.2.0.192.in-addr.arpa", &pointer)), []);
        assert_eq!(names.learned(), [(A, "www.example.com")]);
    }

    #[test]
    fn an_address_nobody_asked_for_has_the_name_it_gives_itself() {
        let mut names = Names::default();
        let pointer = [("7.2.0.192.in-addr.arpa", Data::Pointer("host7.example.net".into()))];
        assert_eq!(names.learn(&answer("7.2.0.192.in-addr.arpa", &pointer)).len(), 1);
        assert_eq!(names.get(A), Some("host7.example.net"));
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(address_of_pointer(v6), "2001:db8::1".parse().ok());
        for wrong in
            ["ip6.arpa", "1.ip6.arpa", "300.2.0.192.in-addr.arpa", "2.0.192.in-addr.arpa", "example.com"]
        {
            assert_eq!(address_of_pointer(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_that_share_an_address_are_all_kept() {
        let mut names = Names::default();
        for name in ["a.example", "b.example", "a.example"] {
            assert_eq!(names.learn(&answer(name, &[(name, Data::Address(A))])).len(), 1);
        }
        assert_eq!(names.all(A).collect::<Vec<_>>(), ["a.example", "b.example"]);
        for n in 0..100 {
            let name = format!("{n}.example");
            names.learn(&answer(&name, &[(&name, Data::Address(A))]));
        }
        assert_eq!((names.all(A).count(), names.get(A)), (MAX_NAMES_OF_ONE, Some("99.example")));
    }

    #[test]
    fn hosts_give_names_where_nobody_asked() {
        let mut names = Names::default();
        names.read_hosts("# a comment\n127.0.0.1 localhost alias\n\n192.0.2.7\tprinter # here\n192.0.2.7 other\nnonsense x\n");
        assert_eq!(
            (names.get(A), names.get(IpAddr::from([127, 0, 0, 1]))),
            (Some("printer"), Some("localhost"))
        );
        names.learn(&answer("example.com", &[("example.com", Data::Address(A))]));
        assert_eq!(names.get(A), Some("example.com"));
    }
}
