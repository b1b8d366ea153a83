//! The minimum, median and maximum of a few samples. There is no mean, because a single disturbed
//! round would change it.

use std::fmt;

/// Samples of one quantity in one unit.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a sample.
    pub fn push(&mut self, sample: f64) {
        let at = self.0.partition_point(|&other| other < sample);
        self.0.insert(at, sample);
    }

    /// The smallest sample. NaN if there are none.
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The largest sample. NaN if there are none.
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// The middle sample, or the mean of the two middle samples. NaN if there are none.
    pub fn median(&self) -> f64 {
        match self.0.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => self.0[n / 2],
            n => f64::midpoint(self.0[n / 2 - 1], self.0[n / 2]),
        }
    }
}

/// Formats as `min / median / max` with the precision of the formatter.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let text = format!(
            "{:.digits$} / {:.digits$} / {:.digits$}",
            self.min(),
            self.median(),
            self.max()
        );
        f.pad_integral(true, "", &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let mut samples = Samples::default();
        assert!(samples.median().is_nan());
        for sample in [5.0, 1.0, 9.0] {
            samples.push(sample);
        }
        assert_eq!(
            (samples.min(), samples.median(), samples.max()),
            (1.0, 5.0, 9.0)
        );
        samples.push(6.0);
        assert_eq!(samples.median(), 5.5);
        assert_eq!(format!("{samples:>24.1}"), "         1.0 / 5.5 / 9.0");
    }
}
