//! What makes programs log their keys.

use std::ffi::{OsStr, OsString};

/// Variables for a program that is to log its keys to `path`, given the options for node that it has.
///
/// - `SSLKEYLOGFILE`: curl and whatever uses libcurl, NSS (Firefox), Chromium, GnuTLS, Python's default contexts, OpenSSL built with
///   `enable-sslkeylog`; rustls, Go and QUIC programs that ask for it.
/// - `NODE_OPTIONS`: node does not look at the former, and has an option instead (node 12.16). What is there stays; a key log that is named there
///   already is left alone, since node writes one only.
pub fn environment(path: &str, node_options: Option<&OsStr>) -> Vec<(&'static str, OsString)> {
    let mut variables = vec![("SSLKEYLOGFILE", path.into())];
    let mut options = node_options.map_or_else(OsString::new, OsStr::to_owned);
    if has_keylog(&options) {
        return variables;
    }
    if !options.is_empty() {
        options.push(" ");
    }
    options.push(format!("{NODE_OPTION}={path}"));
    variables.push(("NODE_OPTIONS", options));
    variables
}

fn has_keylog(options: &OsStr) -> bool {
    options.to_string_lossy().contains(NODE_OPTION)
}

const NODE_OPTION: &str = "--tls-keylog";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn node_options(has: Option<&str>) -> Option<String> {
        let variables = environment("/k", has.map(OsStr::new));
        assert_eq!(variables[0], ("SSLKEYLOGFILE", "/k".into()));
        let (name, options) = variables.get(1)?;
        assert_eq!(*name, "NODE_OPTIONS");
        Some(options.to_str().unwrap().to_owned())
    }

    #[test]
    fn options_of_node_are_kept() {
        let kept = node_options(Some("--max-http-header-size=9"));
        assert_eq!(kept.as_deref(), Some("--max-http-header-size=9 --tls-keylog=/k"));
        assert_eq!(node_options(None).as_deref(), Some("--tls-keylog=/k"));
        assert_eq!(node_options(Some("")).as_deref(), Some("--tls-keylog=/k"));
        assert_eq!(node_options(Some("--tls-keylog=/mine")), None);
    }
}
