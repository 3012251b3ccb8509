//! What an event of the relay is about.

use nsntrace_reactor::Key;

/// What an event is about. The numbers count listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Time is up.
    Timer,
    /// A listener has datagrams.
    Datagrams(u32),
    /// A listener has connections.
    Connections(u32),
    /// The server of a UDP flow answered.
    Flow(Key),
    /// The client's side of a connection.
    Client(Key),
    /// The server's side of a connection.
    Server(Key),
}

impl nsntrace_reactor::Token for Token {
    const TIMER: Self = Self::Timer;

    fn pack(self) -> (u8, Key) {
        match self {
            Self::Timer => (0, Key::default()),
            Self::Datagrams(index) => (1, Key { index, generation: 0 }),
            Self::Connections(index) => (2, Key { index, generation: 0 }),
            Self::Flow(key) => (3, key),
            Self::Client(key) => (4, key),
            Self::Server(key) => (5, key),
        }
    }

    fn unpack(kind: u8, key: Key) -> Option<Self> {
        match kind {
            0 => Some(Self::Timer),
            1 => Some(Self::Datagrams(key.index)),
            2 => Some(Self::Connections(key.index)),
            3 => Some(Self::Flow(key)),
            4 => Some(Self::Client(key)),
            5 => Some(Self::Server(key)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use nsntrace_reactor::Token as _;

    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let key = Key { index: u32::MAX, generation: 0x00ff_fffe };
        let tokens = [
            Token::Timer,
            Token::Datagrams(7),
            Token::Connections(8),
            Token::Flow(key),
            Token::Client(key),
            Token::Server(Key { index: 0, generation: 1 }),
        ];
        for token in tokens {
            let (kind, key) = token.pack();
            assert_eq!(Token::unpack(kind, key), Some(token));
        }
        assert_eq!(Token::unpack(6, key), None);
    }
}
