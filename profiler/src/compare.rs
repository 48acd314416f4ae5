//! The verdict on two backends from interleaved windows. Pure: numbers in, numbers out.
//!
//! In: the time per call of each window in the order in which they ran (A B B A A B B A ...). Out: the ratio of the baseline's
//! time to the candidate's, its interval, the noise floor of the same run, and a verdict.
//!
//! - **Ratio**: each pair of neighbouring windows gives one; the median of them is the result.
//! - **Interval**: the 95 % rank interval on a median, from the binomial distribution of the number of values below it: no
//!   assumption about the shape of the noise (Conover, *Practical Nonparametric Statistics*, 3rd ed. 1999, section 3.2;
//!   Hahn and Meeker, *Statistical Intervals*, 1991, section 5.2). It takes the pairs as independent.
//! - **Noise floor**: two windows of the same backend that follow each other (B B and A A above) give a ratio that is 1 but for
//!   noise. How far the 95 % interval on the median of these reaches from 1 is the floor.
//! - **Verdict**: differences up to the margin count as none; it is the noise floor, and at least [`SMALLEST_DIFFERENCE`]. Both sides
//!   are the same factor away from 1. A margin above [`LARGEST_SAME`] never makes two times the same.

use serde::{Deserialize, Serialize};

/// No difference below 1 % is called one, however quiet the run.
pub const SMALLEST_DIFFERENCE: f64 = 0.01;

/// A run whose noise floor is above 5 % can't tell that two times are the same.
pub const LARGEST_SAME: f64 = 0.05;

/// Whose window it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is compared against.
    Baseline,
    /// What is judged.
    Candidate,
}

/// One window: nanoseconds per call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timed {
    /// Whose.
    pub side: Side,
    /// Nanoseconds per call; above zero.
    pub ns: f64,
}

/// What the candidate is, measured by the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The whole interval lies above 1 + margin.
    Faster,
    /// The whole interval lies within 1 / (1 + margin) to 1 + margin, and the margin is at most [`LARGEST_SAME`].
    Same,
    /// The whole interval lies below 1 / (1 + margin).
    Slower,
    /// The interval is too wide to tell.
    Inconclusive,
}

/// A comparison of two backends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Baseline's time / candidate's time: the median over pairs. Above 1, the candidate is faster.
    pub ratio: f64,
    /// 95 % interval on `ratio`; None with fewer than six pairs.
    pub ci95: Option<[f64; 2]>,
    /// Median of the baseline's times / median of the candidate's.
    pub blocked_ratio: f64,
    /// How far the ratio of one backend to itself strays from 1; None with fewer than six such pairs.
    pub noise_floor: Option<f64>,
    /// Differences up to this count as none.
    pub margin: f64,
    /// Number of pairs.
    pub pairs: usize,
    /// The judgement.
    pub verdict: Verdict,
}

/// Compares the two sides of `windows`, each pair of which holds one window of either side. None without a pair.
pub fn compare(windows: &[Timed]) -> Option<Comparison> {
    let ratios: Vec<f64> = windows.chunks_exact(2).filter_map(pair_ratio).collect();
    let times = |side| -> Vec<f64> {
        windows
            .iter()
            .filter(|w| w.side == side)
            .map(|w| w.ns)
            .collect()
    };
    let ratio = median(&ratios)?;
    let blocked_ratio = median(&times(Side::Baseline))? / median(&times(Side::Candidate))?;
    let ci95 = median_interval(&ratios);
    let noise_floor = noise_floor(windows);
    let margin = noise_floor.unwrap_or(0.0).max(SMALLEST_DIFFERENCE);
    let verdict = match (ci95, noise_floor) {
        (Some(ci95), Some(_)) => judge(ci95, margin),
        _ => Verdict::Inconclusive,
    };
    Some(Comparison {
        ratio,
        ci95,
        blocked_ratio,
        noise_floor,
        margin,
        pairs: ratios.len(),
        verdict,
    })
}

fn pair_ratio(pair: &[Timed]) -> Option<f64> {
    match (pair[0].side, pair[1].side) {
        (Side::Baseline, Side::Candidate) => Some(pair[0].ns / pair[1].ns),
        (Side::Candidate, Side::Baseline) => Some(pair[1].ns / pair[0].ns),
        _ => None,
    }
}

fn noise_floor(windows: &[Timed]) -> Option<f64> {
    let ratios: Vec<f64> = windows
        .windows(2)
        .filter(|pair| pair[0].side == pair[1].side)
        .map(|pair| pair[0].ns / pair[1].ns)
        .collect();
    let [lo, hi] = median_interval(&ratios)?;
    Some((lo - 1.0).abs().max((hi - 1.0).abs()))
}

fn judge([lo, hi]: [f64; 2], margin: f64) -> Verdict {
    if lo > 1.0 + margin {
        Verdict::Faster
    } else if hi < 1.0 / (1.0 + margin) {
        Verdict::Slower
    } else if margin <= LARGEST_SAME && lo >= 1.0 / (1.0 + margin) && hi <= 1.0 + margin {
        Verdict::Same
    } else {
        Verdict::Inconclusive
    }
}

