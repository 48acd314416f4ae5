//! `summary.json`: everything that a run found out, for scripts. Its JSON Schema is docs/summary.schema.json.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::{self, Comparison};
use crate::counters::CounterReading;
use crate::environment::Environment;
use crate::plan::Cell;
use crate::profile::{Sampling, TopFrame};
use crate::source_lines::HotLine;

/// Name and number of the schema. Fields are only added within a number.
pub const SCHEMA: &str = "raptors-prof/summary/1";

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: String,
    /// When the run began: UTC, RFC 3339.
    pub created: String,
    /// Version of raptors-prof.
    pub tool_version: String,
    /// The command line.
    pub command: Vec<String>,
    /// Whether the user ended the run early; what was not reached is null.
    pub interrupted: bool,
    /// What was measured.
    pub cell: Cell,
    /// On what.
    pub environment: Environment,
    /// What was found, by the name of the backend.
    pub backends: BTreeMap<String, BackendSummary>,
    /// The verdict; None with one backend, or before the first pair.
    pub comparison: Option<Comparison>,
    /// Files of both backends together, by kind.
    #[serde(default)]
    pub outputs: BTreeMap<String, String>,
}

impl Summary {
    /// The timings of the backends that have any.
    pub fn timings(&self) -> impl Iterator<Item = &Timing> {
        let backends = self.backends.values();
        backends.filter_map(|backend| backend.timing.as_ref())
    }
}

/// What was found out about one backend.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct BackendSummary {
    /// Time per call.
    pub timing: Option<Timing>,
    /// Event counts over separate windows.
    pub counters: Vec<CounterReading>,
    /// How the profile was taken.
    pub sampling: Option<SamplingSummary>,
    /// The frames with the largest share of their own.
    pub top: Vec<TopFrame>,
    /// The lines of source with the largest share of their own.
    #[serde(default)]
    pub lines: Vec<HotLine>,
    /// Files of this backend, by kind.
    pub outputs: BTreeMap<String, String>,
}

/// Time per call in nanoseconds, each sample the mean over one window.
#[derive(Debug, Serialize, Deserialize)]
pub struct Timing {
    /// Every window's time per call, in order; left out, and empty then, where a suite lists its cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples_ns: Vec<f64>,
    /// Their median.
    pub median_ns: f64,
    /// 95 % interval on the median; None with fewer than six windows.
    pub ci95_ns: Option<[f64; 2]>,
    /// The fastest window.
    pub min_ns: f64,
    /// Calls in all windows.
    pub calls: u64,
}

impl Timing {
    /// None of nothing.
    pub fn new(samples_ns: Vec<f64>, calls: u64) -> Option<Timing> {
        Some(Timing {
            median_ns: compare::median(&samples_ns)?,
            ci95_ns: compare::median_interval(&samples_ns),
            min_ns: samples_ns.iter().copied().min_by(f64::total_cmp)?,
            samples_ns,
            calls,
        })
    }
}

/// How the profile was taken, or why there is none.
#[derive(Debug, Serialize, Deserialize)]
pub struct SamplingSummary {
    /// What came of it.
    pub status: SamplingStatus,
    /// Why there is no profile, and how to mend that.
    pub reason: Option<String>,
    /// The numbers of a profile that was taken.
    #[serde(flatten)]
    pub recorded: Option<Sampling>,
}

/// What came of sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SamplingStatus {
    /// There is a profile.
    Recorded,
    /// The system does not allow it.
    Denied,
    /// It began, and went wrong.
    Failed,
    /// It was not asked for.
    Skipped,
}
