//! In which order windows are taken, and when there are enough of them. Timing and the simulation both go by it.

use super::median;
use super::{Side, Timed};

/// Fewer values are never enough: in fewer, noise that lasts for tens of windows does not show.
const FEWEST: usize = 200;
/// Nor are values that count for fewer independent ones.
const FEWEST_EFFECTIVE: f64 = 160.0;
/// The next look comes when there are so many times as many values: each look is a chance to stop too early.
const GROWTH: f64 = 1.25;

/// Says when a median is known well enough.
#[derive(Debug)]
pub struct Looks {
    precision: f64,
    next: usize,
}

impl Looks {
    /// `precision`: the wanted length of the 95 % interval, as a share of the median.
    pub fn new(precision: f64) -> Looks {
        Looks {
            precision,
            next: FEWEST,
        }
    }

    /// Whether `values`, which are those of the last call and what came since, are enough.
    pub fn are_enough(&mut self, values: &[f64]) -> bool {
        if values.len() < self.next {
            return false;
        }
        self.next = (values.len() as f64 * GROWTH).ceil() as usize;
        median::estimate(values).is_some_and(|estimate| {
            estimate.effective >= FEWEST_EFFECTIVE && estimate.width() <= self.precision
        })
    }
}

/// Runs windows of both sides in turn until the median of their ratios is known to `precision` or `time_is_up`. `run` gives
/// the nanoseconds per call of a window. Two pairs at least are always taken, unless `run` fails.
///
/// # Errors
/// That of `run`.
pub fn interleave<E>(
    precision: f64,
    mut run: impl FnMut(Side) -> Result<f64, E>,
    mut time_is_up: impl FnMut() -> bool,
) -> Result<(), E> {
    let mut looks = Looks::new(precision);
    let mut ratios = Vec::new();
    for block in 0.. {
        for pair in order(block) {
            let [first, second] = pair;
            let first = timed(first, &mut run)?;
            ratios.extend(ratio(&[first, timed(second, &mut run)?]));
        }
        if looks.are_enough(&ratios) || time_is_up() {
            break;
        }
    }
    Ok(())
}

fn timed<E>(side: Side, run: &mut impl FnMut(Side) -> Result<f64, E>) -> Result<Timed, E> {
    run(side).map(|ns| Timed { side, ns })
}

/// The two pairs of a block: A B B A or B A A B, so that what rises or falls evenly within it cancels out. Which of the two is
/// as good as random, so that no noise of a fixed period keeps step.
fn order(block: u64) -> [[Side; 2]; 2] {
    let (a, b) = (Side::Baseline, Side::Candidate);
    match splitmix(block) & 1 {
        0 => [[a, b], [b, a]],
        _ => [[b, a], [a, b]],
    }
}

/// Steele, Lea and Flood's SplitMix64 (OOPSLA 2014): the bits of a number, well mixed.
pub(super) fn splitmix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Baseline's time / candidate's time of two windows; None where both are of one side.
pub(super) fn ratio(pair: &[Timed]) -> Option<f64> {
    match (pair[0].side, pair[1].side) {
        (Side::Baseline, Side::Candidate) => Some(pair[0].ns / pair[1].ns),
        (Side::Candidate, Side::Baseline) => Some(pair[1].ns / pair[0].ns),
        _ => None,
    }
}

/// The ratios of neighbouring windows of one side. Which of the two is divided by the other is as good as random, as it is between the
/// sides ([`order`]): else noise of a period near a block's hits the same one of them for hundreds of windows.
pub(super) fn ratios_to_itself(windows: &[Timed]) -> Vec<f64> {
    let neighbours = windows.windows(2);
    let of_one_side = neighbours.filter(|pair| pair[0].side == pair[1].side);
    of_one_side
        .zip(0..)
        .map(|(pair, number)| match splitmix(number) & 2 {
            0 => pair[0].ns / pair[1].ns,
            _ => pair[1].ns / pair[0].ns,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_come_as_often() {
        let first = (0..1000).filter(|&block| order(block)[0][0] == Side::Baseline);
        let count = first.count();
        assert!((450..550).contains(&count), "{count}");
        for block in 0..100 {
            let [[a, b], [c, d]] = order(block);
            assert!(a != b && b == c && a == d);
        }
    }

    #[test]
    fn a_quiet_run_ends_with_the_fewest_pairs() {
        let mut windows = 0;
        let run = |_| {
            windows += 1;
            Ok::<_, ()>(1.0)
        };
        interleave(0.01, run, || false).unwrap();
        assert_eq!(windows, 2 * FEWEST);
    }

    #[test]
    fn what_is_not_precise_goes_on_until_the_time_is_up() {
        let (mut windows, mut blocks) = (0, 0);
        let run = |_| {
            windows += 1;
            Ok::<_, ()>(1.0 + (splitmix(windows) % 100) as f64)
        };
        let time_is_up = || {
            blocks += 1;
            blocks == 1000
        };
        interleave(0.01, run, time_is_up).unwrap();
        assert_eq!(windows, 4000);
    }

    #[test]
    fn an_error_ends_it() {
        let mut windows = 0;
        let run = |_| {
            windows += 1;
            if windows < 6 { Ok(1.0) } else { Err(windows) }
        };
        assert_eq!(interleave(0.01, run, || false), Err(6));
    }
}
