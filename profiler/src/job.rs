//! The main job: one cell, from the plan to the run directory.
//!
//! hello -> counters and sampler are opened -> set up -> warm up -> timing -> counting -> profiling -> what was gathered is written.
//! Timing, counting and profiling have windows of their own, so that none disturbs another.

mod gather;
mod write;

use std::path::PathBuf;

use crate::error::{Error, Exit};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::run_dir::RunDir;
use crate::summary::Summary;
use crate::worker::WorkerError;

/// A job that left a run directory.
pub struct Outcome {
    /// What was found out.
    pub summary: Summary,
    /// Where it is.
    pub directory: PathBuf,
    /// What the user should know beside the result: one line each.
    pub messages: Vec<String>,
    /// How it ended: done, denied (timings without profile or counters) or interrupted.
    pub exit: Exit,
}

/// Carries out `plan`; `command` is the command line that it came from.
///
/// # Errors
/// [`Error`] when there is nothing to write or no place for it; the run directory is not there then.
pub fn run(plan: &Plan, command: Vec<String>, progress: &Progress) -> Result<Outcome, Error> {
    let created = chrono::Utc::now();
    let run_dir = RunDir::create(plan.out.as_deref(), &plan.cell.name())?;
    let mut gathered = gather::Gathered::default();
    let interrupted = match gather::gather(plan, &mut gathered, progress) {
        Ok(()) => false,
        Err(WorkerError::Interrupted) => true,
        Err(error) => return Err(error.into()),
    };
    progress.step("write");
    let messages = gathered.messages(plan);
    let exit = match (interrupted, gathered.is_complete()) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Done,
        (false, false) => Exit::Denied,
    };
    let header = write::Header {
        created,
        command,
        interrupted,
    };
    let summary = write::write(plan, header, gathered, &run_dir)?;
    let directory = run_dir.complete()?;
    Ok(Outcome {
        summary,
        directory,
        messages,
        exit,
    })
}
