//! Is my Rust kernel faster than NumPy, and if not, why?
//!
//! The way of the data:
//!
//! ```text
//! cli -> plan -> job: worker (the user's Python) -> timing  -> compare ------\
//!                                                -> counters -----------------> summary -> run_dir, table
//!                                                -> recording -> profile -----/    \-> flamegraph
//! ```
//!
//! - [`cli`] reads the command line; [`plan`] checks it before anything is started; [`job`] drives the steps.
//! - [`worker`] runs `worker.py` in the user's interpreter and speaks with it in JSON lines.
//! - [`timing`] takes interleaved windows, [`compare`] judges them (pure).
//! - [`counters`] and [`recording`] watch the worker from outside: [`sampling`] takes samples, [`native`] walks and names
//!   their stacks, [`python`] reads the Python stacks, [`merge`] (pure) makes one of both; [`profile`] is what was seen,
//!   [`source_lines`] where in the source.
//! - [`summary`], [`run_dir`] (filled in a [`scratch`] directory), [`outputs`], [`table`], [`flamegraph`] and [`formats`] are what leaves;
//!   [`stored`] keeps a profile with its samples, from which [`convert`] writes other formats later.
//! - [`suite`] is many cells. [`document`] reads back what was written, [`report`] makes a page of it; [`fingerprint`] says whether two may be compared,
//!   [`judge`] (pure) how: [`changes`] from one run or suite to the next, and [`validate`] against a [`baseline`] file or a number.
//! - [`referee`] compares two callables of a process that runs already: the Python package asks it.
//! - [`doctor`] tries all of it in small, and says how to mend what does not work.

pub mod assemble;
pub mod baseline;
pub mod changes;
pub mod cli;
pub mod compare;
pub mod convert;
pub mod counters;
pub mod doctor;
pub mod document;
pub mod environment;
pub mod error;
pub mod fingerprint;
pub mod flamegraph;
pub mod formats;
pub mod interner;
pub mod interrupt;
pub mod job;
pub mod judge;
pub mod merge;
pub mod native;
pub mod outputs;
pub mod plan;
pub mod profile;
pub mod progress;
pub mod python;
pub mod record;
pub mod recording;
pub mod referee;
pub mod report;
pub mod run_dir;
pub mod sampling;
pub mod scratch;
pub mod source_lines;
pub mod stored;
pub mod suite;
pub mod summary;
pub mod table;
pub mod timing;
pub mod validate;
pub mod worker;
