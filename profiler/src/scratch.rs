//! Temporary directories that are gone with their process: what one that was killed leaves, the next removes.
//!
//! In: where. Out: a directory of one's own. Its owner holds a lock on it, so one without a lock has no owner any more; unlike a
//! process id, that is true across containers and after a restart too.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// What the names begin with: nobody else's do.
const PREFIX: &str = ".raptors-prof-tmp-";

/// Whether a directory of that name was a temporary one.
pub fn is_name(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
}

/// A directory that is removed when it is dropped.
pub struct Scratch {
    directory: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes a directory of this `mode` (less the umask) in `parent`, and removes those that killed processes left there.
    ///
    /// # Errors
    /// When `parent` can't be written to.
    pub fn create(parent: &Path, mode: u32) -> io::Result<Scratch> {
        remove_leftovers(parent);
        loop {
            let directory = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(Permissions::from_mode(mode))
                .tempdir_in(parent)?;
            let lock = match open(directory.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lock => lock?,
            };
            // Until it is locked, another process may take it for a leftover.
            let taken = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
            if !taken && directory.path().exists() {
                return Ok(Scratch {
                    directory,
                    _lock: lock,
                });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Lets the directory stay.
    pub fn keep(self) -> PathBuf {
        self.directory.keep()
    }
}

/// Removes the directories in `parent` whose owners are gone, as far as that is allowed.
pub fn remove_leftovers(parent: &Path) {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        // The lock is held while it is removed. Where there are no locks, nothing is known of the owner.
        if let Ok(directory) = open(&entry.path())
            && directory.try_lock().is_ok()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn open(directory: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_owner_is_removed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let left = home.path().join(format!("{PREFIX}left"));
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("profile.svg"), "").unwrap();
        std::fs::create_dir(home.path().join("raptors-prof")).unwrap();
        let own = Scratch::create(home.path(), 0o700).unwrap();
        let other = Scratch::create(home.path(), 0o700).unwrap();
        assert!(own.path().exists() && other.path().exists() && !left.exists());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 3);
        drop((own, other));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
