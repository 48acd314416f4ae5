//! What a report shows of a suite: the matrix, the laggards, and each cell's own run.

use std::cmp::Ordering;
use std::path::Path;

use super::repeat;
use super::run::{RunView, word};
use crate::compare::{Comparison, Verdict};
use crate::document::{self, DocumentError};
use crate::plan::Shape;
use crate::suite::{State, Suite, SuiteCell};
use crate::summary::Summary;
use crate::table;

/// A suite.
pub(super) struct SuiteView {
    pub(super) title: String,
    /// How many cells are of each verdict.
    pub(super) tally: String,
    pub(super) command: String,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<HeatRow>,
    pub(super) scale: Vec<ScaleStep>,
    /// Of `runs`, those that are slower, the slowest first.
    pub(super) laggards: Vec<usize>,
    /// By ratio, the slowest first; what has none comes last.
    pub(super) runs: Vec<CellView>,
    /// Names and values.
    pub(super) facts: Vec<(&'static str, String)>,
}

/// A row of the matrix.
pub(super) struct HeatRow {
    pub(super) name: String,
    /// One a column; of `runs`.
    pub(super) cells: Vec<Vec<usize>>,
}

/// A colour and what it stands for.
pub(super) struct ScaleStep {
    pub(super) level: i32,
    pub(super) label: &'static str,
}

/// A cell of the matrix, and its run.
pub(super) struct CellView {
    pub(super) name: String,
    /// Step of the scale, -4 to 4.
    pub(super) level: Option<i32>,
    pub(super) ratio: String,
    pub(super) interval: String,
    /// A verdict, or how far the cell is.
    pub(super) word: &'static str,
    /// The verdict as a sign beside the ratio.
    pub(super) sign: &'static str,
    pub(super) error: Option<String>,
    pub(super) messages: Vec<String>,
    pub(super) run: Option<RunView>,
}

/// Ratios at which the colour changes, from 1 on; below 1 their inverses.
const STEPS: [f64; 4] = [1.02, 1.1, 1.5, 3.0];

const SCALE: [ScaleStep; 9] = [
    ScaleStep {
        level: -4,
        label: "≤ 0.33",
    },
    ScaleStep {
        level: -3,
        label: "≤ 0.67",
    },
    ScaleStep {
        level: -2,
        label: "≤ 0.91",
    },
    ScaleStep {
        level: -1,
        label: "≤ 0.98",
    },
    ScaleStep {
        level: 0,
        label: "1",
    },
    ScaleStep {
        level: 1,
        label: "≥ 1.02",
    },
    ScaleStep {
        level: 2,
        label: "≥ 1.1",
    },
    ScaleStep {
        level: 3,
        label: "≥ 1.5",
    },
    ScaleStep {
        level: 4,
        label: "≥ 3",
    },
];

impl SuiteView {
    /// Of the suite in `directory`, with the runs in it.
    ///
    /// # Errors
    /// [`DocumentError`] when a run is spoilt.
    pub(super) fn new(
        suite: &Suite,
        directory: &Path,
        nonce: &str,
    ) -> Result<SuiteView, DocumentError> {
        let mut cells: Vec<&SuiteCell> = suite.cells.iter().collect();
        cells.sort_by(|a, b| by_ratio(a, b));
        let mut runs = Vec::with_capacity(cells.len());
        for &cell in &cells {
            runs.push(CellView::new(cell, directory, nonce)?);
        }
        let (columns, rows) = matrix(&cells);
        let laggards = (0..runs.len()).filter(|&at| runs[at].word == word(Verdict::Slower));
        Ok(SuiteView {
            title: format!("Suite {}", suite.name),
            tally: tally(&runs),
            command: repeat::of_suite(suite),
            columns,
            rows,
            scale: SCALE.into(),
            laggards: laggards.collect(),
            runs,
            facts: facts(suite),
        })
    }
}

fn comparison(cell: &SuiteCell) -> Option<&Comparison> {
    cell.summary.as_ref()?.comparison.as_ref()
}

fn by_ratio(a: &SuiteCell, b: &SuiteCell) -> Ordering {
    let ratio = |cell| comparison(cell).map(|comparison| comparison.ratio);
    match (ratio(a), ratio(b)) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (one, other) => other.is_some().cmp(&one.is_some()),
    }
    .then_with(|| a.name.cmp(&b.name))
}

impl CellView {
    fn new(cell: &SuiteCell, directory: &Path, nonce: &str) -> Result<CellView, DocumentError> {
        let comparison = comparison(cell);
        Ok(CellView {
            name: name(cell),
            level: comparison.map(|comparison| level(comparison.ratio)),
            ratio: comparison.map_or(String::new(), |comparison| {
                format!("{:.2}", comparison.ratio)
            }),
            interval: table::interval(comparison.and_then(|comparison| comparison.ci95)),
            word: match (comparison, cell.state) {
                (Some(comparison), _) => word(comparison.verdict),
                (None, State::Pending) => "pending",
                (None, State::Failed) => "failed",
                (None, State::Done) => "not compared",
            },
            sign: comparison.map_or("", |comparison| sign(comparison.verdict)),
            error: cell.error.clone(),
            messages: cell.messages.clone(),
            run: run(cell, directory, nonce)?,
        })
    }
}

