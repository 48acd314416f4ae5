//! A suite for people: its cells sorted by ratio, the laggards on top.

use std::path::Path;

use super::file::{State, Suite, SuiteCell};
use crate::table::{interval, percent, time};

/// The table of the suite in `directory`.
pub fn table(suite: &Suite, directory: &Path) -> String {
    let mut lines = Vec::new();
    let mut done: Vec<(&SuiteCell, f64)> = suite
        .cells
        .iter()
        .filter_map(|cell| Some((cell, cell.comparison()?.ratio)))
        .collect();
    done.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    if let Some((first, _)) = done.first() {
        lines.push(header(first, width(suite)));
    }
    lines.extend(done.iter().map(|(cell, _)| row(cell, width(suite))));
    let failed = suite.in_state(State::Failed);
    lines.extend(failed.map(|cell| format!("{} failed: {}", cell.name, first_line(cell))));
    match suite.in_state(State::Pending).count() {
        0 => {}
        pending => lines.push(format!(
            "{pending} of {} cells are not measured yet: raptors-prof suite --resume {} goes on",
            suite.cells.len(),
            directory.display()
        )),
    }
    lines.push(format!("seed {}", suite.seed));
    lines.push(format!("result: {}", directory.display()));
    lines.join("\n") + "\n"
}

/// What came of one cell.
pub fn line(cell: &SuiteCell) -> String {
    match (cell.state, cell.comparison()) {
        (State::Failed, _) => format!("{} failed: {}", cell.name, first_line(cell)),
        (_, Some(comparison)) => format!(
            "{}: ratio {:.3}, {}",
            cell.name,
            comparison.ratio,
            comparison.verdict.name()
        ),
        (_, None) => format!("{}: nothing to compare", cell.name),
    }
}

fn first_line(cell: &SuiteCell) -> &str {
    let error = cell.error.as_deref().unwrap_or_default();
    error.lines().next().unwrap_or_default()
}

fn width(suite: &Suite) -> usize {
    let names = suite.cells.iter().map(|cell| cell.name.len());
    names.max().unwrap_or_default()
}

fn header(first: &SuiteCell, width: usize) -> String {
    let mut names = first
        .summary
        .iter()
        .flat_map(|summary| summary.backends.keys());
    let (baseline, candidate) = (names.next(), names.next());
    format!(
        "{:<width$}  {:>7}  {:<16}  {:>6}  {:<12}  {:>10}  {:>10}",
        "cell",
        "ratio",
        "95 % interval",
        "noise",
        "verdict",
        baseline.map_or("", String::as_str),
        candidate.map_or("", String::as_str),
    )
}

fn row(cell: &SuiteCell, width: usize) -> String {
    let (Some(summary), Some(comparison)) = (&cell.summary, cell.comparison()) else {
        return cell.name.clone();
    };
    let mut times = summary.backends.values().map(|backend| {
        let timing = backend.timing.as_ref();
        timing.map_or(String::new(), |timing| time(timing.median_ns))
    });
    format!(
        "{:<width$}  {:>7.3}  {:<16}  {:>6}  {:<12}  {:>10}  {:>10}",
        cell.name,
        comparison.ratio,
        interval(comparison.ci95),
        comparison.noise_floor.map_or("-".to_owned(), percent),
        comparison.verdict.name(),
        times.next().unwrap_or_default(),
        times.next().unwrap_or_default(),
    )
}
