//! Figures of one thing that was measured more than once.

/// Figures, sorted.
#[derive(Clone, Debug, Default)]
pub(super) struct Series(Vec<f64>);

impl Series {
    pub(super) fn push(&mut self, figure: f64) {
        let place = self.0.partition_point(|&other| other <= figure);
        self.0.insert(place, figure);
    }

    /// The figure in the middle, the lower of the two where there are two; `None` of nothing.
    pub(super) fn median(&self) -> Option<f64> {
        self.0.get(self.0.len().saturating_sub(1) / 2).copied()
    }

    /// The smallest and the largest.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        Some((*self.0.first()?, *self.0.last()?))
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        let mut series = Self::default();
        figures.into_iter().for_each(|figure| series.push(figure));
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends_are_figures_that_were_measured() {
        assert_eq!(Series::default().median(), None);
        assert_eq!(Series::default().range(), None);
        let series: Series = [3.0, 1.0, 4.0, 2.0].into_iter().collect();
        assert_eq!((series.median(), series.range()), (Some(2.0), Some((1.0, 4.0))));
        let series: Series = [5.0, 1.0, 3.0].into_iter().collect();
        assert_eq!(series.median(), Some(3.0));
    }
}
