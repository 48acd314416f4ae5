//! The pair ratios of a run as coordinates: in the order in which they were measured, and how many there are of each size. Pure.
//!
//! In: the ratios and the comparison that they gave. Out: what the template draws, in units of the drawing. The ratio's axis is
//! logarithmic: twice as fast is as far from 1 as twice as slow.

use crate::compare::Comparison;

/// Where `templates/chart.svg` has the ratios over time, and their distribution beside them.
const LEFT: f64 = 56.0;
const MIDDLE: f64 = 640.0;
const BESIDE: f64 = 664.0;
const RIGHT: f64 = 900.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 256.0;

/// Bars of the distribution.
const BINS: usize = 32;
/// Of the ratios, such a share at either end may lie beyond the axis.
const BEYOND: f64 = 0.01;
/// 1 is on the axis unless that made the axis so many times as long.
const STRETCH: f64 = 6.0;

/// What is drawn.
#[derive(Debug)]
pub(super) struct PairChart {
    /// A path of dots.
    pub(super) dots: String,
    /// A path of dots at the edges, for ratios beyond the axis.
    pub(super) beyond: String,
    /// How many those are.
    pub(super) beyond_count: usize,
    /// The distribution.
    pub(super) bars: Vec<Bar>,
    /// The interval, from top to bottom.
    pub(super) interval: Option<[f64; 2]>,
    /// What counts as no difference, from top to bottom.
    pub(super) margin: Option<[f64; 2]>,
    /// The median.
    pub(super) median: f64,
    /// The line of 1, where that is on the axis.
    pub(super) one: Option<f64>,
    /// Where 1 is, if it is not on the axis.
    pub(super) one_is: &'static str,
    pub(super) ratio_ticks: Vec<Tick>,
    pub(super) pair_ticks: Vec<Tick>,
}

/// A place on an axis.
#[derive(Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

/// One bar of the distribution.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) y: f64,
    pub(super) height: f64,
    pub(super) width: f64,
    /// How many pairs, of which size.
    pub(super) title: String,
}

impl PairChart {
    /// Of the ratios of a comparison; None of nothing.
    pub(super) fn new(ratios: &[f64], comparison: &Comparison) -> Option<PairChart> {
        let axis = Axis::of(ratios, comparison)?;
        let step = (MIDDLE - LEFT) / ratios.len() as f64;
        let (mut dots, mut beyond, mut beyond_count) = (String::new(), String::new(), 0);
        for (pair, &ratio) in ratios.iter().enumerate() {
            let dot = format!(
                "M{:.1} {:.1}h0",
                LEFT + (pair as f64 + 0.5) * step,
                axis.y(ratio)
            );
            match axis.has(ratio) {
                true => dots.push_str(&dot),
                false => {
                    beyond.push_str(&dot);
                    beyond_count += 1;
                }
            }
        }
        let band = |lo: f64, hi: f64| [axis.y(hi), axis.y(lo)];
        let margin = 1.0 + comparison.margin;
        let margin_shows = axis.has(margin) || axis.has(1.0 / margin) || axis.has(1.0);
        Some(PairChart {
            dots,
            beyond,
            beyond_count,
            bars: axis.bars(ratios),
            interval: comparison.ci95.map(|[lo, hi]| band(lo, hi)),
            margin: margin_shows.then(|| band(1.0 / margin, margin)),
            median: axis.y(comparison.ratio),
            one: axis.has(1.0).then(|| axis.y(1.0)),
            one_is: if axis.lo > 1.0 { "below" } else { "above" },
            ratio_ticks: axis.ticks(),
            pair_ticks: pair_ticks(ratios.len(), step),
        })
    }
}

/// From ratios to heights.
struct Axis {
    lo: f64,
    hi: f64,
}

impl Axis {
    fn of(ratios: &[f64], comparison: &Comparison) -> Option<Axis> {
        let mut sorted = ratios.to_vec();
        sorted.sort_by(f64::total_cmp);
        let cut = (sorted.len() as f64 * BEYOND) as usize;
        let [ci_lo, ci_hi] = comparison.ci95.unwrap_or([comparison.ratio; 2]);
        let lo = sorted.get(cut)?.min(ci_lo);
        let hi = sorted.get(sorted.len() - 1 - cut)?.max(ci_hi);
        // However quiet the run, the axis spans a few margins.
        let room = (1.0 + comparison.margin).ln().max((hi / lo).ln() * 0.08);
        let (lo, hi) = (lo / room.exp(), hi * room.exp());
        let (with_one_lo, with_one_hi) = (lo.min(1.0 / room.exp()), hi.max(room.exp()));
        let stretch = (with_one_hi / with_one_lo).ln() / (hi / lo).ln();
        match stretch <= STRETCH {
            true => Some(Axis {
                lo: with_one_lo,
                hi: with_one_hi,
            }),
            false => Some(Axis { lo, hi }),
        }
    }

