//! Why a suite can't be begun or go on.

use std::path::PathBuf;

use crate::document::DocumentError;
use crate::fingerprint::{Difference, list};
use crate::plan::PlanError;
use crate::run_dir::RunDirError;

/// Why a suite can't be begun or go on.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// A cell can't be measured.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The directory can't be made or written.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// A file of the suite is of no use.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Two cells would be one in its files.
    #[error("two different cells are called {name}: measure them in suites of their own")]
    SameName {
        /// The name.
        name: String,
    },
    /// The directory of a cell holds something else.
    #[error("{} is no run of this suite's cell ({reason}): move it away, and the cell is measured again", .path.display())]
    NotTheCell {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Its cells would not be comparable.
    #[error("{} was begun elsewhere ({}): begin a new suite here", .path.display(), list(.differences))]
    Elsewhere {
        /// The suite.
        path: PathBuf,
        /// How the places differ.
        differences: Vec<Difference>,
    },
    /// Another process measures it.
    #[error("another raptors-prof is at work in {}: wait for its end", .path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
}
