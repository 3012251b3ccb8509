//! A thread's name, for Rust's library to set.
//!
//! pthread_setname_np(3) of musl can name other threads, too, and brings printf(3) for it, 10 KB of a static binary. Rust's library names the calling thread and no other, which
//! takes one system call.
//!
//! # Kernel interface
//! prctl(2) `PR_SET_NAME`.

use libc::{c_char, c_int, pthread_t};

/// Takes the place of musl's.
#[unsafe(no_mangle)]
extern "C" fn pthread_setname_np(_calling: pthread_t, name: *const c_char) -> c_int {
    // SAFETY: `name` ends with a zero byte, as whoever calls this by the name that it has promises; the kernel reads 16 bytes at most.
    unsafe { libc::prctl(libc::PR_SET_NAME, name) }
}
