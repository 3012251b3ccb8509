//! What makes programs log their keys.

use std::ffi::{OsStr, OsString};

/// Variables for a program that is to log its keys to `path`, given those that it has.
///
/// - `SSLKEYLOGFILE`: curl and whatever uses libcurl, NSS (Firefox), Chromium, GnuTLS, Python's default contexts, wget, rustls and Go programs that ask for it.
/// - `NODE_OPTIONS`: node does not look at the former, and has an option instead. What is there stays.
pub fn environment(path: &str, node_options: Option<&OsStr>) -> [(&'static str, OsString); 2] {
    let mut options = node_options.map_or_else(OsString::new, OsStr::to_owned);
    if !options.is_empty() {
        options.push(" ");
    }
    options.push(format!("--tls-keylog={path}"));
    [("SSLKEYLOGFILE", path.into()), ("NODE_OPTIONS", options)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_node_are_kept() {
        let [(_, path), (_, options)] = environment("/k", Some(OsStr::new("--max-http-header-size=9")));
        assert_eq!((path, options), ("/k".into(), "--max-http-header-size=9 --tls-keylog=/k".into()));
        assert_eq!(environment("/k", None)[1].1, "--tls-keylog=/k");
    }
}
