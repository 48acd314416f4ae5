//! `convert`: profiles that a run or a recording kept, in another format.
//!
//! In: the directory of a run or a recording, or one of its `.samples.json.gz` files. Out: a file for each profile, put in its place at once.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use crate::document::{self, Document, DocumentError, Flaw};
use crate::flamegraph::WriteError;
use crate::formats::{self, Format};
use crate::stored::{self, Stored};
use crate::summary::Summary;
use crate::{record, suite};

/// Options of `convert`.
#[derive(Debug, Args)]
pub struct ConvertOptions {
    /// The directory that a run, a recording or a cell of a suite left; or one file NAME.samples.json.gz in it
    #[arg(value_name = "RUN_DIR")]
    from: PathBuf,
    /// The format
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Format,
    /// The file, where there is one profile; replaces it [default: NAME.<format> for each profile, beside NAME.samples.json.gz]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Why nothing was converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// There is no such directory or file.
    #[error("can't read {}: {source}", .path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The directory holds no run.
    #[error("{} has no summary.json: name the directory of a run or a recording that is complete", .0.display())]
    NoRun(PathBuf),
    /// The directory holds a suite.
    #[error("{} is a suite: name the directory of one of its cells, {}", .0.display(), .0.join("CELL").display())]
    Suite(PathBuf),
    /// A file is of no use.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The run kept no profile.
    #[error("{} keeps no profile: its summary.json lists no {}; no samples were taken (it says why), or an older raptors-prof took them", .0.display(), stored::KEY)]
    NoProfile(PathBuf),
    /// One file can't hold several profiles.
    #[error("--out: {} has {} profiles: name one of {}", .path.display(), .files.len(), .files.join(", "))]
    Several {
        /// The directory.
        path: PathBuf,
        /// The profiles.
        files: Vec<String>,
    },
    /// The profile has no samples.
    #[error("{} has no samples: there is nothing to convert", .0.display())]
    Empty(PathBuf),
    /// The result can't be put there.
    #[error("can't write to {}: {source}; --out chooses another place", .path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Writing failed half-way.
    #[error("can't write {}: {source}; nothing was left there", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Writes every profile of a run or a recording in another format; gives the files.
///
/// # Errors
/// [`ConvertError`].
pub fn convert(options: &ConvertOptions) -> Result<Vec<PathBuf>, ConvertError> {
    let ConvertOptions { from, to, out } = options;
    let is_directory = match std::fs::metadata(from) {
        Ok(there) => there.is_dir(),
        Err(source) => {
            return Err(ConvertError::Unreadable {
                path: from.clone(),
                source,
            });
        }
    };
    let files = match is_directory {
        true => kept(from)?,
        false => vec![from.clone()],
    };
    match (out, files.as_slice()) {
        (Some(out), [file]) => Ok(vec![one(file, *to, out)?]),
        (None, files) => files
            .iter()
            .map(|file| one(file, *to, &beside(file, *to)))
            .collect(),
        (Some(_), files) => Err(ConvertError::Several {
            path: from.clone(),
            files: files
                .iter()
                .map(|file| file.display().to_string())
                .collect(),
        }),
    }
}

/// What the summary of a recording says of its files.
#[derive(Deserialize)]
struct Recording {
    outputs: BTreeMap<String, String>,
    processes: Vec<Process>,
}

#[derive(Deserialize)]
struct Process {
    outputs: BTreeMap<String, String>,
}

impl Document for Recording {
    const SCHEMA: &'static str = record::SCHEMA;

    fn check(&self) -> Result<(), Flaw> {
        Ok(())
    }
}

/// The profiles that a run or a recording kept.
fn kept(directory: &Path) -> Result<Vec<PathBuf>, ConvertError> {
    let path = directory.join("summary.json");
    if !path.exists() {
        let path = directory.to_owned();
        return Err(match directory.join(suite::NAME).exists() {
            true => ConvertError::Suite(path),
            false => ConvertError::NoRun(path),
        });
    }
    let outputs: Vec<BTreeMap<String, String>> = match document::load::<Recording>(&path) {
        Ok(recording) => {
            let processes = recording.processes.into_iter();
            let processes = processes.map(|process| process.outputs);
            std::iter::once(recording.outputs)
                .chain(processes)
                .collect()
        }
        Err(DocumentError::Foreign { .. }) => {
            let run: Summary = document::load(&path)?;
            run.backends
                .into_values()
                .map(|backend| backend.outputs)
                .collect()
        }
        Err(error) => return Err(error.into()),
    };
    let names: Vec<&String> = outputs
        .iter()
        .filter_map(|outputs| outputs.get(stored::KEY))
        .collect();
    if let Some(name) = names
        .iter()
        .find(|name| Path::new(name).file_name() != Some(OsStr::new(name)))
    {
        return Err(DocumentError::Field {
            path,
            field: format!("outputs.{}", stored::KEY),
            reason: format!("{name:?} is no file of the same directory"),
        }
        .into());
    }
    match names.is_empty() {
        true => Err(ConvertError::NoProfile(directory.to_owned())),
        false => Ok(names.into_iter().map(|name| directory.join(name)).collect()),
    }
}

/// The name of the converted file where none was chosen.
fn beside(file: &Path, to: Format) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let stem = name
        .strip_suffix(stored::SUFFIX)
        .map(|stem| stem.trim_end_matches('.'));
    file.with_file_name(format!("{}.{}", stem.unwrap_or(&name), to.suffix()))
}

/// Converts one profile. Whoever reads `out` sees what was there before, or all of the new.
fn one(file: &Path, to: Format, out: &Path) -> Result<PathBuf, ConvertError> {
    let place = |source| ConvertError::Place {
        path: out.to_owned(),
        source,
    };
    if out.exists() {
        let there = out.canonicalize().map_err(place)?;
        if !there.is_file() {
            return Err(place(io::Error::other("it is no regular file")));
        }
        if file.canonicalize().is_ok_and(|file| file == there) {
            return Err(place(io::Error::other("it is what is to be converted")));
        }
    }
    let stored: Stored = document::load(file)?;
    let title = stored.title.clone();
    let profile = stored.into_profile();
    let parent = out.parent().filter(|parent| *parent != Path::new(""));
    let temporary = tempfile::Builder::new()
        .prefix(".convert-")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(parent.unwrap_or(Path::new(".")))
        .map_err(place)?;
    formats::write(to, &profile, &title, temporary.path()).map_err(|error| match error {
        WriteError::Empty(_) => ConvertError::Empty(file.to_owned()),
        WriteError::Io { source, .. } => ConvertError::Write {
            path: out.to_owned(),
            source,
        },
    })?;
    temporary.persist(out).map_err(|error| place(error.error))?;
    Ok(out.to_owned())
}
