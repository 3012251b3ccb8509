//! What the kernel said to each message of a batch.

use rustix::io::Errno;

use crate::{Batch, Message, Refusal, RequestError, SocketError, message::Outcome};

/// The acknowledgements that a batch asked for, while they come in.
pub(crate) struct Answers {
    first_seq: u32,
    pending: Vec<bool>,
    refusal: Option<Refusal>,
}

impl Answers {
    /// Awaits those of a batch whose first message was sent with this number.
    pub(crate) fn to(batch: &Batch, first_seq: u32) -> Self {
        Self { first_seq, pending: batch.wants_ack(), refusal: None }
    }

    /// Notes a yes or a no. Gives back what answers the batch in another way; what does not answer it is nothing to us.
    pub(crate) fn take<'a>(&mut self, message: Message<'a>) -> Option<Message<'a>> {
        let index = index_in(self.first_seq, self.pending.len(), &message)?;
        let Some(Outcome { errno, extack, .. }) = message.outcome() else { return Some(message) };
        self.pending[index] = false;
        if let Some(errno) = errno {
            self.refused(index, errno, extack);
        }
        None
    }

    /// Whether every message was acknowledged.
    pub(crate) fn is_complete(&self) -> bool {
        self.refusal.is_none() && !self.pending.contains(&true)
    }

    /// What came of it, when nothing more comes.
    pub(crate) fn outcome(self) -> Result<(), RequestError> {
        match self.refusal {
            Some(refusal) => Err(RequestError::Refused(refusal)),
            None if self.pending.contains(&true) => Err(SocketError::Unanswered.into()),
            None => Ok(()),
        }
    }

    /// Keeps the refusal of the earliest message: later ones often fail only because it did.
    fn refused(&mut self, index: usize, errno: Errno, extack: Option<String>) {
        if self.refusal.as_ref().is_none_or(|kept| index < kept.index) {
            self.refusal = Some(Refusal { index, errno, extack });
        }
    }
}

/// Which message of a batch is answered, if it is one of it.
pub(crate) fn index_in(first_seq: u32, count: usize, message: &Message<'_>) -> Option<usize> {
    let index = usize::try_from(message.nlmsg_seq().wrapping_sub(first_seq)).ok()?;
    (index < count).then_some(index)
}
