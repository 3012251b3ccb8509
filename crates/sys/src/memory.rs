//! Advice about our own memory.

use std::io;

use rustix::mm::{Advice, madvise};

/// Asks for huge pages under `memory` (`MADV_HUGEPAGE`), which is best asked before it is touched: a device gets it in one piece then, and the
/// kernel has one page to hold instead of hundreds. Where it has none to give, ordinary ones are there as before.
///
/// # Errors
/// `EINVAL`: `memory` does not begin at a page, or this kernel has none of them (`CONFIG_TRANSPARENT_HUGEPAGE`).
///
/// # References
/// madvise(2); Documentation/admin-guide/mm/transhuge.rst.
pub fn prefer_huge_pages(memory: &mut [u8]) -> io::Result<()> {
    // SAFETY: the advice changes neither what is in the memory nor whose it is.
    unsafe { madvise(memory.as_mut_ptr().cast(), memory.len(), Advice::LinuxHugepage) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_changes_no_byte_and_wants_whole_pages() {
        let mut memory = vec![7_u8; 3 << 12];
        let start = memory.as_ptr().align_offset(1 << 12);
        let advised = prefer_huge_pages(&mut memory[start..start + (1 << 12)]);
        let has_them = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
        assert_eq!(advised.is_ok(), has_them, "{advised:?}");
        assert!(memory.iter().all(|&byte| byte == 7));
        let odd = prefer_huge_pages(&mut memory[start + 1..start + 9]).unwrap_err();
        assert_eq!(odd.raw_os_error(), Some(libc::EINVAL));
    }
}
