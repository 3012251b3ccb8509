//! What nsntrace says at its end, beside what its file says.

use super::numbered::Census;
use crate::process::Result;

/// The packets in the file must be those that nsntrace says it has written, and as many must be missing as it says the
/// kernel has dropped. The stack's own few packets are not numbered, and can be among the dropped.
///
/// # Errors
/// They are not, or nsntrace says nothing of the kind.
pub(super) fn check(words: &str, census: Census) -> Result {
    let Some((written, dropped)) = counts(words) else {
        return Err(format!("nsntrace does not say what it captured: {}", words.trim()).into());
    };
    let others_dropped = dropped.checked_sub(census.missing);
    let is_plausible = others_dropped.is_some_and(|others| others <= OTHERS_MAX);
    if written == census.total() && is_plausible {
        return Ok(());
    }
    Err(format!("nsntrace says {written} written, {dropped} dropped; the file has {census:?}").into())
}

/// Packets written, and packets dropped by the kernel.
fn counts(words: &str) -> Option<(u64, u64)> {
    let written = words.lines().find_map(|line| line.strip_prefix("Finished capturing "))?;
    let written = written.strip_suffix(" packets.")?.parse().ok()?;
    let dropped = words.lines().find_map(|line| line.split_once(" packets were dropped by the kernel"));
    Some((written, dropped.map_or(Some(0), |(count, _)| count.parse().ok())?))
}

/// Solicitations and reports of an IPv6 stack that comes up.
const OTHERS_MAX: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "Use ctrl-c to end at any time.\n\nFinished capturing 17 packets.\n";
    const DROPPED: &str =
        "3 packets were dropped by the kernel: they came faster than they could be written.\n";

    #[test]
    fn words_must_be_what_the_file_says() {
        let census = |found, missing| Census { found, missing, is_first_missing: false, others: 2 };
        assert!(check(WORDS, census(15, 0)).is_ok());
        assert!(check(WORDS, census(16, 0)).is_err());
        assert!(check(WORDS, census(15, 1)).is_err());
        let dropped = format!("{WORDS}{DROPPED}");
        assert_eq!(counts(&dropped), Some((17, 3)));
        assert!(check(&dropped, census(15, 3)).is_ok());
        assert!(check(&dropped, census(15, 2)).is_ok());
        assert!(check(&dropped, census(15, 4)).is_err());
        assert!(check(&dropped.replace("3 packets", "30 packets"), census(15, 3)).is_err());
        let silent = check("nsntrace: no\n", census(0, 0)).unwrap_err();
        assert_eq!(silent.to_string(), "nsntrace does not say what it captured: nsntrace: no");
    }
}
