//! Whether ratios are what they should be: at least those of a baseline file, or, without one, a number.
//!
//! In: a suite that was measured for it. Out: each cell's bound and standing ([`crate::judge`]). There is no second try: what is
//! inconclusive is said to be.
//!
//! - **Bound by a baseline**: the lower end of its interval, less a tolerance: the largest of [`BETWEEN_RUNS`], the noise floor of
//!   the baseline and the margin of this run, so that two runs of the same code do not differ by it.
//! - **Bound by a number** (`--min-ratio`): the number, less the margin of this run, which counts as no difference in a verdict too.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::baseline::{Baseline, BaselineCell};
use crate::fingerprint::{Difference, Fingerprint, list};
use crate::judge::{BETWEEN_RUNS, Standing, bound, disturbed};
use crate::suite::{Planned, State, Suite, SuiteCell};
use crate::summary::Summary;
use crate::table::interval;

/// Name and number of the schema of what `--json` prints. Fields are only added within a number.
pub const SCHEMA: &str = "raptors-prof/validation/1";

/// What ratios are held against.
pub enum Standard {
    /// What was found before, in this file.
    Baseline(PathBuf, Baseline),
    /// A number.
    MinRatio(f64),
}

/// Why ratios can't be held against a baseline.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// It does not have the cells.
    #[error("{} has no cell {}; it has: {}", .path.display(), .absent.join(", "), .known.join(", "))]
    Absent {
        /// The baseline.
        path: PathBuf,
        /// The cells that are asked for.
        absent: Vec<String>,
        /// The cells that it has.
        known: Vec<String>,
    },
    /// It is from elsewhere.
    #[error("{} was measured elsewhere ({}); --allow-different-machine judges by it all the same", .path.display(), list(.differences))]
    Elsewhere {
        /// The baseline.
        path: PathBuf,
        /// How the places differ.
        differences: Vec<Difference>,
    },
}

impl Standard {
    /// Refuses cells that the baseline does not have, before they are measured.
    ///
    /// # Errors
    /// [`ValidateError::Absent`].
    pub fn check_cells(&self, planned: &[Planned]) -> Result<(), ValidateError> {
        let Standard::Baseline(path, baseline) = self else {
            return Ok(());
        };
        let names = planned.iter().map(|planned| &planned.name);
        let absent: Vec<String> = names
            .filter(|&name| !baseline.cells.contains_key(name))
            .cloned()
            .collect();
        if absent.is_empty() {
            return Ok(());
        }
        Err(ValidateError::Absent {
            path: path.clone(),
            absent,
            known: baseline.cells.keys().cloned().collect(),
        })
    }

