//! `suite.json`: the plan of a suite and what its cells have given so far. Its JSON Schema is docs/suite.schema.json.
//!
//! It is there from before the first cell on and is replaced after each, so that a suite can go on after any end.

use serde::{Deserialize, Serialize};

use crate::document::{Document, Flaw, positive};
use crate::fingerprint::Fingerprint;
use crate::plan::Cell;
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
    /// Seconds that measuring a cell may take.
    pub max_time_s: f64,
    /// Of which cells a profile is taken.
    pub profile: Profiling,
}

/// Of which cells a profile is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profiling {
    /// Where the verdict is `slower`
    #[default]
    Laggards,
    /// Of each
    All,
    /// Of none
    None,
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

impl Document for Suite {
    const SCHEMA: &'static str = SCHEMA;

    fn check(&self) -> Result<(), Flaw> {
        positive("measuring.max_time_s", self.measuring.max_time_s)?;
        for (at, cell) in self.cells.iter().enumerate() {
            let field = |name: &str| format!("cells[{at}].{name}");
            // It becomes a path.
            if cell.name.contains('/') || cell.name.starts_with('.') || cell.name.is_empty() {
                return Err(Flaw {
                    field: field("name"),
                    reason: format!("{:?} is no name of a directory", cell.name),
                });
            }
            match &cell.summary {
                Some(summary) => summary
                    .check()
                    .map_err(|flaw| flaw.within(field("summary")))?,
                None if cell.state == State::Done => {
                    return Err(Flaw {
                        field: field("summary"),
                        reason: "it is missing, and the cell is done".to_owned(),
                    });
                }
                None => {}
            }
        }
        Ok(())
    }
}
