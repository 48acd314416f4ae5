//! Many cells, one after the other, in a directory that survives any end.
//!
//! In: a [`Matrix`] of cells, or the directory of a suite that was begun. Out: a run directory a cell, made by [`crate::job`], and
//! `suite.json` ([`Suite`]), which is there from the beginning and says what is done. A cell is done when its run directory is
//! complete, so a suite goes on after any end, and no cell is measured twice.

mod directory;
mod error;
mod file;
mod matrix;
mod progress;
mod run;
mod table;

pub use error::SuiteError;
pub use file::{Measuring, NAME, SCHEMA, State, Suite, SuiteCell};
pub(crate) use matrix::name;
pub use matrix::{Matrix, Planned, Preset};
pub use progress::SuiteProgress;
pub use run::{Ended, Request, Session};
pub use table::{line, table};
