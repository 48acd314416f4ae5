//! The directory of a run: filled under a temporary name beside its place, then renamed. What has its name is complete.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::TempDir;

/// Where runs go by default.
const RUNS: &str = "results/runs";

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
    temporary: TempDir,
    place: PathBuf,
    /// Our own choice of a name gives way to one that is taken; the user's does not.
    named_by_user: bool,
}

impl RunDir {
    /// Makes the temporary directory beside `out`, or beside a new one under `results/runs` that is called after the time
    /// and `name`.
    ///
    /// # Errors
    /// [`RunDirError::Taken`] and [`RunDirError::Unwritable`].
    pub fn create(out: Option<&Path>, name: &str) -> Result<RunDir, RunDirError> {
        let place = match out {
            Some(out) => out.to_owned(),
            None => Path::new(RUNS).join(default_name(name)),
        };
        let unwritable = |source| RunDirError::Unwritable {
            path: place.clone(),
            source,
        };
        if out.is_some() && !is_free(&place).map_err(unwritable)? {
            return Err(RunDirError::Taken { path: place });
        }
        let place = std::path::absolute(&place).map_err(unwritable)?;
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
            return Err(RunDirError::Taken { path: place });
        };
        let temporary = std::fs::create_dir_all(parent)
            .and_then(|()| {
                let prefix = format!(".{}.", name.to_string_lossy());
                tempfile::Builder::new()
                    .prefix(&prefix)
                    .permissions(readable())
                    .tempdir_in(parent)
            })
            .map_err(unwritable)?;
        Ok(RunDir {
            temporary,
            place,
            named_by_user: out.is_some(),
        })
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
        let mut place = self.place.clone();
        let mut renamed = std::fs::rename(self.temporary.path(), &place);
        for attempt in 2..100 {
            if self.named_by_user || !renamed.as_ref().is_err_and(is_conflict) {
                break;
            }
            place = PathBuf::from(format!("{}-{attempt}", self.place.display()));
            renamed = std::fs::rename(self.temporary.path(), &place);
        }
        match renamed {
            Ok(()) => {
                // It is no longer there to be removed.
                let _ = self.temporary.keep();
                Ok(place)
            }
            Err(error) if is_conflict(&error) => Err(RunDirError::Taken { path: place }),
            Err(error) => Err(RunDirError::Write {
                path: place,
                reason: error.to_string(),
            }),
        }
    }
}

/// Results are for others to read too; a temporary directory is not by default.
fn readable() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o777)
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
}
