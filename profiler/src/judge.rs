//! Judging across runs: how a figure changed from one to the next, and whether a ratio is where it should be. Pure.
//!
//! - **Change**: the quotient of two figures, each with its own 95 % interval, has the interval of Zou and Donner (*Construction of
//!   confidence limits about effect measures: a general approach*, Statistics in Medicine 27, 2008, 1693-1702), applied to the
//!   logarithms: on either side, the distances from the figures to the ends of their intervals add up as squares. It takes the two
//!   runs as independent, keeps uneven intervals uneven, and assumes nothing of how each interval was come by.
//! - **Margin**: two runs of the same code differ by more than each run's own interval says, because memory is laid out anew and the
//!   machine is in another state. So a change counts only beyond [`BETWEEN_RUNS`], or beyond the margin of either run where that is more.
//! - **Disturbance**: where other processes take turns with the worker, the windows of one backend may just fit between their turns and
//!   those of the other not. That is no noise that pairs even out: the ratio is off by as much as the turns are long, in a narrow
//!   interval. It shows in the median window, which is far from the fastest ([`disturbed`]); then nothing is concluded.

use serde::{Deserialize, Serialize};

use crate::summary::Timing;

/// Ratios of two runs of the same code may differ by 8 % (measured: docs/suite.md).
pub const BETWEEN_RUNS: f64 = 0.08;

/// A backend whose median window takes more than twice as long as its fastest was held up by others.
const DISTURBED: f64 = 2.0;

/// Beyond a margin of 10 %, nothing is called the same.
const LARGEST_SAME: f64 = 0.1;

/// A time or a ratio, with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The figure; above zero.
    pub value: f64,
    /// 95 % interval on it; None where it has none.
    pub ci95: Option<[f64; 2]>,
}

impl Estimate {
    /// This figure / the same figure before: above 1, it grew.
    #[must_use]
    pub fn by(self, old: Estimate) -> Estimate {
        let change = (self.value / old.value).ln();
        let ci95 = self.ci95.zip(old.ci95).map(|(new, before)| {
            let [new_below, new_above] = distances(self.value, new);
            let [old_below, old_above] = distances(old.value, before);
            [
                (change - new_below.hypot(old_above)).exp(),
                (change + new_above.hypot(old_below)).exp(),
            ]
        });
        Estimate {
            value: change.exp(),
            ci95,
        }
    }
}

/// Whether a run with these timings says nothing of the code, as other processes held up a backend in more than half of its windows.
pub fn disturbed<'a>(timings: impl IntoIterator<Item = &'a Timing>) -> bool {
    let mut timings = timings.into_iter();
    timings.any(|timing| timing.median_ns > DISTURBED * timing.min_ns)
}

/// What a ratio may not lie below, so that it counts as `wanted`.
pub fn bound(wanted: f64, margin: f64) -> f64 {
    wanted / (1.0 + margin)
}

/// How far the ends of an interval are from its figure, in logarithms.
fn distances(value: f64, [lo, hi]: [f64; 2]) -> [f64; 2] {
    [(value / lo).ln(), (hi / value).ln()]
}

/// What became of a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// The whole interval of the change lies above 1 + margin.
    Better,
    /// It lies within the margin, and that is at most 10 %.
    Same,
    /// It lies below 1 / (1 + margin).
    Worse,
    /// It is too wide to tell.
    Inconclusive,
}

impl Judgement {
    /// Of a change with this interval.
    pub fn of_change(ci95: Option<[f64; 2]>, margin: f64) -> Judgement {
        let bound = 1.0 + margin;
        match ci95 {
            Some([lo, _]) if lo > bound => Judgement::Better,
            Some([_, hi]) if hi < 1.0 / bound => Judgement::Worse,
            Some([lo, hi]) if margin <= LARGEST_SAME && lo >= 1.0 / bound && hi <= bound => {
                Judgement::Same
            }
            _ => Judgement::Inconclusive,
        }
    }

    /// The word in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Judgement::Better => "better",
            Judgement::Same => "same",
            Judgement::Worse => "worse",
            Judgement::Inconclusive => "inconclusive",
        }
    }
}

/// Whether a ratio is at least what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// The whole interval lies below the bound.
    Worse,
    /// The bound is within the interval, or it is too low to hold anything against, or there is no interval.
    Inconclusive,
    /// The whole interval lies at the bound or above.
    Held,
}

impl Standing {
    /// Of a ratio in a run that may have been [`disturbed`].
    pub fn in_run(ci95: Option<[f64; 2]>, disturbed: bool, wanted: f64, margin: f64) -> Standing {
        Standing::of(ci95.filter(|_| !disturbed), wanted, margin)
    }

