//! A native profiler that says whether a Rust kernel is faster than NumPy, and if not, why.

pub mod counters;
pub mod flamegraph;
pub mod merge;
pub mod native;
pub mod profile;
pub mod python;
pub mod recording;
pub mod sampling;
pub mod worker;
