//! Letting go of inherited descriptors.
//!
//! # Kernel interface
//! close(2) on what `/proc/self/fd` listed at the start.

use std::fs;
use std::os::fd::RawFd;

/// The descriptors besides the three standard ones that this process was started with: somebody else's pipes and files.
///
/// The program gets them, as if run alone. A process of ours that outlives what the shell waits for must not keep
/// them: whoever reads such a pipe would wait for us.
#[derive(Debug)]
pub struct Inherited(Vec<RawFd>);

impl Inherited {
    /// Lists them. To be called first of all in `main`: what is opened later is not inherited.
    pub fn at_start() -> Self {
        let Ok(listing) = fs::read_dir("/proc/self/fd") else { return Self(Vec::new()) };
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        let open: Vec<RawFd> = listing.flatten().filter_map(number).collect();
        // The listing's own descriptor is closed by now, and what takes its number later is ours.
        Self(open.into_iter().filter(|&fd| fd > libc::STDERR_FILENO && is_open(fd)).collect())
    }

    /// Closes them in this process, for good.
    pub fn close(self) {
        for fd in self.0 {
            // SAFETY: the descriptor came from before `main`, so no Rust value owns it; `self` is consumed, so that it
            // is closed once.
            unsafe { libc::close(fd) };
        }
    }
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer and changes nothing.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{IntoRawFd as _, OwnedFd};

    #[test]
    fn what_was_open_is_listed_and_closed() {
        let (reader, writer) = std::io::pipe().unwrap();
        let writer = OwnedFd::from(writer).into_raw_fd();
        let inherited = Inherited::at_start();
        assert!(inherited.0.contains(&writer));
        assert!(inherited.0.iter().all(|&fd| fd > 2));
        Inherited(vec![writer]).close();
        // The other end of a pipe whose writer is gone is at its end.
        let mut reader = std::fs::File::from(OwnedFd::from(reader));
        assert_eq!(std::io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
    }
}
