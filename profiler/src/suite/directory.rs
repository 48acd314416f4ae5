//! The directory of a suite: `suite.json` and a run directory a cell. Whoever measures in it holds a lock on it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::SuiteError;
use super::file::{NAME, Suite, SuiteCell};
use crate::document;
use crate::run_dir::{self, RunDir, RunDirError};
use crate::scratch;
use crate::summary::Summary;

/// Where a process was killed, a child that it was about to start holds its lock until it is another program.
const PATIENCE: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(20);

/// A suite's directory, in which no one else is at work.
pub struct SuiteDir {
    path: PathBuf,
    _lock: File,
}

impl SuiteDir {
    /// Makes the directory, with `suite` in it from the first moment on, at `out` or under `results/runs`.
    ///
    /// # Errors
    /// [`SuiteError::RunDir`] when the place is taken or can't be written to.
    pub fn create(out: Option<&Path>, suite: &Suite, kind: &str) -> Result<SuiteDir, SuiteError> {
        let directory = RunDir::create(out, &format!("{kind}-{}", suite.name))?;
        directory.write_json(NAME, suite)?;
        lock(directory.complete()?)
    }

    /// Takes up the suite in the directory `path`.
    ///
    /// # Errors
    /// [`SuiteError`] when there is none, or when someone else is at work there.
    pub fn open(path: &Path) -> Result<(SuiteDir, Suite), SuiteError> {
        let suite = document::load(&path.join(NAME))?;
        let directory = lock(path.to_owned())?;
        scratch::remove_leftovers(path);
        Ok((directory, suite))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the run of `cell` is or will be.
    pub fn run_of(&self, cell: &SuiteCell) -> PathBuf {
        self.path.join(&cell.name)
    }

    /// Replaces `suite.json`: whoever reads it sees the old one or the new one.
    ///
    /// # Errors
    /// [`RunDirError::Write`].
    pub fn save(&self, suite: &Suite) -> Result<(), RunDirError> {
        let path = self.path.join(NAME);
        let json = serde_json::to_string_pretty(suite).map_err(io::Error::from);
        json.and_then(|json| run_dir::replace(&path, &(json + "\n")))
            .map_err(|error| RunDirError::Write {
                path,
                reason: error.to_string(),
            })
    }

    /// The complete run of `cell`, if there is one. What an interruption left of it is removed.
    ///
    /// # Errors
    /// [`SuiteError`] when its directory holds something else.
    pub fn finished(&self, cell: &SuiteCell) -> Result<Option<Summary>, SuiteError> {
        let path = self.run_of(cell);
        if !path.exists() {
            return Ok(None);
        }
        let summary: Summary = document::load(&path.join("summary.json"))?;
        let environment = &summary.environment;
        let asked = (&environment.threads.requested, &environment.simd.requested);
        if summary.cell != cell.cell || asked != (&cell.threads, &cell.simd) {
            let reason = format!(
                "it measured {} with {} threads, SIMD {}",
                summary.cell,
                asked.0.as_deref().unwrap_or("all"),
                asked.1.as_deref().unwrap_or("auto")
            );
            return Err(SuiteError::NotTheCell { path, reason });
        }
        if summary.interrupted {
            std::fs::remove_dir_all(&path).map_err(|error| RunDirError::Write {
                path,
                reason: error.to_string(),
            })?;
            return Ok(None);
        }
        Ok(Some(summary))
    }
}

fn lock(path: PathBuf) -> Result<SuiteDir, SuiteError> {
    let unwritable = |source| RunDirError::Unwritable {
        path: path.clone(),
        source,
    };
    let lock = File::open(&path).map_err(unwritable)?;
    let patience = Instant::now() + PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(SuiteDir { path, _lock: lock }),
            Err(TryLockError::WouldBlock) if Instant::now() < patience => sleep(TICK),
            Err(TryLockError::WouldBlock) => return Err(SuiteError::Busy { path }),
            Err(TryLockError::Error(source)) => return Err(unwritable(source).into()),
        }
    }
}
