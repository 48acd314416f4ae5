//! What changed, for people: the cells that got worse on top.

use std::collections::BTreeMap;
use std::path::Path;

use super::{CellChange, Changes, Control};
use crate::fingerprint::list;
use crate::judge::{BETWEEN_RUNS, Estimate};
use crate::table::percent;

/// The table of `changes`, of which more is in `out` where something was written.
pub fn table(changes: &Changes, out: Option<&Path>) -> String {
    let mut cells: Vec<&CellChange> = changes.cells.iter().collect();
    let change = |cell: &CellChange| cell.ratio.map_or(f64::INFINITY, |ratio| ratio.value);
    cells.sort_by(|one, other| change(one).total_cmp(&change(other)));
    let width = cells.iter().map(|cell| cell.name.len()).max().unwrap_or(4);
    let mut lines = vec![header(width)];
    lines.extend(cells.iter().map(|cell| row(cell, width)));
    lines.push(String::new());
    if !changes.differences.is_empty() {
        lines.push(format!(
            "not measured alike: {}",
            list(&changes.differences)
        ));
    }
    let disturbed = changes.cells.iter().filter(|cell| cell.disturbed).count();
    if disturbed > 0 {
        lines.push(format!(
            "{disturbed} of {} cells were disturbed by other processes: nothing is concluded of them",
            changes.cells.len()
        ));
    }
    lines.extend(
        changes
            .control
            .iter()
            .map(|control| told(control, changes.cells.len())),
    );
    for (side, names) in [("OLD", &changes.only_old), ("NEW", &changes.only_new)] {
        if !names.is_empty() {
            lines.push(format!("only in {side}: {}", names.join(", ")));
        }
    }
    let drawn = changes
        .cells
        .iter()
        .filter(|cell| cell.flame_graph.is_some());
    if let Some(out) = out {
        let count = drawn.count();
        lines.push(format!(
            "{count} differential flame graphs: {}",
            out.display()
        ));
    }
    lines.join("\n") + "\n"
}

fn header(width: usize) -> String {
    format!(
        "{:<width$}  {:<16}  {:>8}  {:<18}  {:<12}  time, by backend",
        "cell", "ratio", "change", "95 % interval", "verdict"
    )
}

fn row(cell: &CellChange, width: usize) -> String {
    let ratios = cell
        .ratios
        .map_or("-".to_owned(), |[old, new]| format!("{old:.3} -> {new:.3}"));
    let change = cell
        .ratio
        .map_or("-".to_owned(), |ratio| signed(ratio.value));
    let interval = cell
        .ratio
        .and_then(|ratio| interval(&ratio))
        .unwrap_or("-".to_owned());
    format!(
        "{:<width$}  {ratios:<16}  {change:>8}  {interval:<18}  {:<12}  {}",
        cell.name,
        match cell.disturbed {
            true => "disturbed",
            false => cell.judgement.name(),
        },
        times(&cell.times)
    )
}

fn times(times: &BTreeMap<String, Estimate>) -> String {
    let told = times.iter().map(|(backend, change)| {
        let interval = interval(change).map_or(String::new(), |interval| format!(" ({interval})"));
        format!("{backend} {}{interval}", signed(change.value))
    });
    told.collect::<Vec<_>>().join(", ")
}

fn interval(change: &Estimate) -> Option<String> {
    let [lo, hi] = change.ci95?.map(signed);
    Some(format!("{lo} to {hi}"))
}

/// By how much something grew.
fn signed(factor: f64) -> String {
    format!("{:+.1} %", (factor - 1.0) * 100.0)
}

/// What the control says.
fn told(control: &Control, cells: usize) -> String {
    let Control {
        backend,
        median,
        range: [least, most],
        moved,
        same_version,
    } = control;
    let meaning = if !same_version {
        "its version changed too, so it says nothing of the machine"
    } else if (median.ln()).abs() > BETWEEN_RUNS.ln_1p() {
        "that is the machine: go by the ratios, not by the times"
    } else if *moved > 0 {
        "where it moved, that is the machine: go by the ratios there"
    } else {
        "the machine was as fast"
    };
    format!(
        "control: the time of {backend} itself changed by {} in the median cell ({} to {}), beyond {} in {moved} of {cells}; {meaning}",
        signed(*median),
        signed(*least),
        signed(*most),
        percent(BETWEEN_RUNS),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_says_what_the_machine_did() {
        let told = |median: f64, moved, same_version| {
            let control = Control {
                backend: "numpy".to_owned(),
                median,
                range: [0.99, 1.3],
                moved,
                same_version,
            };
            super::told(&control, 3)
        };
        assert_eq!(
            told(1.2, 3, true),
            "control: the time of numpy itself changed by +20.0 % in the median cell (-1.0 % to +30.0 %), beyond 8.0 % in 3 of 3; \
             that is the machine: go by the ratios, not by the times"
        );
        assert!(told(1.0, 1, true).ends_with("go by the ratios there"));
        assert!(told(1.0, 0, true).ends_with("the machine was as fast"));
        assert!(told(1.2, 3, false).contains("says nothing of the machine"));
    }
}
