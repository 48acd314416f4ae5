//! The steps with the worker. What each finds goes into [`Gathered`] at once, so that an interruption loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::compare::{self, Verdict};
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
/// Time of the timing windows of one backend alone, as a share of the plan's. No verdict rests on it.
const ALONE_SHARE: f64 = 0.1;
/// Time of one backend's counting window, and the most that it may be of the plan's. Profiling has what is left.
const COUNTING: (Duration, f64) = (Duration::from_millis(300), 0.05);
const PROFILING_WINDOW: Duration = Duration::from_millis(50);
/// Some samples fall away when the windows are cut to size.
const SAMPLES_RESERVE: f64 = 1.05;
/// What one backend's profile has set aside before the timing begins, as a share of the plan's time.
const PROFILING_SHARE: f64 = 0.25;

/// What the steps have found so far.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) hello: Option<Hello>,
    pub(super) ready: Option<Ready>,
    pub(super) timings: Timings,
    pub(super) counters: BTreeMap<Backend, Vec<CounterReading>>,
    pub(super) counters_denied: Option<String>,
    pub(super) profiles: BTreeMap<Backend, Profiled>,
    /// Whose profile ended with the time.
    pub(super) out_of_time: BTreeSet<Backend>,
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
            && self.profiles.values().all(|profiled| match profiled {
                Ok(profile) => profile.sampling.in_op > 0,
                Err(none) => none.status == SamplingStatus::Skipped,
            })
    }

    /// What the user should know beside the result.
    pub(super) fn messages(&self, plan: &Plan) -> Vec<String> {
        let note = self.ready.as_ref().and_then(|ready| ready.note.clone());
        let mut messages: Vec<String> = note.into_iter().collect();
        let sampling_denied = self
            .profiles
            .values()
            .any(|profiled| matches!(profiled, Err(none) if none.status == SamplingStatus::Denied));
        // Denied sampling says the same.
        if let Some(reason) = self.counters_denied.as_ref().filter(|_| !sampling_denied) {
            messages.push(format!("no counters but getrusage's: {reason}"));
        }
        let recorded = self
            .profiles
            .values()
            .filter_map(|profiled| profiled.as_ref().ok());
        messages.extend(recorded.filter_map(|profile| profile.sampling.kernel_reason.clone()));
        messages.dedup();
        for (backend, profiled) in &self.profiles {
            let message = match profiled {
                Ok(profile) if profile.sampling.in_op < plan.min_samples => format!(
                    "{} has {} samples inside the op instead of {}: {}",
                    backend.name(),
                    profile.sampling.in_op,
                    plan.min_samples,
                    match self.out_of_time.contains(backend) {
                        true => "a longer --max-time or a higher --rate gives more",
                        false =>
                            "some turned out to lie outside it; a higher --min-samples gives more",
                    }
                ),
                Ok(_) => continue,
                Err(none) if none.status == SamplingStatus::Skipped => continue,
                Err(none) if self.counters_denied.is_some() => {
                    format!(
                        "no profile, and no counters but getrusage's: {}",
                        none.reason
                    )
                }
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
    let mut recorder = open_recorder(plan, hello.pid);
    gathered.counters_denied = counters.denied().map(str::to_owned);
    gathered.hello = Some(hello);
    progress.step("prepare the inputs");
    gathered.ready = Some(worker.set_up(&plan.cell, &plan.backends, SEED)?);
    let start = Instant::now();
    let paces = warm_up(&mut worker, plan, progress)?;
    progress.step("timing");
    let length = timing_length(plan, start.elapsed());
    let timings = &mut gathered.timings;
    timing::measure(
        &mut windows_of(&mut worker),
        &paces,
        plan.precision,
        length,
        timings,
        progress,
    )?;
    // What is to last for a time goes by how long calls take with all that interrupts them.
    let paces: Vec<Pace> = paces
        .iter()
        .filter_map(|pace| timings.pace(pace.backend))
        .collect();
    for pace in &paces {
        progress.step(format!("counting {}", pace.backend.name()));
        let calls = pace.calls_in(at_most(COUNTING, plan));
        let readings = count(&mut worker, pace.backend, calls, &mut counters)?;
        gathered.counters.insert(pace.backend, readings);
    }
    if !plan.profiling.wants(verdict(plan, &gathered.timings)) {
        recorder = Err(skipped("--profile asks for none of this cell"));
    }
    // What the steps before took too long for a busy machine is not taken from the profiles.
    let left = plan.max_time.saturating_sub(start.elapsed());
    let left = left.max(profiling_reserve(plan) * paces.len() as u32);
    profile_all(
        &mut worker,
        plan,
        &paces,
        left,
        &mut recorder,
        gathered,
        progress,
    )
}

/// Profiles one backend after the other. What one does not need of its time is the next one's.
fn profile_all(
    worker: &mut Worker,
    plan: &Plan,
    paces: &[Pace],
    mut left: Duration,
    recorder: &mut Result<Recorder, NoProfile>,
    gathered: &mut Gathered,
    progress: &Progress,
) -> Result<(), WorkerError> {
    for (pace, to_come) in paces.iter().zip((1..=paces.len() as u32).rev()) {
        progress.step(format!("profiling {}", pace.backend.name()));
        let length = left / to_come;
        let ready = gathered.ready.as_ref();
        let op = ready.map_or("", |ready| ready.function(pace.backend));
        let (profiled, spent) = match recorder {
            Ok(recorder) => profile(worker, plan, pace, op, length, recorder, progress),
            Err(none) => (Err(none.clone()), Ok(Duration::ZERO)),
        };
        gathered.profiles.insert(pace.backend, profiled);
        let spent = spent?;
        if spent >= length {
            gathered.out_of_time.insert(pace.backend);
        }
        left = left.saturating_sub(spent);
    }
    Ok(())
}

fn open_recorder(plan: &Plan, pid: u32) -> Result<Recorder, NoProfile> {
    if plan.min_samples == 0 {
        return Err(skipped("--min-samples 0 asks for none"));
    }
    Recorder::open(pid, plan.rate_hz).map_err(|error| no_profile(&error))
}

/// How long timing may go on: both backends, until there is just time left to count and to profile.
fn timing_length(plan: &Plan, spent: Duration) -> Duration {
    if plan.backends.len() < 2 {
        return plan.max_time.mul_f64(ALONE_SHARE);
    }
    let to_come = 2 * (at_most(COUNTING, plan) + profiling_reserve(plan));
    plan.max_time.saturating_sub(spent + to_come)
}

/// Time that is set aside for one backend's profile.
fn profiling_reserve(plan: &Plan) -> Duration {
    match plan.min_samples {
        0 => Duration::ZERO,
        _ => plan.max_time.mul_f64(PROFILING_SHARE),
    }
}

fn skipped(reason: &str) -> NoProfile {
    NoProfile {
        status: SamplingStatus::Skipped,
        reason: reason.to_owned(),
    }
}

fn verdict(plan: &Plan, timings: &Timings) -> Option<Verdict> {
    let compared = compare::compare(&timings.interleaved()).filter(|_| plan.backends.len() == 2);
    Some(compared?.verdict)
}

/// The length of a step, unless the plan's time is too short for it.
fn at_most((length, share): (Duration, f64), plan: &Plan) -> Duration {
    length.min(plan.max_time.mul_f64(share))
}

fn warm_up(
    worker: &mut Worker,
    plan: &Plan,
    progress: &Progress,
) -> Result<Vec<Pace>, WorkerError> {
    progress.step("warm up");
    let length = timing::warm_up_length(plan.max_time);
    plan.backends
        .iter()
        .map(|&backend| timing::warm_up(&mut windows_of(worker), backend, length))
        .collect()
}

/// What runs a window in `worker` and gives its nanoseconds.
fn windows_of(worker: &mut Worker) -> impl FnMut(Backend, u64) -> Result<u64, WorkerError> {
    |backend, calls| Ok(worker.run(backend, calls)?.window.length_ns())
}

fn count(
    worker: &mut Worker,
    backend: Backend,
    calls: u64,
    counters: &mut Counters,
) -> Result<Vec<CounterReading>, WorkerError> {
    let start = counters.start();
    let done = worker.run(backend, calls)?;
    let mut readings = counters.stop(&start, calls);
    counters::add_usage(&mut readings, &done.usage, done.window.length_ns(), calls);
    Ok(readings)
}

/// Samples one backend, whose calls run the Python function `op`, until the profile has what the plan wants or `length` is spent; gives the time that the windows took. An
/// interruption still gives the profile up to it.
fn profile(
    worker: &mut Worker,
    plan: &Plan,
    pace: &Pace,
    op: &str,
    length: Duration,
    recorder: &mut Recorder,
    progress: &Progress,
) -> (Profiled, Result<Duration, WorkerError>) {
    if let Err(error) = recorder.start(op) {
        return (Err(no_profile(&error)), Ok(Duration::ZERO));
    }
    let start = Instant::now();
    let wanted = (plan.min_samples as f64 * SAMPLES_RESERVE).ceil();
    let calls = pace.calls_in(PROFILING_WINDOW.min(length));
    let mut windows = Vec::new();
    let spent = loop {
        match worker.run(pace.backend, calls) {
            Ok(done) => windows.push(done.window),
            Err(error) => break Err(error),
        }
        let in_op = recorder.in_op() as f64;
        progress.fraction(in_op / wanted);
        let spent = start.elapsed();
        if in_op >= wanted || spent >= length {
            break Ok(spent);
        }
    };
    (
        recorder
            .finish(&windows)
            .map_err(|error| no_profile(&error)),
        spent,
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
