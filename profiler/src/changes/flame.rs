//! The differential flame graphs of the candidate, old against new, from the folded stacks that both runs left.

use std::path::Path;

use super::{Changes, ChangesError, Side};
use crate::flamegraph;
use crate::outputs;
use crate::run_dir::{RunDir, RunDirError};
use crate::summary::Summary;

impl Side {
    /// The folded stacks of the candidate in a cell; None where it has no profile.
    fn folded(&self, cell: &str) -> Result<Option<String>, RunDirError> {
        let found = self.cells.get(cell);
        let Some((name, run)) = found.and_then(|(summary, run)| Some((folded(summary)?, run)))
        else {
            return Ok(None);
        };
        let path = run.join(name);
        let read = std::fs::read_to_string(&path);
        read.map(Some)
            .map_err(|source| RunDirError::Unreadable { path, source })
    }
}

/// The candidate's: of the two backends, the last by name.
fn folded(summary: &Summary) -> Option<&String> {
    let (_, candidate) = summary.backends.last_key_value()?;
    candidate.outputs.get("folded")
}

/// Writes `changes.json`, and `CELL.svg` for each cell of which both sides have a profile, to a new directory `out`.
///
/// # Errors
/// [`ChangesError`] when the place is taken, or a file can't be read or written.
pub fn write(
    changes: &mut Changes,
    (old, new): (&Side, &Side),
    out: &Path,
) -> Result<(), ChangesError> {
    let directory = RunDir::create(Some(out), "changes")?;
    for cell in &mut changes.cells {
        let (Some(before), Some(after)) = (old.folded(&cell.name)?, new.folded(&cell.name)?) else {
            continue;
        };
        let name = format!("{}.svg", cell.name);
        let title = format!("{}: OLD and NEW", cell.name);
        outputs::draw(&directory, &name, |path| {
            flamegraph::write_diff(("OLD", &before), ("NEW", &after), &title, path)
        })?;
        cell.flame_graph = Some(name);
    }
    directory.write_json("changes.json", changes)?;
    directory.complete()?;
    Ok(())
}