    fn has(&self, ratio: f64) -> bool {
        (self.lo..=self.hi).contains(&ratio)
    }

    /// Share of the axis below `ratio`, 0 to 1; what is beyond is at its end.
    fn share(&self, ratio: f64) -> f64 {
        ((ratio / self.lo).ln() / (self.hi / self.lo).ln()).clamp(0.0, 1.0)
    }

    fn y(&self, ratio: f64) -> f64 {
        BOTTOM - self.share(ratio) * (BOTTOM - TOP)
    }

    /// The ratio that has such a share of the axis below it.
    fn at(&self, share: f64) -> f64 {
        self.lo * (self.hi / self.lo).powf(share)
    }

    fn bars(&self, ratios: &[f64]) -> Vec<Bar> {
        let mut counts = [0_usize; BINS];
        for &ratio in ratios {
            let bin = (self.share(ratio) * BINS as f64) as usize;
            counts[bin.min(BINS - 1)] += 1;
        }
        let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let height = (BOTTOM - TOP) / BINS as f64;
        let bar = |(bin, &count): (usize, &usize)| {
            let from = self.at(bin as f64 / BINS as f64);
            let to = self.at((bin + 1) as f64 / BINS as f64);
            Bar {
                y: BOTTOM - (bin + 1) as f64 * height,
                height: height - 1.0,
                width: (RIGHT - BESIDE) * count as f64 / most,
                title: match count {
                    1 => format!("1 pair from {from:.3} to {to:.3}"),
                    count => format!("{count} pairs from {from:.3} to {to:.3}"),
                },
            }
        };
        let counted = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counted.map(bar).collect()
    }

    /// At round ratios: about six, and 1 among them if it is on the axis.
    fn ticks(&self) -> Vec<Tick> {
        let tick = |ratio: f64, decimals: usize| Tick {
            at: self.y(ratio),
            label: format!("{ratio:.decimals$}"),
        };
        if self.hi / self.lo > 3.0 {
            let decades = (self.lo.log10().floor() as i32)..=(self.hi.log10().ceil() as i32);
            let digits = match self.hi / self.lo > 50.0 {
                true => &[1.0, 2.0, 5.0][..],
                false => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            };
            return decades
                .flat_map(|decade| digits.iter().map(move |digit| digit * 10_f64.powi(decade)))
                .filter(|ratio| self.has(*ratio))
                .map(|ratio| Tick {
                    at: self.y(ratio),
                    label: significant(ratio),
                })
                .collect();
        }
        let (step, decimals) = round_step((self.hi - self.lo) / 6.0);
        let first = (self.lo / step).ceil() as i64;
        let last = (self.hi / step).floor() as i64;
        (first..=last)
            .map(|count| tick(count as f64 * step, decimals))
            .collect()
    }
}

