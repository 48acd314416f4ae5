//! Measures the cells that are not measured yet, one after the other, and keeps `suite.json` up to date.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{SecondsFormat, Utc};

use super::directory::SuiteDir;
use super::file::{Measuring, SCHEMA, State, Suite, SuiteCell};
use super::matrix::{Planned, options, order};
use super::progress::SuiteProgress;
use super::{SuiteError, table};
use crate::error::{Error, Exit};
use crate::fingerprint::Fingerprint;
use crate::interrupt;
use crate::job::{self, Outcome};
use crate::plan::{How, Plan, Profiling, Shape};
use crate::summary::Summary;
use crate::worker::WorkerError;

/// What a new suite is made of.
pub struct Request<'a> {
    /// What is measured, in a word.
    pub name: String,
    /// The cells; at least one.
    pub planned: Vec<Planned>,
    /// Of which cells a profile is taken.
    pub profiling: Profiling,
    /// Where the order comes from; None takes the time.
    pub seed: Option<u64>,
    /// Where the suite goes; None for a new directory under `results/runs`.
    pub out: Option<&'a Path>,
    /// What asks for it, for the name of that directory: `suite` or `validate`.
    pub kind: &'a str,
    /// The command line.
    pub command: Vec<String>,
}

/// A suite that is being measured.
pub struct Session {
    directory: SuiteDir,
    suite: Suite,
    /// One a cell, in the same order.
    plans: Vec<Plan>,
}

/// How a session ended.
pub struct Ended {
    /// What there is now.
    pub suite: Suite,
    /// Where.
    pub directory: PathBuf,
    /// Done, denied (a cell lacks its profile or counters), failed (at least one cell) or interrupted.
    pub exit: Exit,
}

impl Session {
    /// Begins a suite: its directory is there when this returns.
    ///
    /// # Errors
    /// [`SuiteError::RunDir`] when the directory can't be made.
    pub fn begin(request: Request<'_>) -> Result<Session, SuiteError> {
        let planned = request.planned;
        let created = Utc::now();
        let seed = request
            .seed
            .unwrap_or_else(|| created.timestamp().unsigned_abs());
        let ordered = order(planned.len(), seed).into_iter();
        let planned: Vec<Planned> = ordered.map(|at| planned[at].clone()).collect();
        let Some(first) = planned.first() else {
            unreachable!("a matrix has at least one cell");
        };
        let suite = Suite {
            schema: SCHEMA.to_owned(),
            created: created.to_rfc3339_opts(SecondsFormat::Secs, true),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            command: request.command,
            name: request.name,
            seed,
            measuring: measuring(&first.plan, request.profiling),
            fingerprint: None,
            cells: planned.iter().map(SuiteCell::pending).collect(),
        };
        let directory = SuiteDir::create(request.out, &suite, request.kind)?;
        let plans = planned.into_iter().map(|planned| planned.plan);
        Ok(Session::new(directory, suite, plans.collect()))
    }

    /// Takes up the suite in `path`: same cells, order and options. What is complete is not measured again.
    ///
    /// # Errors
    /// [`SuiteError`] when there is no suite, when it holds what is not its own, or when this is another machine.
    pub fn resume(path: &Path) -> Result<Session, SuiteError> {
        let (directory, suite) = SuiteDir::open(path)?;
        let how = suite.measuring.how();
        let plans: Result<_, _> = suite.cells.iter().map(|cell| plan(cell, &how)).collect();
        let mut session = Session::new(directory, suite, plans?);
        if let Some(plan) = session.plans.first() {
            session.check_place(&Fingerprint::here(plan))?;
        }
        for at in 0..session.suite.cells.len() {
            let finished = session.directory.finished(&session.suite.cells[at])?;
            session.suite.cells[at].reset();
            if let Some(summary) = finished {
                session.finish(at, summary)?;
            }
        }
        Ok(session)
    }

    fn new(directory: SuiteDir, suite: Suite, mut plans: Vec<Plan>) -> Session {
        for (plan, cell) in plans.iter_mut().zip(&suite.cells) {
            plan.out = Some(directory.run_of(cell));
            plan.profiling = suite.measuring.profile;
            if plan.profiling == Profiling::None {
                plan.min_samples = 0;
            }
        }
        Session {
            directory,
            suite,
            plans,
        }
    }

