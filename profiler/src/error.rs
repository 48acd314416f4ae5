//! What can end a command, and the exit code of each end.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::baseline::BaselineError;
use crate::changes::ChangesError;
use crate::convert::ConvertError;
use crate::document::DocumentError;
use crate::plan::PlanError;
use crate::record::RecordError;
use crate::referee::RefereeError;
use crate::report::ReportError;
use crate::run_dir::RunDirError;
use crate::sampling::event_names::EventError;
use crate::suite::SuiteError;
use crate::validate::ValidateError;
use crate::worker::WorkerError;

/// How a command ended, as its exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Judged worse.
    Worse = 1,
    /// Bad usage or bad input.
    BadInput = 2,
    /// The environment denies what the job needs.
    Denied = 3,
    /// The workload failed.
    WorkloadFailed = 4,
    /// Interrupted; what was gathered is written.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command ended without its result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan can't be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The worker did not do its part.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The result can't be written.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The suite can't be begun, or can't go on.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// No baseline was written.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// Nothing can be compared.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// The cells can't be held against the baseline.
    #[error(transparent)]
    Validate(#[from] ValidateError),
    /// A file is of no use.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// There is no recording.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Two callables of another process were not compared.
    #[error(transparent)]
    Referee(#[from] RefereeError),
    /// There is no report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Nothing was converted.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// Neither an op nor a command.
    #[error("nothing to do: --op, --shape and --dtype say what to measure; --help tells more")]
    Usage,
    /// The result can't be printed; the run directory is there.
    #[error("can't write to stdout: {0}")]
    Stdout(std::io::Error),
    /// The manual pages can't be written.
    #[error("can't write manual pages to {}: {source}; --out takes an existing directory", .directory.display())]
    ManPages {
        /// Where.
        directory: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Signals can't be handled.
    #[error("can't handle Ctrl-C: {0}")]
    Signals(#[from] ctrlc::Error),
}

impl Error {
    /// The exit code of this error.
    pub fn exit(&self) -> Exit {
        match self {
            Error::Plan(_) | Error::Usage | Error::ManPages { .. } => Exit::BadInput,
            Error::Worker(error) => of_worker(error),
            Error::RunDir(error) => of_run_dir(error),
            Error::Suite(error) => of_suite(error),
            Error::Baseline(BaselineError::Incomplete { .. }) => Exit::WorkloadFailed,
            Error::Changes(ChangesError::RunDir(error)) => of_run_dir(error),
            Error::Baseline(_) | Error::Document(_) | Error::Changes(_) | Error::Validate(_) => {
                Exit::BadInput
            }
            Error::Record(error) => of_recording(error),
            Error::Referee(error) => of_referee(error),
            Error::Report(error) => of_report(error),
            Error::Convert(ConvertError::Write { .. }) => Exit::Denied,
            Error::Convert(_) => Exit::BadInput,
            Error::Signals(_) | Error::Stdout(_) => Exit::Denied,
        }
    }
}

fn of_worker(error: &WorkerError) -> Exit {
    match error {
        WorkerError::Spawn { .. }
        | WorkerError::NotPython { .. }
        | WorkerError::TooOld { .. }
        | WorkerError::Unfit { .. } => Exit::BadInput,
        WorkerError::Missing { .. } | WorkerError::Refused { .. } | WorkerError::Source(_) => {
            Exit::Denied
        }
        WorkerError::Disagree { .. } | WorkerError::Died { .. } | WorkerError::Protocol { .. } => {
            Exit::WorkloadFailed
        }
        WorkerError::Interrupted => Exit::Interrupted,
    }
}

fn of_run_dir(error: &RunDirError) -> Exit {
    match error {
        RunDirError::Taken { .. }
        | RunDirError::Unwritable { .. }
        | RunDirError::Unreadable { .. } => Exit::BadInput,
        RunDirError::Write { .. } => Exit::Denied,
    }
}

fn of_suite(error: &SuiteError) -> Exit {
    match error {
        SuiteError::RunDir(error) => of_run_dir(error),
        SuiteError::Busy { .. } => Exit::Denied,
        SuiteError::Plan(_)
        | SuiteError::Document(_)
        | SuiteError::SameName { .. }
        | SuiteError::NotTheCell { .. }
        | SuiteError::Elsewhere { .. } => Exit::BadInput,
    }
}

fn of_report(error: &ReportError) -> Exit {
    match error {
        ReportError::NothingThere { .. }
        | ReportError::Document(_)
        | ReportError::Taken { .. }
        | ReportError::Unwritable { .. } => Exit::BadInput,
        ReportError::Random(_) | ReportError::Render(_) => Exit::Denied,
    }
}

fn of_referee(error: &RefereeError) -> Exit {
    match error {
        RefereeError::Ended => Exit::WorkloadFailed,
        RefereeError::Protocol { .. } => Exit::BadInput,
        RefereeError::Pipe(_) => Exit::Denied,
        RefereeError::Interrupted => Exit::Interrupted,
    }
}

fn of_recording(error: &RecordError) -> Exit {
    match error {
        RecordError::Plan(_)
        | RecordError::Launch(_)
        | RecordError::NoProcess { .. }
        | RecordError::NoRate { .. }
        | RecordError::Event(EventError::Unknown { .. }) => Exit::BadInput,
        RecordError::RunDir(error) => of_run_dir(error),
        RecordError::Event(EventError::NoPmu { .. } | EventError::Description { .. })
        | RecordError::Open(_)
        | RecordError::Io(_) => Exit::Denied,
    }
}
