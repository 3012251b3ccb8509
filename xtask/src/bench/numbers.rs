//! The numbers of a benchmark's command line: `--runs N` and its like.

use crate::process::Result;

/// A number that may be typed: its flag, the most it can be, and what it is where it is not typed.
pub(super) struct Number {
    pub(super) flag: &'static str,
    pub(super) max: u64,
    pub(super) default: u64,
}

/// What was typed for each of `numbers`, in their order.
///
/// # Errors
/// Names a word that is none of their flags, or no number from 1 to its most.
pub(super) fn parse<const N: usize>(words: &[&str], numbers: &[Number; N]) -> Result<[u64; N]> {
    let mut found = numbers.each_ref().map(|number| number.default);
    for pair in words.chunks(2) {
        let place = numbers.iter().position(|number| number.flag == pair[0]);
        let place = place.ok_or_else(|| format!("`{}` is not known here", pair[0]))?;
        let text = pair.get(1).ok_or_else(|| format!("{} takes a number", pair[0]))?;
        let value = text.parse().ok().filter(|value| (1..=numbers[place].max).contains(value));
        found[place] = value.ok_or_else(|| format!("{} takes no `{text}`", pair[0]))?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<[u64; 2]> {
        let words: Vec<_> = line.split_whitespace().collect();
        let numbers = [
            Number { flag: "--runs", max: 100, default: 5 },
            Number { flag: "--seconds", max: 60, default: 3 },
        ];
        parse(&words, &numbers)
    }

    #[test]
    fn numbers_are_typed_in_any_order_or_not_at_all() {
        assert_eq!(parsed("").unwrap(), [5, 3]);
        assert_eq!(parsed("--seconds 7").unwrap(), [5, 7]);
        assert_eq!(parsed("--seconds 7 --runs 1").unwrap(), [1, 7]);
    }

    #[test]
    fn what_is_no_number_is_named() {
        for (line, complaint) in [
            ("--runs", "--runs takes a number"),
            ("--runs 0", "--runs takes no `0`"),
            ("--runs 101", "--runs takes no `101`"),
            ("--seconds x", "--seconds takes no `x`"),
            ("--speed 3", "`--speed` is not known here"),
        ] {
            assert_eq!(parsed(line).unwrap_err().to_string(), complaint);
        }
    }
}
