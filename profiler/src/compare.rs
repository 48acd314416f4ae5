//! The verdict on two backends from interleaved windows. Pure: numbers in, numbers out. Methods, sources and what they are
//! worth under which noise: docs/statistics.md.
//!
//! In: the time per call of each window in the order in which they ran ([`pairs`] says which and how many). Out: the ratio of the
//! baseline's time to the candidate's, its interval, the noise floor of the same run, a verdict, and what disturbed it ([`noise`]).
//!
//! - **Ratio**: each pair of neighbouring windows gives one; the median of them is the result.
//! - **Interval**: the 95 % rank interval on that median, wider where neighbouring pairs resemble each other ([`median`]).
//! - **Noise floor**: two windows of the same backend that follow each other give a ratio that is 1 but for
//!   noise, one way up or the other. How far the 95 % interval on the median of these reaches from 1 is the floor.
//! - **Verdict**: differences up to the margin count as none; it is the noise floor, and at least [`SMALLEST_DIFFERENCE`]. Both sides
//!   are the same factor away from 1. A margin above [`LARGEST_SAME`] never makes two times the same.

mod median;
mod noise;
mod pairs;
#[cfg(test)]
mod simulation;

pub use median::{Estimate, estimate, median, median_interval};
pub use pairs::{Looks, interleave};
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

impl Verdict {
    /// The word in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Faster => "faster",
            Verdict::Same => "same",
            Verdict::Slower => "slower",
            Verdict::Inconclusive => "inconclusive",
        }
    }
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
    /// So many independent pairs would tell as much; None with fewer than six pairs.
    #[serde(default)]
    pub effective_pairs: Option<f64>,
    /// Windows far off the others of their backend. They are not left out.
    #[serde(default)]
    pub outliers: usize,
    /// By what share the times changed from the first third of the run to the last; None where that may be chance or is below 1 %.
    #[serde(default)]
    pub drift: Option<f64>,
    /// The same of the ratio.
    #[serde(default)]
    pub ratio_drift: Option<f64>,
    /// The judgement.
    pub verdict: Verdict,
}

/// Compares the two sides of `windows`, each pair of which holds one window of either side. None without a pair.
pub fn compare(windows: &[Timed]) -> Option<Comparison> {
    let ratios: Vec<f64> = windows.chunks_exact(2).filter_map(pairs::ratio).collect();
    let level = |side| median(&noise::times(windows, side));
    let ratio = median(&ratios)?;
    let estimate = estimate(&ratios);
    let ci95 = estimate.map(|estimate| estimate.ci95);
    let noise_floor = noise_floor(windows);
    let margin = noise_floor.unwrap_or(0.0).max(SMALLEST_DIFFERENCE);
    let verdict = match (ci95, noise_floor) {
        (Some(ci95), Some(_)) => judge(ci95, margin),
        _ => Verdict::Inconclusive,
    };
    Some(Comparison {
        ratio,
        ci95,
        blocked_ratio: level(Side::Baseline)? / level(Side::Candidate)?,
        noise_floor,
        margin,
        pairs: ratios.len(),
        effective_pairs: estimate.map(|estimate| estimate.effective),
        outliers: noise::outliers(windows),
        drift: noise::time_drift(windows),
        ratio_drift: noise::drift(&ratios),
        verdict,
    })
}

fn noise_floor(windows: &[Timed]) -> Option<f64> {
    let [lo, hi] = median_interval(&pairs::ratios_to_itself(windows))?;
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
    fn much_noise_is_never_the_same() {
        assert_eq!(judge([0.599, 2.022], 1.609), Verdict::Inconclusive);
        assert_eq!(judge([0.95, 1.05], 0.06), Verdict::Inconclusive);
        assert_eq!(judge([0.97, 1.03], 0.04), Verdict::Same);
        assert_eq!(judge([0.1, 0.2], 1.609), Verdict::Slower);
        assert_eq!(judge([3.0, 4.0], 1.609), Verdict::Faster);
    }
}
