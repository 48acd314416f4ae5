//! What disturbed a comparison: told beside the verdict. Nothing is left out for it; the median bears it.

use super::median::{at, estimate, sorted};
use super::{SMALLEST_DIFFERENCE, Side, Timed};

/// Windows that lie far off the others of their side: beyond the quartiles by three times the distance between these (Tukey,
/// *Exploratory Data Analysis*, 1977: far out), and by 1 % at least.
pub(super) fn outliers(windows: &[Timed]) -> usize {
    [Side::Baseline, Side::Candidate]
        .map(|side| {
            let times = times(windows, side);
            fences(&times).map_or(0, |[lo, hi]| {
                times.iter().filter(|&&ns| ns < lo || ns > hi).count()
            })
        })
        .iter()
        .sum()
}

fn fences(times: &[f64]) -> Option<[f64; 2]> {
    let sorted = sorted(times);
    let last = sorted.len().checked_sub(1)? as f64;
    let [lower, upper] = [0.25, 0.75].map(|share| at(&sorted, share * last));
    let reach = (3.0 * (upper - lower)).max(SMALLEST_DIFFERENCE * upper);
    Some([lower - reach, upper + reach])
}

/// By what share the time per call changed from the first third of the run to the last, over both sides; None where that is
/// less than 1 % or may be chance.
pub(super) fn time_drift(windows: &[Timed]) -> Option<f64> {
    let level = |side| estimate(&times(windows, side)).map(|estimate| estimate.median);
    let (baseline, candidate) = (level(Side::Baseline)?, level(Side::Candidate)?);
    let levels: Vec<f64> = windows
        .iter()
        .map(|window| match window.side {
            Side::Baseline => window.ns / baseline,
            Side::Candidate => window.ns / candidate,
        })
        .collect();
    drift(&levels)
}

/// By what share the median changed from the first third of `values` to the last; None where that is less than 1 % or the
/// intervals meet.
pub(super) fn drift(values: &[f64]) -> Option<f64> {
    let third = values.len() / 3;
    let first = estimate(&values[..third])?;
    let last = estimate(&values[values.len() - third..])?;
    let apart = first.ci95[1] < last.ci95[0] || last.ci95[1] < first.ci95[0];
    let change = last.median / first.median - 1.0;
    (apart && change.abs() >= SMALLEST_DIFFERENCE).then_some(change)
}

pub(super) fn times(windows: &[Timed], side: Side) -> Vec<f64> {
    let of_side = windows.iter().filter(|window| window.side == side);
    of_side.map(|window| window.ns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows in turn whose time is `ns` of their number, the candidate's half of it.
    fn windows(count: usize, ns: impl Fn(usize) -> f64) -> Vec<Timed> {
        (0..count)
            .map(|i| match i % 2 {
                0 => (Side::Baseline, ns(i)),
                _ => (Side::Candidate, ns(i) / 2.0),
            })
            .map(|(side, ns)| Timed { side, ns })
            .collect()
    }

    #[test]
    fn far_windows_of_either_side_are_counted() {
        let wave = |i: usize| 100.0 + (i * 7 % 10) as f64 / 10.0;
        assert_eq!(outliers(&windows(100, wave)), 0);
        let spikes = |i| {
            if [10, 33, 34].contains(&i) {
                150.0
            } else {
                wave(i)
            }
        };
        assert_eq!(outliers(&windows(100, spikes)), 3);
        let quiet = |i| if i == 5 { 100.5 } else { 100.0 };
        assert_eq!(outliers(&windows(100, quiet)), 0, "less than 1 %");
        assert_eq!(outliers(&[]), 0);
    }

    #[test]
    fn a_slope_is_drift_and_a_wave_is_none() {
        let slope = |i: usize| 100.0 + 0.03 * i as f64 + (i * 7 % 10) as f64 / 10.0;
        let drift = time_drift(&windows(300, slope)).unwrap();
        assert!((0.04..0.08).contains(&drift), "{drift}");
        let wave = |i: usize| 100.0 + 10.0 * (i as f64 / 5.0).sin();
        assert_eq!(time_drift(&windows(300, wave)), None);
        let small = |i: usize| 100.0 + 0.003 * i as f64;
        assert_eq!(time_drift(&windows(300, small)), None, "less than 1 %");
        assert_eq!(time_drift(&windows(6, slope)), None, "too few");
    }
}
