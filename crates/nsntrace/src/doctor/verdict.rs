//! What all findings come to.

use super::check::Finding;
use crate::transport::Transport;

/// Which transports work here, for this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    nat: Outlook,
    proxy: Outlook,
}

/// What stands in the way of a transport, by the titles of the checks; nothing where it works.
pub(super) type Outlook = Vec<&'static str>;

impl Verdict {
    pub(super) fn of(findings: &[Finding]) -> Self {
        let obstacles = |transport| {
            let forbidding = findings.iter().filter(|finding| finding.forbids(transport));
            forbidding.map(|finding| finding.check.title).collect()
        };
        Self { nat: obstacles(Transport::Nat), proxy: obstacles(Transport::Proxy) }
    }

    pub(super) fn outlook(&self, transport: Transport) -> &Outlook {
        match transport {
            Transport::Nat => &self.nat,
            Transport::Proxy => &self.proxy,
        }
    }

    /// What `--net auto` comes to: NAT where it works, since worker falls back to the proxy where it does not.
    pub(super) fn auto(&self) -> Option<Transport> {
        [Transport::Nat, Transport::Proxy].into_iter().find(|&transport| self.outlook(transport).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::{Check, Group, Lost, State};

    static CHECK: Check = Check {
        name: "a-thing",
        title: "a thing",
        group: Group::Kernel,
        lost: Lost::Both,
        attempt: |_bench| Ok(String::new()),
    };

    #[track_caller]
    fn check(states: &[State], nat: &[&str], proxy: &[&str], auto: Option<Transport>) {
        let findings: Vec<_> =
            states.iter().map(|state| Finding { check: &CHECK, state: state.clone() }).collect();
        let verdict = Verdict::of(&findings);
        assert_eq!((&verdict.nat[..], &verdict.proxy[..], verdict.auto()), (nat, proxy, auto));
    }

    fn missing(lost: Lost) -> State {
        State::Missing { error: String::new(), lost, hint: None }
    }

    #[test]
    fn what_is_missing_decides_and_what_was_not_tried_does_not() {
        let fine = [State::There(String::new()), State::Untried(String::new()), missing(Lost::part("x"))];
        check(&fine, &[], &[], Some(Transport::Nat));
        check(&[missing(Lost::Nat)], &["a thing"], &[], Some(Transport::Proxy));
        check(&[missing(Lost::Proxy)], &[], &["a thing"], Some(Transport::Nat));
        check(&[missing(Lost::Both)], &["a thing"], &["a thing"], None);
        check(&[missing(Lost::Nat), missing(Lost::Proxy)], &["a thing"], &["a thing"], None);
    }
}
