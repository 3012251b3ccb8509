//! Bars: what is promised, what was measured, and whether the one holds the other. A missed bar is told and is no
//! error, for the machine may have been busy.

/// `name` is a ratio or a figure that may be `most`.
pub(super) fn at_most(name: &str, figure: Option<f64>, most: f64) -> String {
    line(name, "at most", figure, most, figure.map(|figure| figure <= most))
}

/// `name` is a ratio or a figure that must be `least`.
pub(super) fn at_least(name: &str, figure: Option<f64>, least: f64) -> String {
    line(name, "at least", figure, least, figure.map(|figure| figure >= least))
}

/// A claim that holds or not.
pub(super) fn holds(claim: &str, is_met: bool) -> String {
    format!("{} {claim}\n", word(Some(is_met)))
}

fn line(name: &str, relation: &str, figure: Option<f64>, bar: f64, is_met: Option<bool>) -> String {
    let figure = figure.map_or_else(|| "not measured".to_owned(), |figure| format!("{figure:.2}"));
    format!("{} {name}: {figure}, {relation} {bar:.2}\n", word(is_met))
}

fn word(is_met: Option<bool>) -> &'static str {
    match is_met {
        Some(true) => "met   ",
        Some(false) => "MISSED",
        None => "?     ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_missed_or_unknown() {
        assert_eq!(at_most("start", Some(5.0), 5.0), "met    start: 5.00, at most 5.00\n");
        assert_eq!(at_most("start", Some(5.1), 5.0), "MISSED start: 5.10, at most 5.00\n");
        assert_eq!(at_least("speed", Some(0.7), 0.75), "MISSED speed: 0.70, at least 0.75\n");
        assert_eq!(at_least("speed", None, 0.75), "?      speed: not measured, at least 0.75\n");
        assert_eq!(holds("all is gone", true), "met    all is gone\n");
        assert_eq!(holds("all is gone", false), "MISSED all is gone\n");
    }
}
