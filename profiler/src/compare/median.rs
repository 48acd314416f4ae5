//! The median of values that came one after the other, and how well it is known.

/// The 97.5 % point of the normal distribution.
const NORMAL: f64 = 1.96;

/// With fewer values there is no 95 % interval: all six lie on one side of the median in 3 % of the cases, five in 6 %.
const FEWEST: usize = 6;

/// How much the interval allows for the uncertainty of the correlation, by lag that was looked at. By simulation:
/// docs/statistics.md.
const UNCERTAINTY: f64 = 5.0;

/// Correlation never makes values worth more than so many independent ones each.
const LEAST_INFLATION: f64 = 0.5;

/// A median and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// 95 % interval on it.
    pub ci95: [f64; 2],
    /// So many independent values would tell as much.
    pub effective: f64,
}

impl Estimate {
    /// Length of the interval by the median.
    pub fn width(&self) -> f64 {
        (self.ci95[1] - self.ci95[0]) / self.median
    }
}

/// The median; None of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    middle(&sorted(values))
}

/// The 95 % interval on the median of values in their order; None with fewer than six.
pub fn median_interval(values: &[f64]) -> Option<[f64; 2]> {
    estimate(values).map(|estimate| estimate.ci95)
}

/// The median of values in their order, with the rank interval that their serial correlation leaves; None with fewer than six.
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    if values.len() < FEWEST {
        return None;
    }
    let sorted = sorted(values);
    let median = middle(&sorted)?;
    let inflation = inflation(values, median);
    let rank = rank(values.len(), inflation);
    let last = (values.len() - 1) as f64;
    Some(Estimate {
        median,
        ci95: [at(&sorted, rank), at(&sorted, last - rank)],
        effective: values.len() as f64 / inflation.max(1.0),
    })
}

/// The rank (from 0, with a fraction) at which the interval on the median of n values begins. The number of values below the
/// true median is binomial, with n/4 as its variance, and `inflation` times as much where values depend on each other.
fn rank(n: usize, inflation: f64) -> f64 {
    let n = n as f64;
    ((n - 1.0) / 2.0 - NORMAL / 2.0 * (n * inflation).sqrt()).max(0.0)
}

/// By how much the variance of the number of values above the median exceeds that of independent ones: 1 + 2 * the sum of the
/// autocorrelations of the signs of value - median, in pairs as long as these are positive (Geyer's initial sequence).
fn inflation(values: &[f64], median: f64) -> f64 {
    let signs: Vec<i32> = values
        .iter()
        .map(|&value| i32::from(value > median) - i32::from(value < median))
        .collect();
    let covariance = |lag: usize| -> i32 {
        let later = signs[lag..].iter();
        later.zip(&signs).map(|(later, sign)| later * sign).sum()
    };
    let variance = covariance(0);
    if variance == 0 {
        return 1.0;
    }
    let (mut sum, mut lags) = (0, 0);
    while lags + 1 < signs.len() / 2 {
        let pair = covariance(lags) + covariance(lags + 1);
        if pair <= 0 {
            break;
        }
        sum += pair;
        lags += 2;
    }
    let inflation = 2.0 * f64::from(sum) / f64::from(variance) - 1.0;
    let uncertainty = UNCERTAINTY * lags as f64 / signs.len() as f64;
    (inflation * (1.0 + uncertainty)).max(LEAST_INFLATION)
}

/// The value at a rank with a fraction, between its neighbours.
pub(super) fn at(sorted: &[f64], rank: f64) -> f64 {
    let below = rank as usize;
    let (lower, upper) = (sorted[below], sorted[(below + 1).min(sorted.len() - 1)]);
    lower + (rank - below as f64) * (upper - lower)
}

fn middle(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

pub(super) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::pairs::splitmix;

    #[test]
    fn ranks_agree_with_published_tables() {
        // Conover 1999, section 3.2: of 6 values the extremes, of 10 the 2nd and 9th, of 20 the 6th and 15th, of 100 the 40th and 61st
        // are at or just beyond 95 %, and the next ranks below it.
        for (n, exact) in [
            (6, 0.0),
            (10, 1.0),
            (20, 5.0),
            (100, 39.0),
            (10_000, 4901.0),
        ] {
            let rank = rank(n, 1.0);
            assert!((exact..exact + 1.0).contains(&rank), "{n}: {rank}");
        }
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn few_values_have_no_interval() {
        assert_eq!(median_interval(&[1.0; 5]), None);
        assert_eq!(median_interval(&[1.0; 6]), Some([1.0, 1.0]));
        assert_eq!(
            median_interval(&[3.0, 1.0, 4.0, 1.0, 5.0, 9.0]).unwrap()[0],
            1.0
        );
    }

    #[test]
    fn values_that_stay_where_they_were_count_for_less() {
        let draw = |number: u64| (splitmix(number) % 1000) as f64;
        let in_turns: Vec<f64> = (0..400).map(|i| draw(i / 10) + draw(1000 + i)).collect();
        // The same values in another order.
        let mixed: Vec<f64> = (0..400).map(|i| in_turns[i * 147 % 400]).collect();
        let (in_turns, mixed) = (estimate(&in_turns).unwrap(), estimate(&mixed).unwrap());
        assert_eq!(in_turns.median, mixed.median);
        assert!(in_turns.effective < 150.0, "{in_turns:?}");
        assert!(mixed.effective > 250.0, "{mixed:?}");
        assert!(in_turns.width() > mixed.width());
    }
}