/// The run of a cell, with its raw samples where its directory is there.
fn run(cell: &SuiteCell, directory: &Path, nonce: &str) -> Result<Option<RunView>, DocumentError> {
    let Some(summary) = &cell.summary else {
        return Ok(None);
    };
    let own = directory.join(&cell.name);
    let path = own.join("summary.json");
    if path.exists() {
        let whole: Summary = document::load(&path)?;
        return RunView::new(&whole, &own, nonce).map(Some);
    }
    let mut view = RunView::new(summary, &own, nonce)?;
    let lack = format!("no raw samples: {} is not there", path.display());
    view.lacks.insert(0, lack);
    Ok(Some(view))
}

/// What tells a cell from the others of its suite.
fn name(cell: &SuiteCell) -> String {
    let rest = rest_of_name(cell);
    match rest.is_empty() {
        true => cell.cell.to_string(),
        false => format!("{}, {rest}", cell.cell),
    }
}

fn rest_of_name(cell: &SuiteCell) -> String {
    let threads = cell
        .threads
        .as_ref()
        .map(|threads| format!("threads {threads}"));
    let simd = cell.simd.as_ref().map(|simd| format!("SIMD {simd}"));
    let rest: Vec<String> = threads.into_iter().chain(simd).collect();
    rest.join(", ")
}

/// A row for all cells that differ in their shape alone.
fn row_name(cell: &SuiteCell) -> String {
    let mut without_shape = cell.cell.clone();
    without_shape.shape = None;
    let rest = rest_of_name(cell);
    match rest.is_empty() {
        true => without_shape.to_string(),
        false => format!("{without_shape}, {rest}"),
    }
}

/// Names of the columns, and the rows.
fn matrix(cells: &[&SuiteCell]) -> (Vec<String>, Vec<HeatRow>) {
    let mut shapes: Vec<Option<&Shape>> =
        cells.iter().map(|cell| cell.cell.shape.as_ref()).collect();
    shapes.sort_by_key(|shape| shape.map(|shape| (shape.elements(), shape.to_string())));
    shapes.dedup();
    let mut names: Vec<String> = cells.iter().map(|cell| row_name(cell)).collect();
    names.sort();
    names.dedup();
    let rows = names.into_iter().map(|name| {
        let at = |shape: &Option<&Shape>| {
            let here = |at: &usize| {
                let cell = cells[*at];
                cell.cell.shape.as_ref() == *shape && row_name(cell) == name
            };
            (0..cells.len()).filter(here).collect()
        };
        HeatRow {
            cells: shapes.iter().map(at).collect(),
            name,
        }
    });
    let rows = rows.collect();
    let columns = shapes.iter().map(|shape| match shape {
        Some(shape) => shape.to_string(),
        None => "no shape".to_owned(),
    });
    (columns.collect(), rows)
}

/// A step of the scale: as many steps from 1 for a ratio as for its inverse.
fn level(ratio: f64) -> i32 {
    let factor = ratio.max(1.0 / ratio);
    let steps = STEPS.iter().filter(|step| factor >= **step).count() as i32;
    if ratio < 1.0 { -steps } else { steps }
}

fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Faster => "▲",
        Verdict::Same => "=",
        Verdict::Slower => "▼",
        Verdict::Inconclusive => "?",
    }
}

/// `36 cells: 20 faster, 8 slower`.
fn tally(runs: &[CellView]) -> String {
    const WORDS: [&str; 7] = [
        "faster",
        "same",
        "slower",
        "inconclusive",
        "not compared",
        "failed",
        "pending",
    ];
    let count = |word: &&str| {
        let count = runs.iter().filter(|run| run.word == *word).count();
        (count > 0).then(|| format!("{count} {word}"))
    };
    let counts: Vec<String> = WORDS.iter().filter_map(count).collect();
    let cells = if runs.len() == 1 { "cell" } else { "cells" };
    format!("{} {cells}: {}", runs.len(), counts.join(", "))
}

fn facts(suite: &Suite) -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let mut facts = Vec::new();
    if let Some(fingerprint) = &suite.fingerprint {
        let cores = fingerprint.cores.map(|cores| cores.to_string());
        facts.extend([
            ("CPU", fingerprint.cpu.clone().unwrap_or_else(unknown)),
            ("Cores", cores.unwrap_or_else(unknown)),
            ("Container", fingerprint.container.clone()),
            ("NumPy", fingerprint.numpy.clone().unwrap_or_else(unknown)),
        ]);
    }
    let measuring = &suite.measuring;
    facts.extend([
        ("Python", measuring.python.clone()),
        ("Order of the cells", format!("seed {}", suite.seed)),
        (
            "Time for a cell",
            format!("at most {} s", measuring.max_time_s),
        ),
        ("Began", suite.created.clone()),
        ("raptors-prof", suite.tool_version.clone()),
    ]);
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_and_its_inverse_have_opposite_colours() {
        for (ratio, expected) in [
            (1.0, 0),
            (1.019, 0),
            (1.05, 1),
            (1.3, 2),
            (2.0, 3),
            (30.0, 4),
        ] {
            assert_eq!((level(ratio), level(1.0 / ratio)), (expected, -expected));
        }
    }
}