    /// How the place of the baseline differs from `here`.
    ///
    /// # Errors
    /// [`ValidateError::Elsewhere`] unless that is `allowed`.
    pub fn check_place(
        &self,
        here: &Fingerprint,
        allowed: bool,
    ) -> Result<Vec<Difference>, ValidateError> {
        let Standard::Baseline(path, baseline) = self else {
            return Ok(Vec::new());
        };
        let differences = baseline.fingerprint.differences(here);
        if differences.is_empty() || allowed {
            return Ok(differences);
        }
        let path = path.clone();
        Err(ValidateError::Elsewhere { path, differences })
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Validation {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Directory of the suite that was measured for it.
    pub suite: PathBuf,
    /// The baseline; None where a number was the bound.
    pub baseline: Option<PathBuf>,
    /// The number; None where a baseline was the bound.
    pub min_ratio: Option<f64>,
    /// How the baseline's machine differs from this one.
    pub differences: Vec<Difference>,
    /// The cells, the worst first.
    pub cells: Vec<Validated>,
    /// Cells whose workload failed.
    pub failed: Vec<String>,
    /// Cells that an interruption left unmeasured.
    pub pending: Vec<String>,
}

/// What came of one cell.
#[derive(Debug, PartialEq, Serialize)]
pub struct Validated {
    /// The cell.
    pub name: String,
    /// Baseline's time / candidate's time.
    pub ratio: f64,
    /// 95 % interval on `ratio`.
    pub ci95: Option<[f64; 2]>,
    /// What the ratio should be at least.
    pub bound: f64,
    /// Whether other processes disturbed the run so much that nothing can be concluded.
    pub disturbed: bool,
    /// Whether it is.
    pub standing: Standing,
    /// How the candidate's settings differ from those of the baseline.
    pub differences: Vec<Difference>,
}

impl Validation {
    /// Holds `suite`, which is in `directory`, against `standard`, whose place has these `differences`.
    pub fn of(
        suite: &Suite,
        directory: &Path,
        standard: &Standard,
        differences: Vec<Difference>,
    ) -> Validation {
        let done = suite.in_state(State::Done);
        let mut cells: Vec<Validated> = done.filter_map(|cell| standard.judge(cell)).collect();
        cells.sort_by(|one, other| {
            let distance = |cell: &Validated| cell.ratio / cell.bound;
            let standings = one.standing.cmp(&other.standing);
            standings.then(distance(one).total_cmp(&distance(other)))
        });
        let names = |state| {
            suite
                .in_state(state)
                .map(|cell| cell.name.clone())
                .collect()
        };
        let (baseline, min_ratio) = match standard {
            Standard::Baseline(path, _) => (Some(path.clone()), None),
            Standard::MinRatio(ratio) => (None, Some(*ratio)),
        };
        Validation {
            schema: SCHEMA,
            suite: directory.to_owned(),
            baseline,
            min_ratio,
            differences,
            cells,
            failed: names(State::Failed),
            pending: names(State::Pending),
        }
    }

    /// Whether any cell has this standing.
    pub fn any(&self, standing: Standing) -> bool {
        self.cells.iter().any(|cell| cell.standing == standing)
    }

    /// The result for people.
    pub fn table(&self) -> String {
        let names = self.cells.iter().map(|cell| cell.name.len());
        let width = names.max().unwrap_or(0);
        let mut lines = vec![format!(
            "{:<width$}  {:>7}  {:<16}  {:>7}  judgement",
            "cell", "ratio", "95 % interval", "bound"
        )];
        lines.extend(self.cells.iter().map(|cell| cell.row(width)));
        lines.extend(self.failed.iter().map(|name| format!("{name} failed")));
        lines.extend(
            self.pending
                .iter()
                .map(|name| format!("{name} was not measured")),
        );
        if !self.differences.is_empty() {
            lines.push(format!("measured elsewhere: {}", list(&self.differences)));
        }
        let count = |standing| {
            self.cells
                .iter()
                .filter(|cell| cell.standing == standing)
                .count()
        };
        lines.push(format!(
            "{} worse, {} inconclusive, {} held; result: {}",
            count(Standing::Worse),
            count(Standing::Inconclusive),
            count(Standing::Held),
            self.suite.display()
        ));
        lines.join("\n") + "\n"
    }
}

impl Validated {
    fn row(&self, width: usize) -> String {
        let differences = match &self.differences[..] {
            [] => String::new(),
            differences => format!(" ({})", list(differences)),
        };
        let disturbed = match self.disturbed {
            true => ", disturbed by other processes",
            false => "",
        };
        format!(
            "{:<width$}  {:>7.3}  {:<16}  {:>7.3}  {}{disturbed}{differences}",
            self.name,
            self.ratio,
            interval(self.ci95),
            self.bound,
            self.standing.name(),
        )
    }
}

impl Standard {
    /// Holds one cell against it; None where there is nothing to hold.
    fn judge(&self, cell: &SuiteCell) -> Option<Validated> {
        let comparison = cell.comparison()?;
        let (wanted, margin, differences) = match self {
            Standard::MinRatio(ratio) => (*ratio, comparison.margin, Vec::new()),
            Standard::Baseline(_, baseline) => {
                let before = baseline.cells.get(&cell.name)?;
                let margin = tolerance(before.noise_floor, comparison.margin);
                (before.ci95[0], margin, settings(before, cell))
            }
        };
        let timings = cell.summary.iter().flat_map(Summary::timings);
        let disturbed = disturbed(timings);
        Some(Validated {
            name: cell.name.clone(),
            ratio: comparison.ratio,
            ci95: comparison.ci95,
            bound: bound(wanted, margin),
            disturbed,
            standing: Standing::in_run(comparison.ci95, disturbed, wanted, margin),
            differences,
        })
    }
}

/// What two runs of the same code may differ by, with this noise floor before and this margin now.
fn tolerance(noise_floor: f64, margin: f64) -> f64 {
    BETWEEN_RUNS.max(noise_floor).max(margin)
}

/// How the candidate was set then and now.
fn settings(before: &BaselineCell, cell: &SuiteCell) -> Vec<Difference> {
    let Some(summary) = &cell.summary else {
        return Vec::new();
    };
    let (threads, simd) = (&summary.environment.threads, &summary.environment.simd);
    let threads = Difference::find("threads", before.threads.as_ref(), threads.used.as_ref());
    let simd = Difference::find("SIMD", before.simd.as_ref(), simd.used.as_ref());
    threads.into_iter().chain(simd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tolerance_leaves_room_for_the_noise_of_both_runs() {
        assert_eq!(tolerance(0.0, 0.01), BETWEEN_RUNS);
        assert_eq!(tolerance(0.25, 0.01), 0.25);
        assert_eq!(tolerance(0.0, 0.6), 0.6);
    }
}
