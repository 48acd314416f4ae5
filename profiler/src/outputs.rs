//! The files of one profile: flame graph and folded stacks.

use std::collections::BTreeMap;
use std::path::Path;

use crate::flamegraph::{self, WriteError};
use crate::profile::Profile;
use crate::run_dir::{RunDir, RunDirError};

/// So many frames are in a summary; the profile itself has all.
pub const TOP: usize = 20;

/// Writes `NAME.svg` and `NAME.folded`; gives their names by kind. Without samples there is nothing to write.
///
/// # Errors
/// [`RunDirError::Write`].
pub fn write_profile(
    run_dir: &RunDir,
    name: &str,
    title: &str,
    profile: &Profile,
) -> Result<BTreeMap<String, String>, RunDirError> {
    if profile.sampling.samples == 0 {
        return Ok(BTreeMap::new());
    }
    let (svg, folded) = (format!("{name}.svg"), format!("{name}.folded"));
    run_dir.write(&folded, &profile.folded())?;
    draw(run_dir, &svg, |path| {
        flamegraph::write(profile, title, path)
    })?;
    Ok(BTreeMap::from([
        ("flamegraph".to_owned(), svg),
        ("folded".to_owned(), folded),
    ]))
}

/// Has a graph drawn to a file of the run.
///
/// # Errors
/// [`RunDirError::Write`].
pub fn draw(
    run_dir: &RunDir,
    name: &str,
    draw: impl FnOnce(&Path) -> Result<(), WriteError>,
) -> Result<(), RunDirError> {
    let path = run_dir.file(name);
    draw(&path).map_err(|error| RunDirError::Write {
        path,
        reason: error.to_string(),
    })
}
