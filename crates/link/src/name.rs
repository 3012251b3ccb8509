//! What a link is called: by number ([`IfIndex`]) and by name ([`IfName`]).
//!
//! # References
//! netdevice(7); `dev_valid_name()` in net/core/dev.c; `IFNAMSIZ` in include/uapi/linux/if.h.

use std::{fmt, str::FromStr};

/// The number of a link in its network namespace: 1 or more, and not used twice while the link lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfIndex(u32);

impl IfIndex {
    /// `lo` has this number in every network namespace (`LOOPBACK_IFINDEX` in include/net/flow.h).
    pub const LOOPBACK: Self = Self(1);

    /// What the kernel calls the first link that comes after `lo`.
    pub(crate) const SECOND: Self = Self(2);

    /// `None` for 0, which means "no link", and for what does not fit into the kernel's `int`.
    pub fn new(ifindex: u32) -> Option<Self> {
        (ifindex != 0 && i32::try_from(ifindex).is_ok()).then_some(Self(ifindex))
    }

    /// The plain number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a link: 1 to 15 bytes without white space, `/` and `:`, and neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName(Box<str>);

impl IfName {
    /// Checks a name as the kernel would.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let is_forbidden =
            |c: char| c == '/' || c == ':' || c.is_ascii_whitespace() || matches!(c, '\x0b' | '\0');
        match name {
            "" => Err(NameError::Empty),
            "." | ".." => Err(NameError::Directory),
            _ if name.len() > MAX_BYTES => Err(NameError::TooLong { bytes: name.len() }),
            _ => match name.chars().find(|c| is_forbidden(*c)) {
                Some(character) => Err(NameError::Character { character }),
                None => Ok(Self(name.into())),
            },
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsRef<str> for IfName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for IfName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

/// Why a text is not the name of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No bytes at all.
    #[error("an interface name has at least one character")]
    Empty,
    /// It does not fit into `IFNAMSIZ` with its closing zero.
    #[error("an interface name has at most {MAX_BYTES} bytes, not {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// `.` or `..`, which mean something else to sysfs.
    #[error("an interface name is neither \".\" nor \"..\"")]
    Directory,
    /// White space, `/`, `:` or a zero byte.
    #[error("an interface name does not contain '{character}'")]
    Character {
        /// The first such character.
        character: char,
    },
}

/// `IFNAMSIZ - 1` (linux/if.h).
const MAX_BYTES: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_takes() {
        for name in ["lo", "nst%d", "eth0.100", "a", "abcdefghijklmno", "wlan@home", "...", "h\u{f6}hle"] {
            assert_eq!(IfName::new(name).map(|name| name.to_string()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn names_that_it_refuses() {
        let check = |name: &str, error| assert_eq!(IfName::new(name), Err(error), "{name:?}");
        check("", NameError::Empty);
        check("abcdefghijklmnop", NameError::TooLong { bytes: 16 });
        check("..", NameError::Directory);
        check(".", NameError::Directory);
        for character in ['/', ':', ' ', '\t', '\n', '\x0b', '\0'] {
            check(&format!("a{character}b"), NameError::Character { character });
        }
    }

    #[test]
    fn name_errors_name_the_mistake() {
        let text = |name| IfName::new(name).unwrap_err().to_string();
        assert_eq!(text("a b"), "an interface name does not contain ' '");
        assert_eq!(text("abcdefghijklmnop"), "an interface name has at most 15 bytes, not 16");
        assert_eq!(text(".."), "an interface name is neither \".\" nor \"..\"");
        assert_eq!(text(""), "an interface name has at least one character");
    }

    #[test]
    fn an_ifindex_is_a_positive_int() {
        assert_eq!(IfIndex::new(0), None);
        assert_eq!(IfIndex::new(1), Some(IfIndex::LOOPBACK));
        assert_eq!(IfIndex::new(i32::MAX.unsigned_abs()).map(IfIndex::get), Some(0x7fff_ffff));
        assert_eq!(IfIndex::new(0x8000_0000), None);
    }
}
