//! What nsntrace says to a kernel that lacks something: the name of the option that it must be built with.

use std::fs;
use std::path::Path;

use super::modules;
use super::packages::System;
use crate::process::Result;

/// Judges lines of `MODULE STATUS`, one for each module that was hidden, and the words beside them. How many options were named.
///
/// # Errors
/// Says what is wrong.
pub(super) fn check(system: &System, results: &Path, lines: &str) -> Result<usize> {
    let words_of = |name: &str| fs::read_to_string(results.join(format!("lack-{name}.err")));
    let modules = modules::names(system)?;
    // What is in the kernel itself cannot be lacking.
    let expected: Vec<_> = LACKS.iter().filter(|lack| modules.contains(lack.module)).collect();
    compare(&expected, lines, |name| words_of(name).unwrap_or_default())
}

fn compare(expected: &[&Lack], lines: &str, words_of: impl Fn(&str) -> String) -> Result<usize> {
    for lack in expected {
        let Lack { module, names, .. } = lack;
        let found = lines.lines().find_map(|line| line.strip_prefix(module)?.strip_prefix(' '));
        let status = found.ok_or_else(|| format!("no trace was made without {module}"))?;
        let words = words_of(module);
        let is_right = match names {
            Some(option) => status == "125" && words.contains(&format!(" lacks {option} (module {module})")),
            None => status == "0",
        };
        if !is_right {
            return Err(format!("without {module} a trace ended with {status}: {}", words.trim_end()).into());
        }
    }
    Ok(expected.iter().filter(|lack| lack.names.is_some()).count())
}

/// A module that init.sh hides, or does not have.
struct Lack {
    module: &'static str,
    /// The option that the error must name; `None` if a trace is made without it.
    names: Option<&'static str>,
}

const fn lack(module: &'static str, names: &'static str) -> Lack {
    Lack { module, names: Some(names) }
}

const LACKS: &[Lack] = &[
    lack("veth", "CONFIG_VETH"),
    lack("nfnetlink", "CONFIG_NETFILTER_NETLINK"),
    lack("nf_tables", "CONFIG_NF_TABLES"),
    lack("nft_chain_nat", "CONFIG_NFT_NAT"),
    lack("nft_masq", "CONFIG_NFT_MASQ"),
    lack("nft_ct", "CONFIG_NFT_CT"),
    Lack { module: "nf_conntrack_netlink", names: None },
    Lack { module: "tcp_diag", names: None },
    lack("nft_tproxy", "CONFIG_NFT_TPROXY"),
    // Part of nf_tables since Linux 5.17.
    lack("nft_counter", "CONFIG_NFT_COUNTER"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(lines: &str, words: &str) -> Result<usize> {
        compare(&[&LACKS[0], &LACKS[6]], lines, |_| words.to_owned())
    }

    #[test]
    fn the_option_must_be_named_and_the_trace_refused() {
        let words = "hint: this kernel lacks CONFIG_VETH (module veth)\n";
        assert_eq!(judge("veth 125\nnf_conntrack_netlink 0\n", words).unwrap(), 1);
        for (lines, words) in [
            ("veth 0\nnf_conntrack_netlink 0\n", words),
            ("veth 125\nnf_conntrack_netlink 125\n", words),
            ("veth 125\nnf_conntrack_netlink 0\n", "nsntrace: cannot create a veth pair"),
            ("veth 125\n", words),
            ("nf_conntrack_netlink 0\n", words),
        ] {
            assert!(judge(lines, words).is_err(), "{lines}{words}");
        }
    }
}