/// The median; None of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// The 95 % rank interval on the median; None with fewer than six values, which do not allow one.
pub fn median_interval(values: &[f64]) -> Option<[f64; 2]> {
    let rank = lower_rank(values.len())?;
    let sorted = sorted(values);
    Some([sorted[rank], sorted[sorted.len() - 1 - rank]])
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The largest rank (from 0) that the median of n values is below with at most 2.5 %: P(Binomial(n, 1/2) <= rank) <= 0.025.
fn lower_rank(n: usize) -> Option<usize> {
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut cumulative = 0.0;
    for rank in 0..n {
        cumulative += log_term.exp();
        if cumulative > 0.025 {
            return rank.checked_sub(1);
        }
        log_term += ((n - rank) as f64 / (rank + 1) as f64).ln();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows in the order A B B A A B B A ...
    fn interleave(pairs: usize, mut ns: impl FnMut(Side) -> f64) -> Vec<Timed> {
        (0..pairs)
            .flat_map(|pair| match pair % 2 {
                0 => [Side::Baseline, Side::Candidate],
                _ => [Side::Candidate, Side::Baseline],
            })
            .map(|side| Timed { side, ns: ns(side) })
            .collect()
    }

    /// A small generator of known quality (Steele, Lea and Flood's SplitMix64), uniform in (0, 1).
    struct Random(u64);

    impl Random {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + 1e-17
        }

        /// A quiet machine with neighbours: 2 % of jitter, and one window in ten up to twice as long.
        fn noise(&mut self) -> f64 {
            let jitter = 1.0 + 0.02 * self.uniform();
            if self.uniform() < 0.1 {
                jitter * (1.0 + self.uniform())
            } else {
                jitter
            }
        }
    }

    #[test]
    fn ranks_agree_with_published_tables() {
        // Conover 1999, section 3.2: n = 6 has the extremes, n = 10 the 2nd and 9th, n = 20 the 6th and 15th.
        let ranks: Vec<_> = [0, 1, 5, 6, 8, 9, 10, 20, 100].map(lower_rank).into();
        assert_eq!(
            ranks,
            [
                None,
                None,
                None,
                Some(0),
                Some(0),
                Some(1),
                Some(1),
                Some(5),
                Some(39)
            ]
        );
        // Where 2^-n underflows: close to n/2 - 0.98 sqrt(n).
        assert_eq!(lower_rank(10_000), Some(4901));
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn twice_as_fast_is_a_ratio_of_two() {
        let comparison = compare(&interleave(20, |side| {
            if side == Side::Baseline { 200.0 } else { 100.0 }
        }))
        .unwrap();
        assert_eq!(comparison.ratio, 2.0);
        assert_eq!(comparison.ci95, Some([2.0, 2.0]));
        assert_eq!(comparison.blocked_ratio, 2.0);
        assert_eq!(comparison.noise_floor, Some(0.0));
        assert_eq!(comparison.verdict, Verdict::Faster);
    }

    #[test]
    fn too_few_pairs_are_inconclusive() {
        let comparison = compare(&interleave(3, |side| {
            if side == Side::Baseline { 200.0 } else { 100.0 }
        }))
        .unwrap();
        assert_eq!((comparison.ratio, comparison.ci95), (2.0, None));
        assert_eq!(comparison.verdict, Verdict::Inconclusive);
        assert_eq!(compare(&[]), None);
    }

    #[test]
    fn the_interval_is_judged_as_a_whole() {
        assert_eq!(judge([1.02, 1.04], 0.01), Verdict::Faster);
        assert_eq!(judge([0.90, 0.98], 0.01), Verdict::Slower);
        assert_eq!(judge([0.995, 1.01], 0.01), Verdict::Same);
        assert_eq!(judge([0.98, 1.02], 0.01), Verdict::Inconclusive);
        assert_eq!(judge([1.005, 1.04], 0.01), Verdict::Inconclusive);
    }

    #[test]
    fn a_slow_stretch_of_the_machine_does_not_make_a_verdict() {
        // The machine halves its speed in the middle of the run; both sides suffer alike.
        let mut window = 0;
        let windows = interleave(100, |_| {
            window += 1;
            if window > 101 { 200.0 } else { 100.0 }
        });
        let comparison = compare(&windows).unwrap();
        assert_eq!((comparison.ratio, comparison.verdict), (1.0, Verdict::Same));
    }

    #[test]
    fn the_interval_covers_the_truth_in_95_of_100_runs() {
        let mut random = Random(7);
        let (mut covered, mut wrong) = (0, 0);
        for _ in 0..1000 {
            let windows = interleave(80, |side| {
                random.noise() * if side == Side::Baseline { 100.0 } else { 95.0 }
            });
            let comparison = compare(&windows).unwrap();
            let [lo, hi] = comparison.ci95.unwrap();
            covered += usize::from((lo..=hi).contains(&(100.0 / 95.0)));
            wrong += usize::from(matches!(
                comparison.verdict,
                Verdict::Slower | Verdict::Same
            ));
        }
        // 95 % +- 4 standard deviations of a binomial proportion over 1,000 runs; rank intervals err to the wide side.
        assert!((922..=990).contains(&covered), "{covered} of 1000");
        assert_eq!(wrong, 0);
    }

    #[test]
    fn a_backend_against_itself_is_hardly_ever_called_different() {
        let mut random = Random(11);
        let different = (0..1000)
            .filter_map(|_| compare(&interleave(80, |_| 100.0 * random.noise())))
            .filter(|comparison| matches!(comparison.verdict, Verdict::Faster | Verdict::Slower))
            .count();
        assert!(different <= 10, "{different} of 1000");
    }

    #[test]
    fn much_noise_is_never_the_same() {
        assert_eq!(judge([0.599, 2.022], 1.609), Verdict::Inconclusive);
        assert_eq!(judge([0.95, 1.05], 0.06), Verdict::Inconclusive);
        assert_eq!(judge([0.97, 1.03], 0.04), Verdict::Same);
        assert_eq!(judge([0.1, 0.2], 1.609), Verdict::Slower);
        assert_eq!(judge([3.0, 4.0], 1.609), Verdict::Faster);
    }
}
