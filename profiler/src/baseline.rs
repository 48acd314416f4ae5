//! Baselines: the ratios that a suite found, small enough for git, for later runs to be judged against.
//!
//! In: a complete suite. Out: a JSON file with one line a cell, sorted by name, so that a diff shows what changed. Its JSON Schema
//! is docs/baseline.schema.json. Ratios and not times, because they hold on when the machine is busier or its clock is slower.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::to_string as json;

use crate::document::{Document, Flaw, interval, positive};
use crate::fingerprint::Fingerprint;
use crate::run_dir::replace;
use crate::suite::{State, Suite, SuiteCell};

/// Name and number of the schema. Fields are only added within a number.
pub const SCHEMA: &str = "raptors-prof/baseline/1";

/// A baseline.
#[derive(Debug, Serialize, Deserialize)]
pub struct Baseline {
    /// [`SCHEMA`].
    pub schema: String,
    /// When its suite began: UTC, RFC 3339.
    pub created: String,
    /// Version of raptors-prof.
    pub tool_version: String,
    /// Where it was measured.
    pub fingerprint: Fingerprint,
    /// What was found, by the name of the cell.
    pub cells: BTreeMap<String, BaselineCell>,
}

/// What was found in one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineCell {
    /// Baseline's time / candidate's time.
    pub ratio: f64,
    /// 95 % interval on `ratio`.
    pub ci95: [f64; 2],
    /// How far the ratio of one backend to itself strayed from 1.
    pub noise_floor: f64,
    /// Threads of the candidate; None where it does not say.
    pub threads: Option<u32>,
    /// Instruction set of the candidate; None where it does not say.
    pub simd: Option<String>,
}

/// Why there is no baseline.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The suite has gaps.
    #[error(
        "no baseline is written: {missing} of {cells} cells are not measured; suite --resume measures them"
    )]
    Incomplete {
        /// Cells that are not done.
        missing: usize,
        /// All cells.
        cells: usize,
    },
    /// There is nothing to judge against.
    #[error(
        "no baseline is written: {cell} has too few pairs for an interval; a longer --max-time gives more"
    )]
    NoInterval {
        /// The cell.
        cell: String,
    },
    /// The file can't be written.
    #[error("can't write the baseline {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Document for Baseline {
    const SCHEMA: &'static str = SCHEMA;

    fn check(&self) -> Result<(), Flaw> {
        for (name, cell) in &self.cells {
            cell.check()
                .map_err(|flaw| flaw.within(format!("cells.{name}")))?;
        }
        match self.cells.is_empty() {
            true => Err(Flaw::new("cells", "there is none")),
            false => Ok(()),
        }
    }
}

impl BaselineCell {
    fn check(&self) -> Result<(), Flaw> {
        positive("ratio", self.ratio)?;
        interval("ci95", Some(self.ci95))?;
        match self.noise_floor >= 0.0 {
            true => Ok(()),
            false => Err(Flaw::new("noise_floor", "it is below 0")),
        }
    }

    fn of(cell: &SuiteCell) -> Option<BaselineCell> {
        let (comparison, summary) = (cell.comparison()?, cell.summary.as_ref()?);
        Some(BaselineCell {
            ratio: rounded(comparison.ratio),
            ci95: comparison.ci95?.map(rounded),
            noise_floor: rounded(comparison.noise_floor?),
            threads: summary.environment.threads.used,
            simd: summary.environment.simd.used.clone(),
        })
    }
}

/// Five digits tell all that a measurement can.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

impl Baseline {
    /// What `suite` found.
    ///
    /// # Errors
    /// [`BaselineError`] when a cell is not done, or was done in too short a time for an interval.
    pub fn of(suite: &Suite) -> Result<Baseline, BaselineError> {
        let cells = suite.cells.len();
        let missing = cells - suite.in_state(State::Done).count();
        let Some(fingerprint) = suite.fingerprint.clone().filter(|_| missing == 0) else {
            return Err(BaselineError::Incomplete { missing, cells });
        };
        let entries = suite.cells.iter().map(|cell| {
            let found = BaselineCell::of(cell).ok_or_else(|| BaselineError::NoInterval {
                cell: cell.name.clone(),
            })?;
            Ok((cell.name.clone(), found))
        });
        Ok(Baseline {
            schema: SCHEMA.to_owned(),
            created: suite.created.clone(),
            tool_version: suite.tool_version.clone(),
            fingerprint,
            cells: entries.collect::<Result<_, BaselineError>>()?,
        })
    }

    /// Writes it to `path`, in the place of what is there.
    ///
    /// # Errors
    /// [`BaselineError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        let text = self.text().map_err(io::Error::from);
        text.and_then(|text| replace(path, &text))
            .map_err(|source| unwritable(path, source))
    }

    fn text(&self) -> serde_json::Result<String> {
        let line = |(name, cell)| Ok(format!("    {}: {}", json(name)?, json(cell)?));
        let cells: serde_json::Result<Vec<String>> = self.cells.iter().map(line).collect();
        let fields = [
            format!("  \"schema\": {}", json(&self.schema)?),
            format!("  \"created\": {}", json(&self.created)?),
            format!("  \"tool_version\": {}", json(&self.tool_version)?),
            format!("  \"fingerprint\": {}", json(&self.fingerprint)?),
            format!("  \"cells\": {{\n{}\n  }}", cells?.join(",\n")),
        ];
        Ok(format!("{{\n{}\n}}\n", fields.join(",\n")))
    }
}

/// Makes the directory of a baseline, so that a suite does not run for nothing.
///
/// # Errors
/// [`BaselineError::Write`] when nothing can be written there.
pub fn check_place(path: &Path) -> Result<(), BaselineError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let made = std::fs::create_dir_all(parent).and_then(|()| tempfile::tempfile_in(parent));
    made.map_err(|source| unwritable(path, source))?;
    match path.is_dir() {
        true => Err(unwritable(path, io::ErrorKind::IsADirectory.into())),
        false => Ok(()),
    }
}

fn unwritable(path: &Path, source: io::Error) -> BaselineError {
    BaselineError::Write {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;

    #[test]
    fn a_baseline_is_a_line_a_cell_and_is_read_as_it_was_written() {
        let cell = |ratio: f64| BaselineCell {
            ratio: rounded(ratio),
            ci95: [rounded(ratio * 0.99), rounded(ratio * 1.01)],
            noise_floor: 0.004,
            threads: Some(2),
            simd: Some("avx2".to_owned()),
        };
        let baseline = Baseline {
            schema: SCHEMA.to_owned(),
            created: "2026-11-24T15:00:00Z".to_owned(),
            tool_version: "0.1.0".to_owned(),
            fingerprint: Fingerprint {
                cpu: Some("A \"fast\" one".to_owned()),
                cores: Some(2),
                container: "none".to_owned(),
                numpy: Some("2.0".to_owned()),
            },
            cells: BTreeMap::from([
                ("sum-8-int32".to_owned(), cell(1.234_567_89)),
                ("mean-8-int32".to_owned(), cell(0.001_234_567_89)),
            ]),
        };
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("new/here.json");
        check_place(&path).unwrap();
        baseline.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 10);
        let line = r#"    "mean-8-int32": {"ratio":0.0012346,"ci95":[0.0012222,0.0012469],"noise_floor":0.004,"threads":2,"simd":"avx2"},"#;
        assert_eq!(lines[6], line);
        let read: Baseline = document::load(&path).unwrap();
        assert_eq!(read.cells, baseline.cells);
        assert_eq!(read.fingerprint, baseline.fingerprint);
        assert!(check_place(home.path()).is_err() && check_place(&path.join("below")).is_err());
    }
}
