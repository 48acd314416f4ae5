//! The steps with the worker. What each finds goes into [`Gathered`] at once, so that an interruption loses nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::counters::{self, CounterReading, Counters};
use crate::plan::{Backend, Plan};
use crate::profile::Profile;
use crate::progress::Progress;
use crate::recording::{ProfileError, Recorder};
use crate::summary::SamplingStatus;
use crate::timing::{self, Pace, Timings};
use crate::worker::{Hello, Ready, Worker, WorkerError};

/// The inputs are the same in every run.
const SEED: u64 = 20_240_229;
const WARM_UP: Duration = Duration::from_millis(200);
/// Time of the timing windows, as a share of the plan's.
const TIMING_SHARE: f64 = 0.1;
/// Time of one backend's profiling windows at most, as a share of the plan's.
const PROFILING_SHARE: f64 = 0.4;
const COUNTING: Duration = Duration::from_millis(300);
const PROFILING_WINDOW: Duration = Duration::from_millis(50);
/// Some samples fall away when the windows are cut to size.
const SAMPLES_RESERVE: f64 = 1.05;

/// What the steps have found so far.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) hello: Option<Hello>,
    pub(super) ready: Option<Ready>,
    pub(super) timings: Timings,
    pub(super) counters: BTreeMap<Backend, Vec<CounterReading>>,
    pub(super) counters_denied: Option<String>,
    pub(super) profiles: BTreeMap<Backend, Profiled>,
}

/// A profile, or why there is none.
pub(super) type Profiled = Result<Profile, NoProfile>;

/// Why there is no profile.
#[derive(Debug, Clone)]
pub(super) struct NoProfile {
    pub(super) status: SamplingStatus,
    pub(super) reason: String,
}

impl Gathered {
    /// Whether every step gave what it is for.
    pub(super) fn is_complete(&self) -> bool {
        self.counters_denied.is_none()
            && self.profiles.values().all(|profiled| {
                profiled
                    .as_ref()
                    .is_ok_and(|profile| profile.sampling.in_op > 0)
            })
    }

    /// What the user should know beside the result.
    pub(super) fn messages(&self, plan: &Plan) -> Vec<String> {
        let note = self.ready.as_ref().and_then(|ready| ready.note.clone());
        let mut messages: Vec<String> = note.into_iter().collect();
        messages.extend(
            self.counters_denied
                .iter()
                .map(|reason| format!("no counters: {reason}")),
        );
        for (backend, profiled) in &self.profiles {
            let message = match profiled {
                Ok(profile) if profile.sampling.in_op < plan.min_samples => format!(
                    "{} has {} samples inside the op instead of {}: a longer --max-time or a higher --rate gives more",
                    backend.name(),
                    profile.sampling.in_op,
                    plan.min_samples
                ),
                Ok(_) => continue,
                Err(none) => format!("no profile: {}", none.reason),
            };
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        messages
    }
}

/// Runs all steps.
pub(super) fn gather(
    plan: &Plan,
    gathered: &mut Gathered,
    progress: &Progress,
) -> Result<(), WorkerError> {
    progress.step("start Python");
    let (mut worker, hello) = Worker::start(plan)?;
    let mut counters = Counters::open(hello.pid);
    let mut recorder = Recorder::open(hello.pid, plan.rate_hz);
    gathered.counters_denied = counters.denied().map(str::to_owned);
    gathered.hello = Some(hello);
    progress.step("prepare the inputs");
    gathered.ready = Some(worker.set_up(&plan.cell, &plan.backends, SEED)?);
    let paces = warm_up(&mut worker, plan, progress)?;
    progress.step("timing");
    let length = plan.max_time.mul_f64(TIMING_SHARE);
    timing::measure(&mut worker, &paces, length, &mut gathered.timings, progress)?;
    for pace in &paces {
        progress.step(format!("counting {}", pace.backend.name()));
        let readings = count(&mut worker, pace, &mut counters)?;
        gathered.counters.insert(pace.backend, readings);
    }
    for pace in &paces {
        progress.step(format!("profiling {}", pace.backend.name()));
        let (profiled, end) = match &mut recorder {
            Ok(recorder) => profile(&mut worker, plan, pace, recorder, progress),
            Err(error) => (Err(no_profile(error)), Ok(())),
        };
        gathered.profiles.insert(pace.backend, profiled);
        end?;
    }
    Ok(())
}

fn warm_up(
    worker: &mut Worker,
    plan: &Plan,
    progress: &Progress,
) -> Result<Vec<Pace>, WorkerError> {
    progress.step("warm up");
    plan.backends
        .iter()
        .map(|&backend| timing::warm_up(worker, backend, WARM_UP))
        .collect()
}

fn count(
    worker: &mut Worker,
    pace: &Pace,
    counters: &mut Counters,
) -> Result<Vec<CounterReading>, WorkerError> {
    let calls = pace.calls_in(COUNTING);
    let start = counters.start();
    let done = worker.run(pace.backend, calls)?;
    let mut readings = counters.stop(&start, calls);
    readings.extend(counters::cpu_time(
        done.user_ns,
        done.kernel_ns,
        done.window.length_ns(),
        calls,
    ));
    Ok(readings)
}

/// Samples one backend until the profile has what the plan wants. An interruption still gives the profile up to it.
fn profile(
    worker: &mut Worker,
    plan: &Plan,
    pace: &Pace,
    recorder: &mut Recorder,
    progress: &Progress,
) -> (Profiled, Result<(), WorkerError>) {
    let op = plan.cell.op.to_string();
    if let Err(error) = recorder.start(&op) {
        return (Err(no_profile(&error)), Ok(()));
    }
    let deadline = Instant::now() + plan.max_time.mul_f64(PROFILING_SHARE);
    let wanted = (plan.min_samples as f64 * SAMPLES_RESERVE).ceil();
    let calls = pace.calls_in(PROFILING_WINDOW);
    let mut windows = Vec::new();
    let end = loop {
        match worker.run(pace.backend, calls) {
            Ok(done) => windows.push(done.window),
            Err(error) => break Err(error),
        }
        let in_op = recorder.in_op() as f64;
        progress.fraction(in_op / wanted);
        if in_op >= wanted || Instant::now() >= deadline {
            break Ok(());
        }
    };
    (
        recorder
            .finish(&windows)
            .map_err(|error| no_profile(&error)),
        end,
    )
}

fn no_profile(error: &ProfileError) -> NoProfile {
    let status = match error.is_denial() {
        true => SamplingStatus::Denied,
        false => SamplingStatus::Failed,
    };
    NoProfile {
        status,
        reason: error.to_string(),
    }
}
