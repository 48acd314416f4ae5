//! `suite.json`: the plan of a suite and what its cells have given so far. Its JSON Schema is docs/suite.schema.json.
//!
//! It is there from before the first cell on and is replaced after each, so that a suite can go on after any end.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::matrix::Planned;
use crate::compare::Comparison;
use crate::document::{Document, Flaw, positive};
use crate::fingerprint::Fingerprint;
use crate::plan::{Cell, How, LONGEST, Profiling, Simd, Threads};
use crate::summary::Summary;

/// Name and number of the schema. Fields are only added within a number.
pub const SCHEMA: &str = "raptors-prof/suite/1";
/// Its name in the directory of the suite.
pub const NAME: &str = "suite.json";

/// A suite.
#[derive(Debug, Serialize, Deserialize)]
pub struct Suite {
    /// [`SCHEMA`].
    pub schema: String,
    /// When the suite began: UTC, RFC 3339.
    pub created: String,
    /// Version of raptors-prof.
    pub tool_version: String,
    /// The command line that began it.
    pub command: Vec<String>,
    /// What is measured, in a word: the name of the preset, or `3-cells`.
    pub name: String,
    /// The order of the cells comes from it.
    pub seed: u64,
    /// How each cell is measured.
    pub measuring: Measuring,
    /// The machine, by the first cell that was measured; None before.
    pub fingerprint: Option<Fingerprint>,
    /// The cells in the order in which they are measured.
    pub cells: Vec<SuiteCell>,
}

/// How each cell of a suite is measured: the options, by which it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measuring {
    /// The interpreter.
    pub python: String,
    /// Samples a second.
    pub rate_hz: u32,
    /// Samples inside the op that a profile wants, per backend.
    pub min_samples: u64,
    /// Length of the 95 % interval on the ratio at which timing may end, as a share of the ratio.
    pub precision: f64,
    /// Seconds that measuring a cell may take.
    pub max_time_s: f64,
    /// Of which cells a profile is taken.
    pub profile: Profiling,
}

impl Measuring {
    /// The options that it came from.
    pub fn how(&self) -> How {
        How {
            python: Some(PathBuf::from(&self.python)),
            rate: self.rate_hz,
            min_samples: self.min_samples,
            precision: self.precision,
            max_time: Duration::from_secs_f64(self.max_time_s),
        }
    }
}

/// One cell of a suite.
#[derive(Debug, Serialize, Deserialize)]
pub struct SuiteCell {
    /// What tells it from the others, `sum-512x512-float32`: in baselines too, and the name of its run directory in the suite's.
    pub name: String,
    /// What is measured.
    pub cell: Cell,
    /// Threads of the candidate that are asked for (`--threads`, else RAPTORS_THREADS); None leaves it to the candidate.
    pub threads: Option<String>,
    /// Instruction set of the candidate that is asked for (`--simd`, else RAPTORS_SIMD); None leaves it to the candidate.
    pub simd: Option<String>,
    /// How far it is.
    pub state: State,
    /// Why it failed; None unless it did.
    pub error: Option<String>,
    /// What the user should know beside the numbers: one line each.
    pub messages: Vec<String>,
    /// The cell's own summary.json but for the raw samples: `samples_ns` is left out. None unless it is done.
    pub summary: Option<Summary>,
}

/// How far a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Still to be measured.
    Pending,
    /// Measured: its run directory is complete.
    Done,
    /// The workload failed; the suite went on, and measures it again if it is resumed.
    Failed,
}

impl Suite {
    /// The cells in this state.
    pub fn in_state(&self, state: State) -> impl Iterator<Item = &SuiteCell> {
        self.cells.iter().filter(move |cell| cell.state == state)
    }
}

impl SuiteCell {
    /// A cell that is still to be measured.
    pub(super) fn pending(planned: &Planned) -> SuiteCell {
        SuiteCell {
            name: planned.name.clone(),
            cell: planned.plan.cell.clone(),
            threads: planned.plan.threads.map(|threads| threads.to_string()),
            simd: planned.plan.simd.map(|simd| simd.to_string()),
            state: State::Pending,
            error: None,
            messages: Vec::new(),
            summary: None,
        }
    }

    /// Forgets what an earlier session found.
    pub(super) fn reset(&mut self) {
        self.state = State::Pending;
        self.error = None;
        self.summary = None;
    }

    /// The threads that are asked for.
    pub fn threads(&self) -> Option<Threads> {
        self.threads.as_ref()?.parse().ok()
    }

    /// The instruction set that is asked for.
    pub fn simd(&self) -> Option<Simd> {
        self.simd.as_ref()?.parse().ok()
    }

    /// The comparison of its backends; None unless it is done.
    pub fn comparison(&self) -> Option<&Comparison> {
        self.summary.as_ref()?.comparison.as_ref()
    }
}

impl Document for Suite {
    const SCHEMA: &'static str = SCHEMA;

    fn check(&self) -> Result<(), Flaw> {
        positive("measuring.precision", self.measuring.precision)?;
        let seconds = self.measuring.max_time_s;
        positive("measuring.max_time_s", seconds)?;
        if seconds > LONGEST {
            let reason = format!("{seconds} s is more than {LONGEST}");
            return Err(Flaw::new("measuring.max_time_s", reason));
        }
        for (at, cell) in self.cells.iter().enumerate() {
            let named_twice = self.cells[..at].iter().any(|other| other.name == cell.name);
            let flaw = match named_twice {
                true => Err(Flaw::new("name", "another cell has it too")),
                false => cell.check(),
            };
            flaw.map_err(|flaw| flaw.within(format!("cells[{at}]")))?;
        }
        match self.cells.is_empty() {
            true => Err(Flaw::new("cells", "there is none")),
            false => Ok(()),
        }
    }
}

impl SuiteCell {
    fn check(&self) -> Result<(), Flaw> {
        // It becomes a path.
        if self.name.is_empty() || self.name.contains('/') || self.name.starts_with('.') {
            let reason = format!("{:?} is no name of a directory", self.name);
            return Err(Flaw::new("name", reason));
        }
        let threads = self.threads.as_deref().map(str::parse::<Threads>);
        let simd = self.simd.as_deref().map(str::parse::<Simd>);
        threads
            .transpose()
            .map_err(|reason| Flaw::new("threads", reason))?;
        simd.transpose()
            .map_err(|reason| Flaw::new("simd", reason))?;
        match &self.summary {
            Some(summary) => summary.check().map_err(|flaw| flaw.within("summary")),
            None if self.state == State::Done => {
                Err(Flaw::new("summary", "it is missing, and the cell is done"))
            }
            None => Ok(()),
        }
    }
}