    /// What is known so far.
    pub fn suite(&self) -> &Suite {
        &self.suite
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Measures what is pending. A cell whose workload fails is noted, and the rest goes on.
    ///
    /// # Errors
    /// [`Error`] for what would end every cell alike: no interpreter, a missing module, a full disk. What is done stays.
    pub fn run(mut self, progress: &SuiteProgress) -> Result<Ended, Error> {
        self.directory.save(&self.suite)?;
        progress.begin(
            self.suite.in_state(State::Done).count(),
            Duration::from_secs_f64(self.suite.measuring.max_time_s),
        );
        let (mut denied, mut interrupted) = (false, false);
        for at in 0..self.plans.len() {
            if self.suite.cells[at].state == State::Done {
                continue;
            }
            interrupted = interrupt::requested();
            if interrupted {
                break;
            }
            match self.measure(at, progress)? {
                Some(Exit::Interrupted) => {
                    interrupted = true;
                    break;
                }
                Some(Exit::Denied) => denied = true,
                _ => {}
            }
            progress.done(&table::line(&self.suite.cells[at]));
            self.directory.save(&self.suite)?;
        }
        let exit = match (interrupted, self.suite.in_state(State::Failed).next()) {
            (true, _) => Exit::Interrupted,
            (false, Some(_)) => Exit::WorkloadFailed,
            (false, None) if denied => Exit::Denied,
            (false, None) => Exit::Done,
        };
        Ok(Ended {
            suite: self.suite,
            directory: self.directory.path().to_owned(),
            exit,
        })
    }

    /// Measures one cell; gives how its job ended, None where the workload failed.
    fn measure(&mut self, at: usize, progress: &SuiteProgress) -> Result<Option<Exit>, Error> {
        let plan = &self.plans[at];
        progress.cell(&self.suite.cells[at].name);
        match job::run(plan, repeat(&self.suite.command, plan), progress.step()) {
            Ok(Outcome { exit, .. }) if exit == Exit::Interrupted => Ok(Some(exit)),
            Ok(outcome) => {
                self.suite.cells[at].messages = outcome.messages;
                self.finish(at, outcome.summary)?;
                Ok(Some(outcome.exit))
            }
            Err(error) if is_of_the_cell(&error) => {
                let cell = &mut self.suite.cells[at];
                cell.state = State::Failed;
                cell.error = Some(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes over what a run of a cell found.
    fn finish(&mut self, at: usize, mut summary: Summary) -> Result<(), SuiteError> {
        let here = Fingerprint::from(&summary.environment);
        self.check_place(&here)?;
        self.suite.fingerprint.get_or_insert(here);
        for timing in summary
            .backends
            .values_mut()
            .filter_map(|backend| backend.timing.as_mut())
        {
            timing.samples_ns.clear();
        }
        let cell = &mut self.suite.cells[at];
        cell.state = State::Done;
        cell.summary = Some(summary);
        Ok(())
    }

    fn check_place(&self, here: &Fingerprint) -> Result<(), SuiteError> {
        let there = self.suite.fingerprint.as_ref();
        let differences = there.map_or(Vec::new(), |there| there.differences(here));
        if differences.is_empty() {
            return Ok(());
        }
        Err(SuiteError::Elsewhere {
            path: self.directory.path().to_owned(),
            differences,
        })
    }
}

/// Whether other cells may fare better.
fn is_of_the_cell(error: &Error) -> bool {
    match error {
        Error::Worker(WorkerError::Refused { .. }) => true,
        error => error.exit() == Exit::WorkloadFailed,
    }
}

fn measuring(plan: &Plan, profile: Profiling) -> Measuring {
    let python = &plan.python;
    // A bare name is looked up in PATH; a path means the same file from wherever the suite is resumed.
    let python = match python.components().count() {
        0 | 1 => python.clone(),
        _ => std::path::absolute(python).unwrap_or_else(|_| python.clone()),
    };
    Measuring {
        python: python.display().to_string(),
        rate_hz: plan.rate_hz,
        min_samples: plan.min_samples,
        precision: plan.precision,
        max_time_s: plan.max_time.as_secs_f64(),
        profile,
    }
}

/// The plan of a cell that was begun before. What the environment asks for now is no part of it.
fn plan(cell: &SuiteCell, how: &How) -> Result<Plan, SuiteError> {
    let (threads, simd) = (cell.threads(), cell.simd());
    let plan = Plan::new(options(&cell.cell, threads, simd, how))?;
    Ok(Plan {
        threads,
        simd,
        ..plan
    })
}

/// The command that measures the cell of `plan` alone.
fn repeat(command: &[String], plan: &Plan) -> Vec<String> {
    let cell = &plan.cell;
    let options = [
        ("--op", Some(cell.op.to_string())),
        ("--shape", cell.shape.as_ref().map(Shape::to_string)),
        ("--dtype", cell.dtype.map(|dtype| dtype.to_string())),
        ("--layout", cell.layout.map(|layout| layout.to_string())),
        ("--threads", plan.threads.map(|threads| threads.to_string())),
        ("--simd", plan.simd.map(|simd| simd.to_string())),
        ("--python", Some(plan.python.display().to_string())),
        ("--rate", Some(plan.rate_hz.to_string())),
        ("--min-samples", Some(plan.min_samples.to_string())),
        ("--precision", Some((plan.precision * 100.0).to_string())),
        ("--max-time", Some(plan.max_time.as_secs_f64().to_string())),
    ];
    let program = command.first().cloned();
    let options = options
        .into_iter()
        .filter_map(|(name, value)| Some([name.to_owned(), value?]))
        .flatten();
    program.into_iter().chain(options).collect()
}
