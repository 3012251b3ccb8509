//! Any bytes as what one receive from a netlink socket brings: the walk ends and stays inside, and nobody who reads such messages panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nsntrace_netlink::{Attributes, Messages};

fuzz_target!(|bytes: &[u8]| {
    let mut seen_bytes = 0;
    for message in Messages::new(bytes).map_while(Result::ok) {
        seen_bytes += HEADER + message.payload().len();
        assert!(seen_bytes <= bytes.len() && is_inside(bytes, message.payload()));
        nsntrace_netlink::fuzzing::read(message);
        nsntrace_link::fuzzing::read(message);
        nsntrace_nat::fuzzing::read(message);
        nsntrace_nfqueue::fuzzing::read(message);
        nsntrace_sockdiag::fuzzing::read(message);
        // Headers of nfnetlink, of rtnetlink and of sock_diag.
        walk(message.payload(), message.split_header::<4>().map(|(_, attributes)| attributes), DEPTH);
        walk(message.payload(), message.split_header::<12>().map(|(_, attributes)| attributes), DEPTH);
        walk(message.payload(), message.split_header::<16>().map(|(_, attributes)| attributes), DEPTH);
        walk(message.payload(), message.split_header::<72>().map(|(_, attributes)| attributes), DEPTH);
    }
});

/// Every attribute, as if it had others in it.
fn walk(bytes: &[u8], attributes: Option<Attributes<'_>>, depth: usize) {
    let mut seen_bytes = 0;
    for attribute in attributes.into_iter().flatten() {
        seen_bytes += ATTRIBUTE_HEADER + attribute.bytes().len();
        assert!(seen_bytes <= bytes.len() && is_inside(bytes, attribute.bytes()));
        assert!(attribute.str().is_none_or(|text| text.len() <= attribute.bytes().len()));
        assert_eq!(attribute.u32().is_some(), attribute.bytes().len() == 4);
        if depth > 0 {
            walk(attribute.bytes(), Some(attribute.nested()), depth - 1);
        }
    }
}

fn is_inside(whole: &[u8], part: &[u8]) -> bool {
    let (whole, part) = (whole.as_ptr_range(), part.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;
/// An expression of a rule is in its list, its data in it, a counter in these.
const DEPTH: usize = 4;
