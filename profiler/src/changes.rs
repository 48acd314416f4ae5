//! What changed from one run to the next, or from one suite to the next.
//!
//! In: two directories. Out: for each cell of both, how the time of each backend and the ratio changed, with interval and judgement
//! ([`crate::judge`]). The baseline's code is the same on both sides, so how its time changed is what the machine did: the control.

mod flame;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::compare::median;
use crate::document::{self, DocumentError};
use crate::environment::Environment;
use crate::fingerprint::{Difference, Fingerprint, list};
use crate::judge::{BETWEEN_RUNS, Estimate, Judgement, disturbed};
use crate::run_dir::RunDirError;
use crate::suite::{self, State, Suite};
use crate::summary::{BackendSummary, Summary};
pub use flame::write;
pub use table::table;

/// Name and number of the schema of what `--json` prints. Fields are only added within a number.
pub const SCHEMA: &str = "raptors-prof/changes/1";

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// A file is of no use.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The directory is of another kind.
    #[error("{} has neither suite.json nor summary.json: it is the directory of no run and no suite", .path.display())]
    Neither {
        /// The directory.
        path: PathBuf,
    },
    /// They have no cell in common.
    #[error("no cell was measured in both: OLD has {}, NEW has {}", names(.old), names(.new))]
    NothingInCommon {
        /// The cells of OLD.
        old: Vec<String>,
        /// The cells of NEW.
        new: Vec<String>,
    },
    /// A change would say nothing of the code.
    #[error("OLD and NEW were not measured alike ({}); --allow-different-machine compares them all the same", list(.differences))]
    Different {
        /// In what.
        differences: Vec<Difference>,
    },
    /// The result can't be written.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
}

fn names(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        [first] => first.clone(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    }
}

/// One side: cells that were measured, by name, each with its run directory.
pub struct Side {
    cells: BTreeMap<String, (Summary, PathBuf)>,
}

impl Side {
    /// Reads the run or the suite in `path`.
    ///
    /// # Errors
    /// [`ChangesError`] when it holds neither, or what it holds is spoilt.
    pub fn read(path: &Path) -> Result<Side, ChangesError> {
        let (suite, run) = (path.join(suite::NAME), path.join("summary.json"));
        let cells = match (suite.exists(), run.exists()) {
            (true, _) => of_suite(document::load(&suite)?, path),
            (false, true) => {
                let summary: Summary = document::load(&run)?;
                let name = suite::name(&summary.cell, None, None);
                BTreeMap::from([(name, (summary, path.to_owned()))])
            }
            (false, false) => {
                let path = path.to_owned();
                return Err(ChangesError::Neither { path });
            }
        };
        Ok(Side { cells })
    }

    fn names(&self) -> Vec<String> {
        self.cells.keys().cloned().collect()
    }

    fn names_without(&self, other: &Side) -> Vec<String> {
        let names = self.names().into_iter();
        names
            .filter(|name| !other.cells.contains_key(name))
            .collect()
    }
}

fn of_suite(suite: Suite, path: &Path) -> BTreeMap<String, (Summary, PathBuf)> {
    let done = suite.cells.into_iter();
    done.filter(|cell| cell.state == State::Done)
        .filter_map(|cell| {
            let run = path.join(&cell.name);
            Some((cell.name, (cell.summary?, run)))
        })
        .collect()
}

/// What changed.
#[derive(Debug, Serialize)]
pub struct Changes {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The directory of the old run or suite.
    pub old: PathBuf,
    /// That of the new one.
    pub new: PathBuf,
    /// What was not the same in machine, libraries or settings.
    pub differences: Vec<Difference>,
    /// What the baseline did, whose code is the same; None where it was not timed on both sides.
    pub control: Option<Control>,
    /// The cells of both, by name.
    pub cells: Vec<CellChange>,
    /// Cells that only the old side measured.
    pub only_old: Vec<String>,
    /// Cells that only the new side measured.
    pub only_new: Vec<String>,
}

/// How the baseline's times changed over all cells: new / old.
#[derive(Debug, PartialEq, Serialize)]
pub struct Control {
    /// Which backend it is.
    pub backend: String,
    /// The median cell's change.
    pub median: f64,
    /// The smallest and the largest.
    pub range: [f64; 2],
    /// Cells in which the whole interval of the change is beyond the cell's margin.
    pub moved: usize,
    /// Whether its version is the same: if not, it is no control.
    pub same_version: bool,
}

/// What changed in one cell.
#[derive(Debug, Serialize)]
pub struct CellChange {
    /// The cell.
    pub name: String,
    /// Time per call, new / old, by backend.
    pub times: BTreeMap<String, Estimate>,
    /// The ratios: old and new.
    pub ratios: Option<[f64; 2]>,
    /// Ratio, new / old; None where either side has none.
    pub ratio: Option<Estimate>,
    /// Changes up to this count as none.
    pub margin: f64,
    /// Whether other processes disturbed either run so much that nothing can be concluded.
    pub disturbed: bool,
    /// What became of the ratio.
    pub judgement: Judgement,
    /// The differential flame graph of the candidate, where one was written.
    pub flame_graph: Option<String>,
}

