//! Two callables of another process, compared as the main job compares two backends: that process runs the windows and times them;
//! when, how many, and what follows from them is decided here. `raptors_prof.compare` of the Python package is at the other end.
//!
//! In: [`Limits`], and an answer to each command, a line of JSON as `worker.py` gives it. Out: the commands, and the [`Judged`].

use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::compare::{self, Comparison};
use crate::interrupt;
use crate::judge::{self, Standing};
use crate::plan::Backend;
use crate::progress::Progress;
use crate::summary::Timing;
use crate::timing::{self, Timings};
use crate::worker::protocol::{Ask, Reply};

/// What is compared against, and what is judged.
const BACKENDS: [Backend; 2] = [Backend::Baseline, Backend::Candidate];

/// How long, how precisely, and against what.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Length of the 95 % interval, as a share of the ratio, at which timing ends.
    pub precision: f64,
    /// Time that it may take.
    pub max_time: Duration,
    /// What the ratio should be at least.
    pub min_ratio: Option<f64>,
}

/// Why there is no judgement.
#[derive(Debug, thiserror::Error)]
pub enum RefereeError {
    /// The other process is gone, or stopped.
    #[error(
        "the process that runs the callables ended, or closed its end of the pipe, before the judgement"
    )]
    Ended,
    /// It said something that the protocol does not have.
    #[error("expected an answer to a command, as raptors_prof.compare gives it, not: {line}")]
    Protocol {
        /// What it said.
        line: String,
    },
    /// It can't be spoken with.
    #[error("can't speak with the process that runs the callables: {0}")]
    Pipe(#[from] io::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Judged {
    /// The comparison.
    pub comparison: Comparison,
    /// Time per call of the baseline.
    pub baseline: Timing,
    /// Time per call of the candidate.
    pub candidate: Timing,
    /// Whether other processes disturbed the run so much that nothing can be concluded from the ratio's place by a bound.
    pub disturbed: bool,
    /// The ratio that was wanted, less the margin; None where none was wanted.
    pub bound: Option<f64>,
    /// Whether the ratio is at least what was wanted; None likewise.
    pub standing: Option<Standing>,
}

/// Has the process at the other end run windows until the ratio is known or the time is spent, and judges.
///
/// # Errors
/// [`RefereeError`].
pub fn referee(
    limits: &Limits,
    mut answers: impl BufRead,
    mut commands: impl Write,
) -> Result<Judged, RefereeError> {
    let started = Instant::now();
    let mut run = |backend, calls| window(&mut answers, &mut commands, backend, calls);
    let warm_up = timing::warm_up_length(limits.max_time);
    let mut paces = Vec::new();
    for backend in BACKENDS {
        paces.push(timing::warm_up(&mut run, backend, warm_up)?);
    }
    let left = limits.max_time.saturating_sub(started.elapsed());
    let mut timings = Timings::default();
    timing::measure(
        &mut run,
        &paces,
        limits.precision,
        left,
        &mut timings,
        &Progress::new(true),
    )?;
    // Two pairs at least are always taken.
    judge(limits, &timings).ok_or(RefereeError::Ended)
}

/// Asks for a window; gives its length in nanoseconds.
fn window(
    answers: &mut impl BufRead,
    commands: &mut impl Write,
    backend: Backend,
    calls: u64,
) -> Result<u64, RefereeError> {
    if interrupt::requested() {
        return Err(RefereeError::Interrupted);
    }
    let mut line = serde_json::to_vec(&Ask::Run { backend, calls }).map_err(io::Error::from)?;
    line.push(b'\n');
    commands.write_all(&line)?;
    commands.flush()?;
    let mut answer = String::new();
    match answers.read_line(&mut answer)? {
        0 => Err(RefereeError::Ended),
        _ => match serde_json::from_str(&answer) {
            Ok(Reply::Done(done)) => Ok(done.window.length_ns()),
            _ => Err(RefereeError::Protocol {
                line: answer.trim_end().to_owned(),
            }),
        },
    }
}

fn judge(limits: &Limits, timings: &Timings) -> Option<Judged> {
    let timing = |backend| Timing::new(timings.samples(backend), timings.calls(backend));
    let [baseline, candidate] = BACKENDS.map(timing);
    let (baseline, candidate) = (baseline?, candidate?);
    let comparison = compare::compare(&timings.interleaved())?;
    let disturbed = judge::disturbed([&baseline, &candidate]);
    let (ci95, margin) = (comparison.ci95, comparison.margin);
    Some(Judged {
        bound: limits.min_ratio.map(|wanted| judge::bound(wanted, margin)),
        standing: limits
            .min_ratio
            .map(|wanted| Standing::in_run(ci95, disturbed, wanted, margin)),
        disturbed,
        comparison,
        baseline,
        candidate,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::*;
    use crate::compare::Verdict;

    /// A process whose candidate takes 1 us a call and whose baseline `factor` times as long.
    struct Callables {
        factor: u64,
        answers: RefCell<VecDeque<u8>>,
        clock: RefCell<u64>,
    }

    impl Callables {
        fn new(factor: u64) -> Callables {
            Callables {
                factor,
                answers: RefCell::default(),
                clock: RefCell::default(),
            }
        }
    }

    impl Write for &Callables {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let command: serde_json::Value = serde_json::from_slice(line)?;
            let each = match command["backend"].as_str() {
                Some("baseline") => 1000 * self.factor,
                _ => 1000,
            };
            let start = *self.clock.borrow();
            let end = start + each * command["calls"].as_u64().unwrap();
            *self.clock.borrow_mut() = end;
            let answer = serde_json::json!({"reply": "done", "start_ns": start, "end_ns": end, "user_ns": 0, "kernel_ns": 0,
                "minor_faults": 0, "major_faults": 0, "context_switches": 0});
            self.answers
                .borrow_mut()
                .extend(format!("{answer}\n").bytes());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl io::Read for &Callables {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            io::Read::read(&mut *self.answers.borrow_mut(), buffer)
        }
    }

    fn judged(factor: u64, min_ratio: Option<f64>) -> Judged {
        let callables = Callables::new(factor);
        let limits = Limits {
            precision: 0.01,
            max_time: Duration::from_secs(60),
            min_ratio,
        };
        referee(&limits, io::BufReader::new(&callables), &callables).unwrap()
    }

    #[test]
    fn three_times_as_long_is_a_ratio_of_three() {
        let judged = judged(3, None);
        assert_eq!(judged.comparison.ratio, 3.0);
        assert_eq!(judged.comparison.verdict, Verdict::Faster);
        assert_eq!(
            (judged.baseline.median_ns, judged.candidate.median_ns),
            (3000.0, 1000.0)
        );
        assert!(judged.bound.is_none() && judged.standing.is_none());
    }

    #[test]
    fn a_ratio_is_held_against_what_was_wanted() {
        assert_eq!(judged(3, Some(3.0)).standing, Some(Standing::Held));
        let worse = judged(3, Some(4.0));
        assert_eq!(worse.standing, Some(Standing::Worse));
        assert!((3.9..4.0).contains(&worse.bound.unwrap()));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let limits = Limits {
            precision: 0.01,
            max_time: Duration::from_secs(1),
            min_ratio: None,
        };
        let referee = |answer: &[u8]| referee(&limits, answer, io::sink()).unwrap_err();
        assert!(matches!(referee(b""), RefereeError::Ended));
        assert!(matches!(referee(b"hello\n"), RefereeError::Protocol { line } if line == "hello"));
    }
}
