//! Many cells, one after the other, in a directory that survives any end.

mod file;

pub use file::{Measuring, NAME, Profiling, SCHEMA, State, Suite, SuiteCell};
