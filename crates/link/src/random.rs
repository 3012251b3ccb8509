//! Random numbers from the kernel.
//!
//! # Kernel interface
//! getrandom(2).

use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

/// 128 random bits, for [`block`](crate::block) and whoever else must not choose as somebody else does.
///
/// # Errors
/// `ENOSYS` before Linux 3.17, or where a seccomp filter forbids getrandom(2).
pub fn random_bits() -> Result<u128, Errno> {
    let mut bytes = [0; 16];
    // Up to 256 bytes come whole, and once the pool is ready no signal interrupts them; before, at boot, one
    // may.
    loop {
        match getrandom(&mut bytes[..], GetRandomFlags::empty()) {
            Ok(_) => return Ok(u128::from_ne_bytes(bytes)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_differ() {
        assert_ne!(random_bits().unwrap(), random_bits().unwrap());
    }
}