    /// Of a ratio with this interval that should be at least `wanted`. The bound is that less the margin; where that is above 10 %,
    /// only a ratio that reaches what is wanted in full is held.
    pub fn of(ci95: Option<[f64; 2]>, wanted: f64, margin: f64) -> Standing {
        let bound = bound(wanted, margin);
        match ci95 {
            Some([_, hi]) if hi < bound => Standing::Worse,
            Some([lo, _]) if lo >= wanted => Standing::Held,
            Some([lo, _]) if lo >= bound && margin <= LARGEST_SAME => Standing::Held,
            _ => Standing::Inconclusive,
        }
    }

    /// The word in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Worse => "worse",
            Standing::Inconclusive => "inconclusive",
            Standing::Held => "held",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{median, median_interval};

    fn estimate(value: f64, ci95: [f64; 2]) -> Estimate {
        Estimate {
            value,
            ci95: Some(ci95),
        }
    }

    #[test]
    fn a_change_has_the_uncertainty_of_both_sides() {
        let change = estimate(2.0, [2.0, 2.0]).by(estimate(1.0, [1.0, 1.0]));
        assert_eq!(change, estimate(2.0, [2.0, 2.0]));
        // Three and four make five, on either side its own.
        let e = |log: f64| log.exp();
        let new = estimate(1.0, [e(-0.03), e(0.06)]);
        let old = estimate(1.0, [e(-0.08), e(0.04)]);
        let [lo, hi] = new.by(old).ci95.unwrap();
        assert!(
            (lo.ln() + 0.05).abs() < 1e-12 && (hi.ln() - 0.1).abs() < 1e-12,
            "{lo} {hi}"
        );
        let without = Estimate {
            value: 1.0,
            ci95: None,
        };
        assert_eq!(new.by(without).ci95, None);
    }

    #[test]
    fn the_interval_of_a_change_covers_the_truth() {
        // Two runs of 60 pairs with jitter and, in one pair of ten, a neighbour; the second is 3 % faster.
        let mut random = fastrand::Rng::with_seed(3);
        let mut run = |truth: f64| -> Estimate {
            let mut noise = || {
                let neighbour = if random.f64() < 0.1 {
                    random.f64()
                } else {
                    0.0
                };
                1.0 + 0.02 * random.f64() + neighbour
            };
            let pairs: Vec<f64> = (0..60).map(|_| truth * noise() / noise()).collect();
            Estimate {
                value: median(&pairs).unwrap(),
                ci95: median_interval(&pairs),
            }
        };
        let covered = (0..2000)
            .filter(|_| {
                let [lo, hi] = run(1.03).by(run(1.0)).ci95.unwrap();
                (lo..=hi).contains(&1.03)
            })
            .count();
        // 95 % and no less; rank intervals err to the wide side.
        assert!((1880..=1980).contains(&covered), "{covered} of 2000");
    }

    #[test]
    fn a_change_is_judged_by_its_whole_interval() {
        let judge = |lo, hi| Judgement::of_change(Some([lo, hi]), 0.05);
        assert_eq!(judge(0.90, 0.95), Judgement::Worse);
        assert_eq!(judge(0.90, 0.96), Judgement::Inconclusive);
        assert_eq!(judge(0.96, 1.04), Judgement::Same);
        assert_eq!(judge(1.06, 1.20), Judgement::Better);
        assert_eq!(Judgement::of_change(None, 0.05), Judgement::Inconclusive);
        let noisy = Judgement::of_change(Some([0.9, 1.1]), 0.2);
        assert_eq!(noisy, Judgement::Inconclusive);
    }

    #[test]
    fn a_ratio_is_worse_only_if_all_of_it_is() {
        let stands = |lo, hi| Standing::of(Some([lo, hi]), 1.05, 0.05);
        assert_eq!(stands(0.8, 0.99), Standing::Worse);
        assert_eq!(stands(0.8, 1.0), Standing::Inconclusive);
        assert_eq!(stands(1.0, 1.2), Standing::Held);
        assert_eq!(Standing::of(None, 1.0, 0.05), Standing::Inconclusive);
    }

    #[test]
    fn noise_makes_nothing_worse_and_nothing_held() {
        let stands = |lo, hi| Standing::of(Some([lo, hi]), 1.0, 1.0);
        assert_eq!(stands(0.6, 0.9), Standing::Inconclusive);
        assert_eq!(stands(0.6, 2.0), Standing::Inconclusive);
        assert_eq!(stands(1.0, 2.0), Standing::Held);
        assert_eq!(stands(0.1, 0.4), Standing::Worse);
    }
}
