//! The directory of a run: filled under a temporary name beside its place, then renamed. What has its name is complete.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::scratch::{self, Scratch};
use serde::Serialize;

/// Where runs go by default.
const RUNS: &str = "results/runs";

/// Results are for others to read too.
const FOR_ALL: u32 = 0o777;

/// Why a run can't be written.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// There is something already.
    #[error("--out {} exists and isn't an empty directory; a run never overwrites: choose another", .path.display())]
    Taken {
        /// The path.
        path: PathBuf,
    },
    /// The place can't be written to.
    #[error("can't write a run to {}: {source}; --out chooses another place", .path.display())]
    Unwritable {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of a run that is complete can't be read.
    #[error("can't read {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Writing failed half-way (a full disk, for one); nothing is left behind.
    #[error("can't write {}: {reason}; the run is not kept", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// A run directory under its temporary name. Dropping it removes what was written.
pub struct RunDir {
    temporary: Scratch,
    place: Place,
}

enum Place {
    /// A name that we chose: it gives way to one that is taken.
    Ours(PathBuf),
    /// A name that the user chose.
    Named(PathBuf),
    /// An empty directory that is there already, and may be a mount point or where the user stands.
    There(PathBuf),
}

impl RunDir {
    /// Makes the temporary directory beside `out` (in it, where it is an empty directory), or beside a new one under
    /// `results/runs` that is called after the time and `name`.
    ///
    /// # Errors
    /// [`RunDirError::Taken`] and [`RunDirError::Unwritable`].
    pub fn create(out: Option<&Path>, name: &str) -> Result<RunDir, RunDirError> {
        let path = out.map_or_else(|| Path::new(RUNS).join(default_name(name)), Path::to_owned);
        let unwritable = |source| RunDirError::Unwritable {
            path: path.clone(),
            source,
        };
        if out.is_some() {
            scratch::remove_leftovers(&path);
        }
        if out.is_some() && !is_free(&path).map_err(unwritable)? {
            return Err(RunDirError::Taken { path });
        }
        if out.is_some() && path.is_dir() {
            let path = path.canonicalize().map_err(unwritable)?;
            let temporary = Scratch::create(&path, FOR_ALL).map_err(unwritable)?;
            return Ok(RunDir {
                temporary,
                place: Place::There(path),
            });
        }
        let path = std::path::absolute(&path).map_err(unwritable)?;
        let (Some(parent), Some(_)) = (path.parent(), path.file_name()) else {
            return Err(RunDirError::Taken { path });
        };
        let temporary = std::fs::create_dir_all(parent)
            .and_then(|()| Scratch::create(parent, FOR_ALL))
            .map_err(unwritable)?;
        let place = if out.is_some() {
            Place::Named(path)
        } else {
            Place::Ours(path)
        };
        Ok(RunDir { temporary, place })
    }

    /// The path of a file of the run while it is written.
    pub fn file(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    /// Writes one file.
    ///
    /// # Errors
    /// [`RunDirError::Write`].
    pub fn write(&self, name: &str, content: &str) -> Result<(), RunDirError> {
        let path = self.file(name);
        std::fs::write(&path, content).map_err(|error| RunDirError::Write {
            path,
            reason: error.to_string(),
        })
    }

    /// Writes a value as JSON for people and scripts.
    ///
    /// # Errors
    /// [`RunDirError::Write`].
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), RunDirError> {
        let json = serde_json::to_string_pretty(value).map_err(|error| RunDirError::Write {
            path: self.file(name),
            reason: error.to_string(),
        })?;
        self.write(name, &(json + "\n"))
    }

    /// Gives the directory its name: the run is complete.
    ///
    /// # Errors
    /// [`RunDirError::Taken`] when the place was taken meanwhile, [`RunDirError::Write`] otherwise.
    pub fn complete(self) -> Result<PathBuf, RunDirError> {
        let RunDir { temporary, place } = self;
        match place {
            Place::There(path) => move_into(temporary, path),
            Place::Named(path) => rename(temporary, [path]),
            Place::Ours(path) => {
                let numbered =
                    (2..100).map(|attempt| PathBuf::from(format!("{}-{attempt}", path.display())));
                rename(temporary, std::iter::once(path.clone()).chain(numbered))
            }
        }
    }
}

/// Replaces one file: whoever reads it sees the old one or the new one, whenever this process ends.
///
/// # Errors
/// When the file can't be written.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

/// Gives the directory the first of `names` that is not taken.
fn rename(
    temporary: Scratch,
    names: impl IntoIterator<Item = PathBuf>,
) -> Result<PathBuf, RunDirError> {
    let mut taken = PathBuf::new();
    for path in names {
        match std::fs::rename(temporary.path(), &path) {
            Ok(()) => {
                // It is no longer there to be removed.
                let _ = temporary.keep();
                return Ok(path);
            }
            Err(error) if is_conflict(&error) => taken = path,
            Err(error) => {
                return Err(RunDirError::Write {
                    path,
                    reason: error.to_string(),
                });
            }
        }
    }
    Err(RunDirError::Taken { path: taken })
}

/// Moves the files into a directory that is there, summary.json last: what has it is complete.
fn move_into(temporary: Scratch, path: PathBuf) -> Result<PathBuf, RunDirError> {
    let write = |error: io::Error| RunDirError::Write {
        path: path.clone(),
        reason: error.to_string(),
    };
    let others = names_in(&path)
        .map_err(write)?
        .into_iter()
        .map(|name| path.join(name));
    if others.filter(|other| other != temporary.path()).count() > 0 {
        return Err(RunDirError::Taken { path });
    }
    let mut names = names_in(temporary.path()).map_err(write)?;
    names.sort_by_key(|name| name == "summary.json");
    for name in names {
        std::fs::rename(temporary.path().join(&name), path.join(&name)).map_err(write)?;
    }
    Ok(path)
}

fn names_in(path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    std::fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name()))
        .collect()
}

