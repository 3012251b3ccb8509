//! The first line of HTTP/1, and whom it is for.
//!
//! # References
//! RFC 9112, sections 3 and 4.

/// The beginning of a request or of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// What a client wants.
    Request {
        /// `GET` and its like.
        method: &'a str,
        /// A path, or with a proxy a whole URL.
        target: &'a str,
        /// What the header `Host` says, if it is there.
        host: Option<&'a str>,
    },
    /// What a server says to it.
    Response {
        /// 200 and its like.
        status: u16,
        /// `OK` and its like, in the server's words; empty if it has none.
        reason: &'a str,
    },
}

/// Reads the first bytes of a stream. `None` if they are not HTTP/1, or end within the first line.
pub fn head(bytes: &[u8]) -> Option<Head<'_>> {
    let (line, rest) = split_line(bytes)?;
    if let Some(rest) = line.strip_prefix(b"HTTP/1.") {
        let status = str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()?;
        let reason = rest.get(6..).and_then(|reason| str::from_utf8(reason).ok()).unwrap_or_default();
        return Some(Head::Response { status, reason });
    }
    let line = str::from_utf8(line).ok()?;
    let (request, version) = line.rsplit_once(' ')?;
    let (method, target) = request.split_once(' ')?;
    let is_request = is_method(method) && version.starts_with("HTTP/1.") && !target.is_empty();
    is_request.then(|| Head::Request { method, target, host: host(rest) })
}

/// Reads the first line of a request that was cut within its target: the method, and what there is of the target. `None` for any other bytes.
pub fn cut_request(bytes: &[u8]) -> Option<(&str, &str)> {
    let line = str::from_utf8(bytes).ok()?;
    let (method, target) = line.split_once(' ')?;
    let is_request =
        is_method(method) && target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic());
    is_request.then_some((method, target))
}

fn is_method(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

/// Whether more bytes may say more: it begins as HTTP does, and its headers have not ended.
pub fn is_unfinished(bytes: &[u8]) -> bool {
    let is_begun = match split_line(bytes) {
        Some(_) => head(bytes).is_some(),
        None => bytes.len() < MAX_LINE_LEN && may_begin(bytes),
    };
    is_begun && !bytes.windows(2).any(|end| end == b"\n\n") && !bytes.windows(4).any(|end| end == b"\r\n\r\n")
}

/// A method, or the version that a response begins with.
fn may_begin(bytes: &[u8]) -> bool {
    let mut word = bytes.iter().take_while(|byte| **byte != b' ');
    word.all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-/.".contains(byte))
}

fn host(mut headers: &[u8]) -> Option<&str> {
    while let Some((line, rest)) = split_line(headers) {
        let (name, value) = line.split_at(line.iter().position(|&byte| byte == b':')?);
        if name.eq_ignore_ascii_case(b"host") {
            return str::from_utf8(&value[1..]).ok().map(str::trim);
        }
        headers = rest;
    }
    None
}

/// A line without its end, and what follows. Lines end with LF, and CR before it.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(MAX_LINE_LEN).position(|&byte| byte == b'\n')?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..]))
}

/// Servers take 8000 bytes, as RFC 9112 wants them to.
const MAX_LINE_LEN: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_it_wants_and_of_whom() {
        let bytes = b"GET /a?b=c HTTP/1.1\r\nAccept: */*\r\nhost: example.com:8080 \r\n\r\n";
        let expected = Head::Request { method: "GET", target: "/a?b=c", host: Some("example.com:8080") };
        assert_eq!(head(bytes), Some(expected));
        let expected = Head::Request { method: "M-SEARCH", target: "*", host: None };
        assert_eq!(head(b"M-SEARCH * HTTP/1.0\n\n"), Some(expected));
    }

    #[test]
    fn a_response_says_its_status() {
        for (bytes, status, reason) in [
            (&b"HTTP/1.1 404 Not Found\r\n"[..], 404, "Not Found"),
            (b"HTTP/1.0 200\n", 200, ""),
            (b"HTTP/1.1 200 \xff\n", 200, ""),
        ] {
            assert_eq!(head(bytes), Some(Head::Response { status, reason }));
        }
        assert_eq!(head(b"HTTP/1.1 4x4 \r\n"), None);
        assert_eq!(head(b"HTTP/1.\r\n"), None);
    }

    #[test]
    fn a_request_that_was_cut_says_what_it_wants_all_the_same() {
        assert_eq!(cut_request(b"GET /a/long/pa"), Some(("GET", "/a/long/pa")));
        for bytes in [
            &b"GET"[..],
            b"GET ",
            b"get /a",
            b"GET /a HTTP/1.1\r\n",
            b"MAIL FROM:<a",
            b"GET /\x1b",
            b"\x16\x03 /",
        ] {
            assert_eq!(cut_request(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn other_bytes_are_nothing() {
        for bytes in [
            &b""[..],
            b"GET / HTTP/1.1",
            b"\x16\x03\x01\n",
            b"GET /\n",
            b" / HTTP/1.1\n",
            b"get / HTTP/1.1\n",
        ] {
            assert_eq!(head(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn headers_end_with_an_empty_line() {
        for (bytes, expected) in [
            (&b"GE"[..], true),
            (b"GET / HTTP/1.1\r\nHo", true),
            (b"HTTP/1.1 20", true),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            (b"GET / HTTP/1.0\n\nbody", false),
            (b"SSH-2.0-x\r\n", false),
            (b"\x05\x01\x00", false),
        ] {
            assert_eq!(is_unfinished(bytes), expected, "{bytes:?}");
        }
    }
}
