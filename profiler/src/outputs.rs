//! The files of one profile: what `convert` reads, flame graph, folded stacks, and what `--format` asks for.

use std::collections::BTreeMap;
use std::path::Path;

use crate::flamegraph::WriteError;
use crate::formats::{self, Format};
use crate::profile::Profile;
use crate::run_dir::{RunDir, RunDirError};
use crate::stored::{self, Stored};

/// So many frames are in a summary; the profile itself has all.
pub const TOP: usize = 20;

/// Writes `NAME.samples.json.gz`, `NAME.svg`, `NAME.folded` and those of `wanted`; gives their names by kind. Without samples there is
/// nothing to write.
///
/// # Errors
/// [`RunDirError::Write`].
pub fn write_profile(
    run_dir: &RunDir,
    name: &str,
    title: &str,
    profile: &Profile,
    wanted: &[Format],
) -> Result<BTreeMap<String, String>, RunDirError> {
    // What shows nothing but the scheduler's own frames has no stack.
    if profile.stacks.total() == 0 {
        return Ok(BTreeMap::new());
    }
    let mut outputs = BTreeMap::new();
    let file = format!("{name}.{}", stored::SUFFIX);
    draw(run_dir, &file, |path| {
        Stored::new(title, profile).write(path)
    })?;
    outputs.insert(stored::KEY.to_owned(), file);
    for &format in [Format::Svg, Format::Folded].iter().chain(wanted) {
        let file = format!("{name}.{}", format.suffix());
        if outputs
            .insert(format.key().to_owned(), file.clone())
            .is_none()
        {
            draw(run_dir, &file, |path| {
                formats::write(format, profile, title, path)
            })?;
        }
    }
    Ok(outputs)
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