impl Changes {
    /// Compares two sides, which came from these directories.
    ///
    /// # Errors
    /// [`ChangesError::NothingInCommon`]; [`ChangesError::Different`] unless `allowed`.
    pub fn find(
        (old_path, old): (&Path, &Side),
        (new_path, new): (&Path, &Side),
        allowed: bool,
    ) -> Result<Changes, ChangesError> {
        let mut cells = Vec::new();
        let mut differences: Vec<Difference> = Vec::new();
        for (name, (before, _)) in &old.cells {
            let Some((after, _)) = new.cells.get(name) else {
                continue;
            };
            for difference in different(&before.environment, &after.environment) {
                if !differences.contains(&difference) {
                    differences.push(difference);
                }
            }
            cells.push(CellChange::find(name, before, after));
        }
        if cells.is_empty() {
            return Err(ChangesError::NothingInCommon {
                old: old.names(),
                new: new.names(),
            });
        }
        if !differences.is_empty() && !allowed {
            return Err(ChangesError::Different { differences });
        }
        let same_version = differences
            .iter()
            .all(|difference| difference.what != "NumPy");
        Ok(Changes {
            schema: SCHEMA,
            old: old_path.to_owned(),
            new: new_path.to_owned(),
            control: Control::find(&cells, same_version),
            differences,
            cells,
            only_old: old.names_without(new),
            only_new: new.names_without(old),
        })
    }

    /// Whether any ratio got worse.
    pub fn any_worse(&self) -> bool {
        self.cells
            .iter()
            .any(|cell| cell.judgement == Judgement::Worse)
    }
}

/// What was not the same in two runs of a cell.
fn different(old: &Environment, new: &Environment) -> Vec<Difference> {
    let mut differences = Fingerprint::from(old).differences(&Fingerprint::from(new));
    let threads = (old.threads.used.as_ref(), new.threads.used.as_ref());
    let simd = (old.simd.used.as_ref(), new.simd.used.as_ref());
    differences.extend(Difference::find("threads", threads.0, threads.1));
    differences.extend(Difference::find("SIMD", simd.0, simd.1));
    differences
}

impl CellChange {
    fn find(name: &str, old: &Summary, new: &Summary) -> CellChange {
        let times = old.backends.iter().filter_map(|(backend, before)| {
            let after = time(new.backends.get(backend)?)?;
            Some((backend.clone(), after.by(time(before)?)))
        });
        let comparisons = old.comparison.as_ref().zip(new.comparison.as_ref());
        let margins = comparisons.map_or(0.0, |(old, new)| old.margin.max(new.margin));
        let margin = margins.max(BETWEEN_RUNS);
        let ratio = comparisons.map(|(old, new)| {
            let [old, new] = [old, new].map(|comparison| Estimate {
                value: comparison.ratio,
                ci95: comparison.ci95,
            });
            new.by(old)
        });
        let disturbed = [old, new].iter().any(|run| disturbed(run.timings()));
        let judged = ratio.and_then(|ratio| ratio.ci95).filter(|_| !disturbed);
        CellChange {
            name: name.to_owned(),
            times: times.collect(),
            ratios: comparisons.map(|(old, new)| [old.ratio, new.ratio]),
            ratio,
            margin,
            disturbed,
            judgement: Judgement::of_change(judged, margin),
            flame_graph: None,
        }
    }
}

fn time(backend: &BackendSummary) -> Option<Estimate> {
    let timing = backend.timing.as_ref()?;
    Some(Estimate {
        value: timing.median_ns,
        ci95: timing.ci95_ns,
    })
}

impl Control {
    /// The baseline is the first backend by name: `numpy` before `raptors`, `baseline` before `candidate`.
    fn find(cells: &[CellChange], same_version: bool) -> Option<Control> {
        let cells: Vec<_> = cells.iter().filter(|cell| cell.times.len() == 2).collect();
        let backend = cells.first()?.times.keys().next()?.clone();
        let control = |cell: &&CellChange| Some((*cell.times.get(&backend)?, cell.margin));
        let changes: Vec<(Estimate, f64)> = cells.iter().filter_map(control).collect();
        let values: Vec<f64> = changes.iter().map(|(change, _)| change.value).collect();
        let moved = |(change, margin): &&(Estimate, f64)| {
            let judged = Judgement::of_change(change.ci95, *margin);
            matches!(judged, Judgement::Better | Judgement::Worse)
        };
        Some(Control {
            median: median(&values)?,
            range: [
                values.iter().copied().fold(f64::INFINITY, f64::min),
                values.iter().copied().fold(0.0, f64::max),
            ],
            moved: changes.iter().filter(moved).count(),
            same_version,
            backend,
        })
    }
}