/// With the two digits that a round ratio has.
fn significant(ratio: f64) -> String {
    let decimals = (1.0 - ratio.log10().floor()).max(0.0) as usize;
    let text = format!("{ratio:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// The next of 1, 2, 5, 10 … that is at least `least`, and the decimals that it needs.
fn round_step(least: f64) -> (f64, usize) {
    let decade = least.log10().floor();
    let unit = 10_f64.powf(decade);
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * unit);
    let step = steps
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(10.0 * unit);
    (step, (-step.log10().floor()).max(0.0) as usize)
}

/// At round numbers of pairs, from 1.
fn pair_ticks(pairs: usize, width: f64) -> Vec<Tick> {
    let (step, _) = round_step((pairs as f64 / 8.0).max(1.0));
    let rounds = (1..).map(|count| (count as f64 * step) as usize);
    let numbers = std::iter::once(1).chain(rounds.take_while(|number| *number <= pairs));
    let mut numbers: Vec<usize> = numbers.collect();
    numbers.dedup();
    numbers
        .into_iter()
        .map(|number| Tick {
            at: LEFT + (number as f64 - 0.5) * width,
            label: number.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Verdict;

    fn comparison(ratio: f64, ci95: Option<[f64; 2]>) -> Comparison {
        Comparison {
            ratio,
            ci95,
            blocked_ratio: ratio,
            noise_floor: None,
            margin: 0.01,
            pairs: 1,
            effective_pairs: None,
            outliers: 0,
            drift: None,
            ratio_drift: None,
            verdict: Verdict::Inconclusive,
        }
    }

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn nothing_is_drawn_outside() {
        let mut ratios: Vec<f64> = (0..300)
            .map(|pair| 1.1 + 0.001 * f64::from(pair % 20))
            .collect();
        ratios[7] = 40.0;
        ratios[8] = 0.01;
        let chart = PairChart::new(&ratios, &comparison(1.11, Some([1.105, 1.115]))).unwrap();
        assert_eq!(chart.beyond_count, 2);
        assert_eq!(chart.dots.matches('M').count(), 298);
        let numbers = |path: &str| -> Vec<f64> {
            let path = path.replace(['M', 'h'], " ");
            path.split_whitespace()
                .map(|text| text.parse().unwrap())
                .collect()
        };
        for dot in [numbers(&chart.dots), numbers(&chart.beyond)]
            .concat()
            .chunks(3)
        {
            assert!(
                (LEFT..=MIDDLE).contains(&dot[0]) && (TOP..=BOTTOM).contains(&dot[1]),
                "{dot:?}"
            );
        }
        let [top, bottom] = chart.interval.unwrap();
        assert!(top < chart.median && chart.median < bottom);
        for bar in &chart.bars {
            assert!(
                bar.y >= TOP - 1e-9 && bar.y + bar.height <= BOTTOM && bar.width <= RIGHT - BESIDE
            );
        }
        assert!(chart.one.unwrap() > bottom, "1 is below the interval");
    }

    #[test]
    fn every_pair_is_in_a_bar() {
        let ratios = [0.5, 1.0, 1.0, 1.5, 3.0];
        let chart = PairChart::new(&ratios, &comparison(1.0, None)).unwrap();
        let count = |bar: &Bar| {
            bar.title
                .split(' ')
                .next()
                .unwrap()
                .parse::<usize>()
                .unwrap()
        };
        assert_eq!(chart.bars.iter().map(count).sum::<usize>(), 5);
        assert!(chart.interval.is_none());
    }

    #[test]
    fn where_1_is_far_away_the_axis_keeps_to_the_pairs() {
        let far = PairChart::new(&[4.0, 4.01, 4.02, 3.99], &comparison(4.0, None)).unwrap();
        assert_eq!((far.one, far.one_is), (None, "below"));
        assert!(far.margin.is_none());
        let near = PairChart::new(&[1.02, 1.03, 1.04], &comparison(1.03, None)).unwrap();
        assert!(near.one.is_some() && near.margin.is_some());
        assert!(PairChart::new(&[], &comparison(1.0, None)).is_none());
    }

    #[test]
    fn ticks_are_round_and_few() {
        let axis = Axis { lo: 0.93, hi: 1.12 };
        assert_eq!(labels(&axis.ticks()), ["0.95", "1.00", "1.05", "1.10"]);
        let wide = Axis { lo: 0.04, hi: 12.0 };
        assert_eq!(
            labels(&wide.ticks()),
            ["0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10"]
        );
        let between = Axis { lo: 0.14, hi: 1.6 };
        assert_eq!(
            labels(&between.ticks()),
            ["0.15", "0.2", "0.3", "0.5", "0.7", "1", "1.5"]
        );
        assert_eq!(significant(1500.0), "1500");
        for pairs in [1, 3, 16, 203, 5000] {
            let ticks = pair_ticks(pairs, 1.0);
            assert!((1..=10).contains(&ticks.len()), "{ticks:?}");
        }
        assert_eq!(
            labels(&pair_ticks(16, 1.0)),
            ["1", "2", "4", "6", "8", "10", "12", "14", "16"]
        );
    }

    #[test]
    fn equal_ratios_have_an_axis_too() {
        let chart = PairChart::new(&[2.0; 6], &comparison(2.0, Some([2.0, 2.0]))).unwrap();
        assert!(chart.ratio_ticks.len() > 1);
        assert!(chart.median > TOP && chart.median < BOTTOM);
    }
}