fn is_free(place: &Path) -> io::Result<bool> {
    match std::fs::read_dir(place) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory && place.exists() => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_conflict(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(
        error.kind(),
        AlreadyExists | DirectoryNotEmpty | NotADirectory
    )
}

fn default_name(name: &str) -> String {
    format!("{}-{name}", chrono::Utc::now().format("%Y%m%dT%H%M%SZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(path: &Path) -> usize {
        std::fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn a_run_appears_when_it_is_complete() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("deep/run");
        let run = RunDir::create(Some(&out), "run").unwrap();
        run.write("summary.json", "{}").unwrap();
        assert!(!out.exists());
        assert_eq!(run.complete().unwrap(), out);
        assert_eq!(
            std::fs::read_to_string(out.join("summary.json")).unwrap(),
            "{}"
        );
        assert_eq!(
            entries(out.parent().unwrap()),
            1,
            "no temporary name is left"
        );
    }

    #[test]
    fn a_run_that_is_given_up_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let run = RunDir::create(Some(&home.path().join("run")), "run").unwrap();
        run.write("numpy.svg", "").unwrap();
        drop(run);
        assert_eq!(entries(home.path()), 0);
    }

    #[test]
    fn what_exists_is_never_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("run");
        std::fs::create_dir(&out).unwrap();
        RunDir::create(Some(&out), "run")
            .unwrap()
            .complete()
            .unwrap();
        let late = RunDir::create(Some(&out), "run").unwrap();
        std::fs::write(out.join("summary.json"), "").unwrap();
        assert!(matches!(
            RunDir::create(Some(&out), "run"),
            Err(RunDirError::Taken { .. })
        ));
        assert!(matches!(late.complete(), Err(RunDirError::Taken { .. })));
        assert_eq!(entries(home.path()), 1);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(
            RunDir::create(Some(&file), "run"),
            Err(RunDirError::Taken { .. })
        ));
        let below = RunDir::create(Some(&file.join("run")), "run");
        assert!(matches!(below, Err(RunDirError::Unwritable { .. })));
    }

    #[test]
    fn an_empty_directory_that_is_there_is_filled_and_stays_the_same() {
        use std::os::unix::fs::MetadataExt;
        let home = tempfile::tempdir().unwrap();
        let (there, link) = (home.path().join("there"), home.path().join("link"));
        std::fs::create_dir(&there).unwrap();
        std::os::unix::fs::symlink(&there, &link).unwrap();
        let before = there.metadata().unwrap().ino();
        let run = RunDir::create(Some(&link), "run").unwrap();
        run.write("summary.json", "{}").unwrap();
        run.write("numpy.svg", "").unwrap();
        assert!(!there.join("summary.json").exists());
        assert_eq!(run.complete().unwrap(), there.canonicalize().unwrap());
        assert_eq!(there.metadata().unwrap().ino(), before);
        assert_eq!(entries(&there), 2, "no temporary name is left");
        assert!(matches!(
            RunDir::create(Some(&there), "run"),
            Err(RunDirError::Taken { .. })
        ));
    }
}
