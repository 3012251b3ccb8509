//! The report for people: a table of what there is, with words for what is not, and a verdict at its end.

use std::fmt::Write as _;

use super::Diagnosis;
use super::check::{Finding, Group, State};
use super::verdict::Outlook;
use crate::help::VERSION_NUMBER;
use crate::transport::Transport;

/// The whole text.
pub(super) fn write(diagnosis: &Diagnosis) -> String {
    let mut page = String::new();
    write_subject(&mut page, diagnosis);
    for group in Group::ALL {
        line(&mut page, &format!("\n{}", group.heading()));
        let of_group = diagnosis.findings.iter().filter(|found| found.check.group == group);
        write_findings(&mut page, of_group);
    }
    page.push('\n');
    write_verdict(&mut page, diagnosis);
    page
}

fn write_subject(page: &mut String, diagnosis: &Diagnosis) {
    let subject = &diagnosis.subject;
    let who = if subject.uid == 0 { "root".to_owned() } else { format!("uid {}", subject.uid) };
    let (release, machine) = (&subject.release, &subject.machine);
    line(page, &format!("nsntrace {VERSION_NUMBER} on Linux {release} {machine}, as {who}"));
}

/// Of neighbours that were not tried for the same cause, the first one tells it.
fn write_findings<'a>(page: &mut String, findings: impl Iterator<Item = &'a Finding>) {
    let mut told = None;
    for Finding { check, state } in findings {
        let row =
            |result, words: &str| format!("  {:<TITLE_WIDTH$}{result:<RESULT_WIDTH$}{words}", check.title);
        let since = if let State::Untried(since) = state { Some(since) } else { None };
        match state {
            State::There(detail) => write_folded(page, &row("ok", detail), WORDS_COLUMN),
            State::Missing { error, lost, hint } => {
                write_folded(page, &row("missing", &without_numbers(error)), WORDS_COLUMN);
                write_remark(page, "so: ", lost.words());
                if let Some(hint) = hint {
                    write_remark(page, "hint: ", hint);
                }
            }
            State::Untried(_) if told == since => line(page, &row("not tried", "")),
            State::Untried(since) => {
                write_folded(page, &row("not tried", &format!("since {since}")), WORDS_COLUMN);
            }
        }
        told = since;
    }
}

fn write_remark(page: &mut String, head: &str, words: &str) {
    let indented = format!("{:RESULT_COLUMN$}{head}{words}", "");
    write_folded(page, &indented, RESULT_COLUMN + head.len());
}

fn write_verdict(page: &mut String, diagnosis: &Diagnosis) {
    let verdict = &diagnosis.verdict;
    for transport in [Transport::Nat, Transport::Proxy] {
        let words = outlook(verdict.outlook(transport));
        line(page, &format!("--net {:<6} {words}", transport.name()));
    }
    let choice = match verdict.auto() {
        Some(transport) => format!("takes {}", transport.name()),
        None => "has nothing to take: no program can be traced here".to_owned(),
    };
    line(page, &format!("--net auto   {choice}"));
}

fn outlook(obstacles: &Outlook) -> String {
    if obstacles.is_empty() {
        "works".into()
    } else {
        format!("does not work (see {})", obstacles.join(", "))
    }
}

/// Writes a line, in several of which all but the first begin at a column where it is too long.
fn write_folded(page: &mut String, text: &str, column: usize) {
    let (first, mut rest) = broken(text, LINE_WIDTH);
    line(page, first);
    while !rest.is_empty() {
        let (next, others) = broken(rest, LINE_WIDTH - column);
        line(page, &format!("{}{next}", " ".repeat(column)));
        rest = others;
    }
}

/// Splits words in what fits into a line and what does not. A word that is longer has a line of its own.
fn broken(words: &str, width: usize) -> (&str, &str) {
    let column = |index: usize| words.get(..index).map_or(0, |before| before.chars().count());
    let blanks = || words.match_indices(' ').map(|(index, _)| index);
    if words.chars().count() <= width {
        return (words, "");
    }
    let last_that_fits = blanks().take_while(|&index| column(index) <= width).last();
    last_that_fits
        .or_else(|| blanks().next())
        .and_then(|index| words.split_at_checked(index))
        .map_or((words, ""), |(first, others)| (first, others.trim_start()))
}

/// Numbers of errors say nothing to people that their words do not.
fn without_numbers(error: &str) -> String {
    let mut pieces = error.split(" (os error ");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once(')').map_or("", |(_number, rest)| rest))
}

fn line(page: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{}", text.trim_end());
}

const TITLE_WIDTH: usize = 21;
const RESULT_WIDTH: usize = 11;
const RESULT_COLUMN: usize = 2 + TITLE_WIDTH;
const WORDS_COLUMN: usize = RESULT_COLUMN + RESULT_WIDTH;
/// Fits most terminals.
const LINE_WIDTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::CHECKS;

    #[test]
    fn every_title_fits_its_column() {
        assert!(CHECKS.iter().all(|check| check.title.len() < TITLE_WIDTH));
        assert!(["missing", "not tried"].iter().all(|result| result.len() < RESULT_WIDTH));
    }

    #[test]
    fn long_words_are_broken_between_them() {
        let check = |words, first, others| assert_eq!(broken(words, 9), (first, others));
        check("", "", "");
        check("one two 3", "one two 3", "");
        check("one two three", "one two", "three");
        check("one two 3 four", "one two 3", "four");
        check("unbreakably long", "unbreakably", "long");
        check("unbreakably", "unbreakably", "");
        check("ünd ünd ü", "ünd ünd ü", "");
    }

    #[test]
    fn long_lines_go_on_at_a_column() {
        let mut page = String::new();
        write_folded(&mut page, &format!("  title {}", "word ".repeat(40).trim_end()), 8);
        let lines: Vec<_> = page.lines().collect();
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= LINE_WIDTH), "{page}");
        assert!(lines[0].starts_with("  title word word"), "{page}");
        assert!(lines[1..].iter().all(|line| line.starts_with("        word")), "{page}");
    }

    #[test]
    fn errors_are_told_in_words() {
        assert_eq!(without_numbers("no: it is not (os error 2)"), "no: it is not");
        assert_eq!(without_numbers("a (os error 1): b (os error 22), c"), "a: b, c");
        assert_eq!(without_numbers("plain (words)"), "plain (words)");
    }
}
