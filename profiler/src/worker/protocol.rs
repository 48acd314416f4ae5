//! The lines between the profiler and `worker.py`: one JSON object each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{Backend, Cell};

/// A stretch of time in nanoseconds of CLOCK_MONOTONIC, in which the worker ran nothing but the op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Window {
    /// When the first call began.
    pub start_ns: u64,
    /// When the last call had ended.
    pub end_ns: u64,
}

impl Window {
    /// Its length in nanoseconds.
    pub fn length_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

/// A window that was run, and what getrusage(2) says of the whole worker in it.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Done {
    /// When.
    #[serde(flatten)]
    pub window: Window,
    /// What it took.
    #[serde(flatten)]
    pub usage: Usage,
}

/// What getrusage(2) says of a window, over all threads of the worker.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Usage {
    /// CPU time in user mode, in nanoseconds.
    pub user_ns: u64,
    /// CPU time in the kernel, in nanoseconds.
    pub kernel_ns: u64,
    /// Page faults that the kernel met without I/O.
    pub minor_faults: u64,
    /// Page faults with I/O.
    pub major_faults: u64,
    /// Voluntary and other switches to another thread.
    pub context_switches: u64,
}

/// What the interpreter says before it imports anything.
#[derive(Debug, Clone, Deserialize)]
pub struct Hello {
    /// Process id, as the worker sees it.
    pub pid: u32,
    /// Version of Python.
    pub python: String,
    /// Path of the interpreter.
    pub executable: String,
}

/// What the worker says when the inputs are made and every backend has run once.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// Version of NumPy; None where it is not imported.
    pub numpy: Option<String>,
    /// The Python function that a call of each backend runs: samples with it are inside the op.
    pub functions: BTreeMap<Backend, String>,
    /// `raptors.config()`; None where it is not imported.
    pub config: Option<RaptorsConfig>,
    /// What the user should know of the results.
    pub note: Option<String>,
}

impl Ready {
    /// The Python function that marks samples of `backend` as inside the op.
    pub fn function(&self, backend: Backend) -> &str {
        self.functions.get(&backend).map_or("", String::as_str)
    }
}

/// `raptors.config()`: what was requested through the environment, and what is used.
#[derive(Debug, Clone, Deserialize)]
pub struct RaptorsConfig {
    /// Version of the package.
    pub version: String,
    /// Threads.
    pub threads: Choice<u32>,
    /// Instruction set.
    pub simd: Choice<String>,
}

/// What was requested (None: nothing) and what is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice<T> {
    /// As it was written, if it was.
    pub requested: Option<String>,
    /// What came of it; None where no backend that it concerns ran.
    pub used: Option<T>,
}

/// A command to the worker.
#[derive(Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Ask<'a> {
    Setup {
        #[serde(flatten)]
        cell: &'a Cell,
        backends: &'a [Backend],
        seed: u64,
    },
    Run {
        backend: Backend,
        calls: u64,
    },
}

/// What the worker says.
#[derive(Deserialize)]
#[serde(tag = "reply", rename_all = "lowercase")]
pub(crate) enum Reply {
    Hello(Hello),
    Ready(Ready),
    Missing { module: String },
    Refused { message: String },
    Disagree { message: String },
    Unfit { message: String },
    Done(Done),
}
