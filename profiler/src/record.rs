//! `record` and `attach`: the profile of any program, without an op.
//!
//! In: a command to run, or a process that runs. Out: a directory with `summary.json`, `profile.svg` and `profile.folded`, and
//! the same for each process that has its share of the samples, where there are several.

mod launch;
mod options;
mod summary;
mod write;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interrupt;
use crate::native::maps::Maps;
use crate::plan::PlanError;
use crate::run_dir::{RunDir, RunDirError};
use crate::sampling::event_names::EventError;
use crate::sampling::events::{OpenError, SamplingEvents};
use crate::sampling::session::{Recording, Session};
use crate::sampling::target::Target;
use launch::{Held, LaunchError};
pub use options::{AttachOptions, RecordOptions};
pub use summary::{ProcessSummary, RecordSummary, SCHEMA};
use write::Wanted;

/// How often the end of the program, of the time and of the user's patience is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long an interrupted program may take to end before it is told more firmly.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The options can't be carried out here.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The program could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// There is no such process.
    #[error("--pid {pid}: {source}")]
    NoProcess {
        /// The process.
        pid: u32,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is to be sampled can't be.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A rate was given for what goes by number.
    #[error("--rate: {event} are not sampled by time, but one in {period}")]
    NoRate {
        /// The event.
        event: String,
        /// Of how many one is sampled.
        period: u64,
    },
    /// Sampling can't be had.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The result can't be written.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The system failed while recording.
    #[error("recording failed: {0}")]
    Io(#[from] std::io::Error),
}

/// A recording that left its directory.
pub struct Outcome {
    /// What was found out.
    pub summary: RecordSummary,
    /// Where it is.
    pub directory: PathBuf,
}

/// Runs a program and records it and the processes that it starts until it ends.
///
/// # Errors
/// [`RecordError`]; the program is not started, or goes on without the profiler.
pub fn record(options: &RecordOptions, command: Vec<String>) -> Result<Outcome, RecordError> {
    let subject = options.common.subject()?;
    let run_dir = RunDir::create(options.common.out.as_deref(), &options.name())?;
    let held = Held::launch(&options.command)?;
    let events = SamplingEvents::open(held.pid(), &subject)?;
    let target = Target::new(held.pid(), Maps::default(), None);
    let started = Instant::now();
    let session = Session::start(events, target, None)?;
    let mut program = held.release()?;
    let root = program.pid();
    let is_over = || has_passed(options.duration(), started);
    let ended = wait(is_over, || program.ended(), Some(root))?;
    let header = summary::Header::new(command, started.elapsed(), &ended);
    let wanted = options.common.wanted(root);
    finish(session.stop()?, header, wanted, run_dir)
}

/// Records a process that runs already, and the processes that it starts; it is left as it was.
///
/// # Errors
/// [`RecordError`].
pub fn attach(options: &AttachOptions, command: Vec<String>) -> Result<Outcome, RecordError> {
    let pid = options.pid;
    let subject = options.common.subject()?;
    let maps = Maps::read(pid).map_err(|source| RecordError::NoProcess { pid, source })?;
    let run_dir = RunDir::create(options.common.out.as_deref(), &format!("attach-{pid}"))?;
    let events = SamplingEvents::open(pid, &subject)?;
    let started = Instant::now();
    let session = Session::start(events, Target::new(pid, maps, None), None)?;
    let told = Arc::new(AtomicBool::new(false));
    if options.until_told {
        tell(&told)?;
    }
    let is_over = || {
        told.load(Ordering::Relaxed) || has_passed(options.duration(), started) || !is_running(pid)
    };
    // Its exit code is its parent's to know.
    let ended = wait(is_over, || Ok(None), None)?;
    let header = summary::Header::new(command, started.elapsed(), &ended);
    let wanted = Wanted {
        root_frame: options.root_frame.as_deref(),
        title: options.title.as_deref(),
        ..options.common.wanted(pid)
    };
    finish(session.stop()?, header, wanted, run_dir)
}

/// Says on stdout that sampling is under way, and sets `told` when a byte or the end comes on stdin.
fn tell(told: &Arc<AtomicBool>) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(b"sampling\n")?;
    stdout.flush()?;
    let told = Arc::clone(told);
    let listen = move || {
        // An error is an end too.
        let _ = std::io::stdin().read(&mut [0]);
        told.store(true, Ordering::Relaxed);
    };
    std::thread::Builder::new().spawn(listen)?;
    Ok(())
}

fn has_passed(limit: Option<Duration>, started: Instant) -> bool {
    limit.is_some_and(|limit| started.elapsed() >= limit)
}

/// How waiting ended.
pub(crate) struct Ended {
    /// The program's end; `None` where it goes on.
    status: Option<ExitStatus>,
    /// Whether the user asked to stop.
    interrupted: bool,
}

/// Waits for the end of the program, or until `is_over`. Ctrl-C in a terminal reaches the program too, so at first nothing is done
/// but to wait for it to end; then it is told by SIGTERM, then by SIGKILL. A process that was attached to is not told anything:
/// recording ends at once.
fn wait(
    is_over: impl Fn() -> bool,
    mut ended: impl FnMut() -> std::io::Result<Option<ExitStatus>>,
    to_tell: Option<u32>,
) -> std::io::Result<Ended> {
    let mut asked: Option<Instant> = None;
    let mut steps = [Signal::SIGTERM, Signal::SIGKILL].into_iter();
    loop {
        let interrupted = interrupt::requested();
        let end = |status| Ended {
            status,
            interrupted,
        };
        if let Some(status) = ended()? {
            return Ok(end(Some(status)));
        }
        if is_over() || interrupted && to_tell.is_none() {
            return Ok(end(None));
        }
        if let Some(pid) = to_tell
            && interrupted
            && asked.get_or_insert_with(Instant::now).elapsed() >= PATIENCE
        {
            let Some(signal) = steps.next() else {
                return Ok(end(None));
            };
            kill(Pid::from_raw(pid.cast_signed()), signal).map_err(std::io::Error::from)?;
            asked = Some(Instant::now());
        }
        std::thread::sleep(TICK);
    }
}

fn is_running(pid: u32) -> bool {
    kill(Pid::from_raw(pid.cast_signed()), None) != Err(nix::errno::Errno::ESRCH)
}

fn finish(
    recording: Recording,
    header: summary::Header,
    wanted: Wanted<'_>,
    run_dir: RunDir,
) -> Result<Outcome, RecordError> {
    let summary = write::write(recording, header, wanted, &run_dir)?;
    let directory = run_dir.complete()?;
    Ok(Outcome { summary, directory })
}
