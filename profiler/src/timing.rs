//! How long a call takes: windows of many calls, interleaved between the backends.
//!
//! In: what runs a window (the worker, or the process at the other end of `referee`), and the time to spend. Out: nanoseconds per call
//! of every window, in the order in which they ran. Nothing else watches the process meanwhile.

use std::time::{Duration, Instant};

use crate::compare::{self, Looks, Side, Timed};
use crate::plan::Backend;
use crate::progress::Progress;

/// Length of a timing window: enough to dwarf the clock, short enough for many pairs.
const WINDOW: Duration = Duration::from_millis(3);
/// Time of one backend's warm-up, and the most that it may be of all the time.
const WARM_UP: (Duration, f64) = (Duration::from_millis(200), 0.05);
/// Calibration trusts a window from this length on.
const TRUSTED: Duration = Duration::from_millis(1);

/// The time per call of one backend, found by calibration.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Whose.
    pub backend: Backend,
    /// Nanoseconds per call.
    pub ns_per_call: f64,
}

impl Pace {
    /// Calls that take about `length`; at least one.
    pub fn calls_in(&self, length: Duration) -> u64 {
        (length.as_nanos() as f64 / self.ns_per_call)
            .ceil()
            .max(1.0) as u64
    }
}

/// All windows of a run, in their order.
#[derive(Debug, Default)]
pub struct Timings(Vec<TimedWindow>);

#[derive(Debug)]
struct TimedWindow {
    backend: Backend,
    calls: u64,
    ns: u64,
}

impl TimedWindow {
    fn ns_per_call(&self) -> f64 {
        // The clock has steps of 1 ns: a window can't be shorter.
        self.ns.max(1) as f64 / self.calls as f64
    }
}

impl Timings {
    /// Nanoseconds per call of `backend`'s windows.
    pub fn samples(&self, backend: Backend) -> Vec<f64> {
        self.of(backend).map(TimedWindow::ns_per_call).collect()
    }

    /// Calls of `backend` in all its windows.
    pub fn calls(&self, backend: Backend) -> u64 {
        self.of(backend).map(|window| window.calls).sum()
    }

    /// The pace of `backend` over all its windows, interruptions and all; None before its first.
    pub fn pace(&self, backend: Backend) -> Option<Pace> {
        let ns: u64 = self.of(backend).map(|window| window.ns.max(1)).sum();
        (ns > 0).then(|| Pace {
            backend,
            ns_per_call: ns as f64 / self.calls(backend) as f64,
        })
    }

    /// What [`compare::compare`] judges.
    pub fn interleaved(&self) -> Vec<Timed> {
        self.0
            .iter()
            .map(|window| Timed {
                side: window.backend.side(),
                ns: window.ns_per_call(),
            })
            .collect()
    }

    fn of(&self, backend: Backend) -> impl Iterator<Item = &TimedWindow> {
        self.0
            .iter()
            .filter(move |window| window.backend == backend)
    }

    /// Adds a window and gives its nanoseconds per call.
    fn add(&mut self, backend: Backend, calls: u64, ns: u64) -> f64 {
        let window = TimedWindow { backend, calls, ns };
        let ns_per_call = window.ns_per_call();
        self.0.push(window);
        ns_per_call
    }
}

/// How long each backend is warmed up where measuring may take `max_time` in all.
pub fn warm_up_length(max_time: Duration) -> Duration {
    WARM_UP.0.min(max_time.mul_f64(WARM_UP.1))
}

/// Runs `backend` for about `length`, and finds its pace on the way: thread pools start, caches fill, clocks rise. The pace is
/// that of the fastest window, here and in [`measure`]: windows of unequal length would not be interrupted equally often, which
/// shows in the ratio.
///
/// # Errors
/// Those of `run`, which runs so many calls and gives their nanoseconds.
pub fn warm_up<E>(
    run: &mut impl FnMut(Backend, u64) -> Result<u64, E>,
    backend: Backend,
    length: Duration,
) -> Result<Pace, E> {
    let deadline = Instant::now() + length;
    let mut pace = Pace {
        backend,
        ns_per_call: f64::INFINITY,
    };
    let mut calls = 1;
    loop {
        let ns = run(backend, calls)?.max(1);
        if u128::from(ns) < TRUSTED.as_nanos() {
            calls *= 2;
            continue;
        }
        pace.ns_per_call = pace.ns_per_call.min(ns as f64 / calls as f64);
        if Instant::now() >= deadline {
            return Ok(pace);
        }
        calls = pace.calls_in(WINDOW);
    }
}

/// Times the backends of `paces` (the baseline first) until their ratio, or the time of the only one, is known to `precision`
/// (the length of its 95 % interval as a share of it) or `length` is spent. What was measured before an error stays in `timings`.
///
/// # Errors
/// Those of `run`, as in [`warm_up`].
pub fn measure<E>(
    run: &mut impl FnMut(Backend, u64) -> Result<u64, E>,
    paces: &[Pace],
    precision: f64,
    length: Duration,
    timings: &mut Timings,
    progress: &Progress,
) -> Result<(), E> {
    let start = Instant::now();
    let mut paces = paces.to_vec();
    let mut time = |pace: &mut Pace| {
        let calls = pace.calls_in(WINDOW);
        let ns = run(pace.backend, calls)?;
        let ns_per_call = timings.add(pace.backend, calls, ns);
        pace.ns_per_call = pace.ns_per_call.min(ns_per_call);
        Ok(ns_per_call)
    };
    let time_is_up = || {
        let spent = start.elapsed();
        progress.fraction(spent.as_secs_f64() / length.as_secs_f64());
        spent >= length
    };
    if let [baseline, candidate] = &mut paces[..] {
        let run = |side| match side {
            Side::Baseline => time(baseline),
            Side::Candidate => time(candidate),
        };
        return compare::interleave(precision, run, time_is_up);
    }
    let mut looks = Looks::new(precision);
    let mut times = Vec::new();
    loop {
        for pace in &mut paces {
            times.push(time(pace)?);
        }
        if looks.are_enough(&times) || time_is_up() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(ns_per_call: f64) -> Pace {
        Pace {
            backend: Backend::Numpy,
            ns_per_call,
        }
    }

    #[test]
    fn a_window_holds_at_least_one_call() {
        assert_eq!(pace(1e12).calls_in(WINDOW), 1);
        assert_eq!(pace(100.0).calls_in(WINDOW), 30_000);
    }

    #[test]
    fn windows_are_kept_in_their_order() {
        let mut timings = Timings::default();
        assert_eq!(timings.add(Backend::Raptors, 10, 1000), 100.0);
        assert_eq!(timings.add(Backend::Numpy, 10, 0), 0.1);
        timings.add(Backend::Numpy, 5, 1000);
        assert_eq!(timings.samples(Backend::Numpy), [0.1, 200.0]);
        assert_eq!(timings.calls(Backend::Numpy), 15);
        assert_eq!(timings.pace(Backend::Raptors).unwrap().ns_per_call, 100.0);
        assert!(timings.pace(Backend::Baseline).is_none());
        let sides: Vec<Side> = timings.interleaved().iter().map(|w| w.side).collect();
        assert_eq!(sides, [Side::Candidate, Side::Baseline, Side::Baseline]);
    }
}
