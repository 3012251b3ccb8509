//! How large a binary is, crate by crate, and how large it may be.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::process::Result;

/// Prints what each crate brings, read from the linker's map, largest first.
pub(super) fn table(map: &str) -> String {
    let mut crates: Vec<_> = crates(map).into_iter().collect();
    crates.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let small: u64 = crates.iter().skip(SHOWN).map(|(_, bytes)| bytes).sum();
    let mut table = String::new();
    for (name, bytes) in crates.iter().take(SHOWN) {
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{bytes:>9}  {name}");
    }
    let _ = writeln!(table, "{small:>9}  {} others", crates.len().saturating_sub(SHOWN));
    table
}

/// # Errors
/// It is larger than it may be, or so much smaller that the ceiling is to be lowered.
pub(super) fn check(bytes: usize, ceiling: usize) -> Result {
    if bytes > ceiling {
        return Err(format!("{bytes} bytes are more than the {ceiling} that it may have").into());
    }
    if bytes + SLACK < ceiling {
        return Err(format!(
            "{bytes} bytes are far below the ceiling of {ceiling}: lower it in xtask/src/dist.rs"
        )
        .into());
    }
    Ok(())
}

/// Bytes of code by crate. What is not Rust's is under the name of its archive.
fn crates(map: &str) -> BTreeMap<String, u64> {
    let mut crates = BTreeMap::new();
    for line in map.lines() {
        let Some((size, owner)) = section(line) else { continue };
        *crates.entry(owner).or_default() += size;
    }
    crates
}

/// One line of the map: `VMA LMA Size Align file:(.text.symbol)`, numbers in hexadecimal.
fn section(line: &str) -> Option<(u64, String)> {
    let mut words = line.split_whitespace();
    let size = u64::from_str_radix(words.nth(2)?, 16).ok()?;
    let (file, section) = words.nth(1)?.rsplit_once(":(.text")?;
    let symbol = section.trim_start_matches('.').trim_end_matches(')');
    Some((size, crate_of(symbol).unwrap_or_else(|| archive(file))))
}

/// The crate in which a symbol's path begins.
fn crate_of(symbol: &str) -> Option<String> {
    if let Some((_, path)) = symbol.split_once("_ZN") {
        return legacy(path);
    }
    let (_, path) = symbol.split_once("_R")?;
    // v0: the first `Cs…_4core`.
    let root = path.split("Cs").skip(1).find_map(|piece| piece.split_once('_').map(|(_, name)| name))?;
    counted(root).map(|(name, _)| name.to_owned())
}

/// `8nsntrace6worker…`, or `33_$LT$core..iter..Map$LT$…` for what is implemented for a type.
fn legacy(path: &str) -> Option<String> {
    let (first, _) = counted(path)?;
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if first.chars().all(word) {
        return Some(first.to_owned());
    }
    let mut crates = first.split("..").filter_map(|piece| piece.rsplit(['$', ' ']).next());
    let name = crates.next()?.trim_start_matches('_');
    Some(name.to_owned())
}

/// The text that a number before it is the length of, and the rest.
fn counted(text: &str) -> Option<(&str, &str)> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    text[digits..].split_at_checked(text[..digits].parse().ok()?)
}

/// `libc.a` of `/a/libc.a(exit.lo)`.
fn archive(file: &str) -> String {
    let file = file.split('(').next().unwrap_or(file);
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('-').next().unwrap_or(name).to_owned()
}

/// How many crates are named.
const SHOWN: usize = 30;
/// How far below its ceiling a binary may be: what compilers and other targets differ by.
const SLACK: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "
             VMA              LMA     Size Align Out     In      Symbol
           63120            63120   1e2115    16 .text
           72766            72766      1da     1         /r/lib/rcrt1.o:(.text._start_c)
          185280           185280       10    16         /t/n-77.rcgu.o:(.text._RINvNtCs7BliBxkEZsN_4core3ptr4dropNtCs1_5neliE)
          185290           185290       20    16         /t/n-77.rcgu.o:(.text.unlikely._RNvMs0_NtCs8w4ax0dKNtV_15nsntrace_filter5parse)
          185290           185290       30    16         /t/n-77.rcgu.o:(.text._ZN8nsntrace4main17h00E)
          185290           185290        1    16         /t/n-77.rcgu.o:(.text._ZN33_$LT$core..iter..Map$LT$I$GT$$GT$4next17h00E)
          190000           190000       40    16         /r/lib/libc.a(exit.lo):(.text.exit)
          200000           200000       50    16         /t/n-77.rcgu.o:(.rodata.x)
";

    #[test]
    fn code_is_counted_for_the_crate_that_it_is_written_in() {
        let crates = crates(MAP);
        let expected = [
            ("core", 0x11),
            ("libc.a", 0x40),
            ("nsntrace", 0x30),
            ("nsntrace_filter", 0x20),
            ("rcrt1.o", 0x1da),
        ];
        assert_eq!(crates, expected.map(|(name, bytes)| (name.to_owned(), bytes)).into());
        assert!(table(MAP).starts_with("      474  rcrt1.o\n       64  libc.a\n"), "{}", table(MAP));
    }

    #[test]
    fn the_ceiling_goes_down_only() {
        assert!(check(1000, 1000).is_ok());
        assert!(check(1001, 1000).unwrap_err().to_string().contains("more than the 1000"));
        assert!(check(1000, 1000 + SLACK + 1).unwrap_err().to_string().contains("lower it"));
    }
}
