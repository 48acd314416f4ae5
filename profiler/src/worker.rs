//! The windows in which the worker runs the op.

/// A stretch of time in which the op ran, CLOCK_MONOTONIC ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it began.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
}
