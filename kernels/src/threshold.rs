//! From which size on the threads of a team are worth calling: measured once, when the team starts.
//!
//! In: a team. Out: a number of bytes. Two durations decide: how long it takes until a second thread works and the caller is back
//! (`wake`; between calls in a row, while the threads are still awake), and how long the caller takes alone for a byte (`alone`). With T threads, work of n bytes takes n·alone on one and at best
//! wake + n·alone/T on all, so they break even at wake/alone · T/(T-1); twice that is where sharing begins. Results do not depend on it.

use crate::lanes::Lanes;
use crate::sum::sum_contiguous;
use crate::team::{Team, relax};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The answer lies between these, however the measurement was disturbed. Smaller work does not even start the pool.
pub(crate) const LEAST: usize = 256 << 10;
const MOST: usize = 32 << 20;

/// Elements that the caller adds up alone: they fit into the L2 cache, from which a thread reads fastest.
const ALONE: usize = 1 << 16;
/// How often both are measured; the shortest counts, as everything else that the machine does only adds to them.
const ROUNDS: u32 = 20;
/// The most calls of which `ROUNDS` should be answered in time.
const CALLS: u32 = 40;
/// Sums a round.
const SUMS: u32 = 4;
/// How long a thread is waited for.
const PATIENCE: Duration = Duration::from_micros(100);

/// Measures both durations, within some milliseconds, and says from how many bytes on to share work among the team.
pub(crate) fn measure(team: &Team) -> usize {
    let data = vec![1.0_f32; ALONE];
    let shortest = |measure: &dyn Fn() -> Duration| (0..ROUNDS).map(|_| measure()).min();
    let alone = shortest(&|| {
        let start = Instant::now();
        for _ in 0..SUMS {
            // SAFETY: the elements of `data`.
            black_box(unsafe { sum_contiguous(black_box(data.as_ptr()), ALONE) }.total());
        }
        start.elapsed() / SUMS
    });
    // Calls in a row: the first ones wake the threads, which then may wait for a CPU.
    let calls = (0..CALLS).map(|_| time_to_wake(team));
    let answered = calls.filter(|&wake| wake < PATIENCE).take(ROUNDS as usize);
    // Threads that have no CPU now may have one later, and are not called again before they have come: nothing is lost.
    let wake = answered.min().unwrap_or_default();
    worth_sharing(wake, alone.unwrap_or_default(), team.threads())
}

/// How long it takes until a second thread has begun with its part and the caller is back.
fn time_to_wake(team: &Team) -> Duration {
    let (begun, waiting) = (AtomicBool::new(false), AtomicBool::new(false));
    let start = Instant::now();
    team.run(2, &|_| {
        // Whoever takes the second piece is another thread while the first is still being waited in.
        if waiting.swap(true, Ordering::Relaxed) {
            begun.store(true, Ordering::Release);
        }
        while !begun.load(Ordering::Acquire) && start.elapsed() < PATIENCE {
            relax();
        }
    });
    start.elapsed()
}

/// The rule of this module, for the time that `ALONE` elements take.
fn worth_sharing(wake: Duration, alone: Duration, threads: usize) -> usize {
    let bytes = (ALONE * size_of::<f32>()) as u64;
    let (wake, alone) = (wake.as_nanos() as u64, alone.as_nanos() as u64);
    let (all, others) = (threads as u64, (threads as u64 - 1).max(1));
    let twice_break_even = (2 * wake * bytes).saturating_mul(all) / (alone.max(1) * others);
    (twice_break_even as usize).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_twice_the_break_even() {
        let us = Duration::from_micros;
        // 256 KiB in 4 us; 20 us to wake: 5 times as much alone, on two threads twice that, and twice again.
        assert_eq!(worth_sharing(us(20), us(4), 2), 20 * (256 << 10));
        assert_eq!(
            worth_sharing(us(20), us(4), 1_000_000) / 1000,
            10 * (256 << 10) / 1000
        );
        assert_eq!(worth_sharing(us(0), us(4), 2), LEAST);
        assert_eq!(worth_sharing(us(9), us(0), 2), MOST);
    }

    #[test]
    #[cfg_attr(miri, ignore = "measures time")]
    fn what_is_measured_is_in_range() {
        assert!((LEAST..=MOST).contains(&measure(&Team::start(2).unwrap())));
    }
}
