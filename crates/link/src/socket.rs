//! The rtnetlink socket of one network namespace.
//!
//! # Kernel interface
//! `socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)`; see `nsntrace-netlink`.

use std::os::fd::{AsRawFd, RawFd};

use nsntrace_netlink::{Batch, Family, Message, RequestError, Socket};

use crate::{LinkError, Plan, Step};

/// Asks and changes the network namespace of the thread that opened it, wherever it is used.
#[derive(Debug)]
pub struct RouteSocket {
    inner: Socket,
}

impl RouteSocket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`LinkError::Netlink`]: `EMFILE` or `ENFILE` where there are no descriptors left.
    pub fn open() -> Result<Self, LinkError> {
        match Socket::open(Family::Route) {
            Ok(inner) => Ok(Self { inner }),
            Err(source) => Err(LinkError::Netlink { step: Step::Open, source }),
        }
    }

    /// Makes the changes of a plan in their order, with one system call.
    ///
    /// The kernel tries every one, also after it refused one.
    ///
    /// # Errors
    /// [`LinkError::Refused`] with the first step that was refused: `EPERM` without `CAP_NET_ADMIN` over the
    /// namespace, and what the methods of [`Plan`] name.
    pub fn apply(&mut self, plan: &Plan) -> Result<(), LinkError> {
        self.apply_with(plan, |_| {})
    }

    /// As [`Self::apply`], for plans that also ask something.
    pub(crate) fn apply_with(
        &mut self,
        plan: &Plan,
        on_reply: impl FnMut(Message<'_>),
    ) -> Result<(), LinkError> {
        let (batch, steps) = plan.parts();
        self.inner.exchange(batch, on_reply).map_err(|error| {
            let index = match &error {
                RequestError::Refused(refusal) => refusal.index,
                _ => 0,
            };
            // A plan that was sent has a step for each of its messages.
            LinkError::new(steps.get(index).cloned().unwrap_or(Step::Open), error)
        })
    }

    pub(crate) fn list<T>(
        &mut self,
        what: &'static str,
        request: &Batch,
        parse: impl FnMut(Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, LinkError> {
        self.inner.dump(request, parse).map_err(|error| LinkError::new(Step::List(what), error))
    }
}

impl AsRawFd for RouteSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}
