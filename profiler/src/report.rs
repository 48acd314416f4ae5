//! `raptors-prof report`: a run or a suite as one HTML file that needs nothing else.
//!
//! In: a directory that a run or a suite left. Out: `report.html`. What is in the page is put together in views (text and
//! coordinates), which the templates in `templates/` show; these escape every value. Names in a profile are data: no name can add an
//! element, and a script would lack the nonce that the page's content security policy asks for, which also forbids every request.

mod chart;
mod counters;
mod flames;
mod page;
mod repeat;
mod run;
mod sources;
mod suite;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::document::{self, DocumentError};
use crate::suite::{NAME as SUITE_JSON, Suite};
use crate::summary::Summary;

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportOptions {
    /// The directory that a run or a suite left
    #[arg(value_name = "RUN_DIR|SUITE_DIR")]
    directory: PathBuf,
    /// The report [default: report.html in that directory]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A report that was written.
pub struct Outcome {
    /// Where it is.
    pub path: PathBuf,
    /// What it lacks: one line each.
    pub messages: Vec<String>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The directory holds neither a run nor a suite.
    #[error("{} has neither summary.json nor suite.json: name the directory of a run that is complete, or of a suite", .path.display())]
    NothingThere {
        /// The directory.
        path: PathBuf,
    },
    /// What it holds is spoilt.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Something else has the report's name.
    #[error("{} exists and is no report: --out chooses another name", .path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// The report can't be written.
    #[error("can't write {}: {source}; --out chooses another place", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system has no random numbers for the nonce.
    #[error("can't read /dev/urandom: {0}")]
    Random(io::Error),
    /// The page can't be put together.
    #[error("can't put the report together: {0}")]
    Render(#[from] askama::Error),
}

/// Writes the report of a run or a suite.
///
/// # Errors
/// [`ReportError`].
pub fn report(options: &ReportOptions) -> Result<Outcome, ReportError> {
    let directory = &options.directory;
    let path = match &options.out {
        Some(out) => out.clone(),
        None => directory.join("report.html"),
    };
    let nonce = nonce().map_err(ReportError::Random)?;
    let mut messages = Vec::new();
    let html = if directory.join("summary.json").exists() {
        let summary: Summary = document::load(&directory.join("summary.json"))?;
        page::of_run(&summary, directory, &nonce, &mut messages)?
    } else if directory.join(SUITE_JSON).exists() {
        let suite: Suite = document::load(&directory.join(SUITE_JSON))?;
        page::of_suite(&suite, directory, &nonce, &mut messages)?
    } else {
        return Err(ReportError::NothingThere {
            path: directory.clone(),
        });
    };
    write(&path, &html)?;
    Ok(Outcome { path, messages })
}

/// A number that nobody could have known when the run was measured.
fn nonce() -> io::Result<String> {
    let mut random = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Puts the page in its place at once; an older report gives way, nothing else does.
fn write(path: &Path, html: &str) -> Result<(), ReportError> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let unwritable = |source| ReportError::Unwritable {
        path: path.to_owned(),
        source,
    };
    if !is_free(path).map_err(unwritable)? {
        return Err(ReportError::Taken {
            path: path.to_owned(),
        });
    }
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let mut file = tempfile::Builder::new()
        .prefix(".report-")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(parent.unwrap_or(Path::new(".")))
        .map_err(unwritable)?;
    file.write_all(html.as_bytes()).map_err(unwritable)?;
    file.persist(path)
        .map_err(|error| unwritable(error.error))?;
    Ok(())
}

/// Whether there is nothing at `path`, or an older report.
fn is_free(path: &Path) -> io::Result<bool> {
    let mut start = [0; page::START.len()];
    match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    }
    match std::fs::File::open(path)?.read_exact(&mut start) {
        Ok(()) => Ok(start == page::START.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_gives_way_to_a_report_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("report.html");
        let html = format!("{}<title>", page::START);
        write(&path, &html).unwrap();
        write(&path, &html).unwrap();
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
        for other in [
            "",
            "{}",
            "<!DOCTYPE html>\n<title>mine</title> and more, longer than the start",
        ] {
            std::fs::write(&path, other).unwrap();
            assert!(matches!(
                write(&path, &html),
                Err(ReportError::Taken { .. })
            ));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
        }
        assert!(matches!(
            write(home.path(), &html),
            Err(ReportError::Taken { .. })
        ));
        let nowhere = home.path().join("no/report.html");
        assert!(matches!(
            write(&nowhere, &html),
            Err(ReportError::Unwritable { .. })
        ));
    }

    #[test]
    fn each_report_has_a_nonce_of_its_own() {
        let (one, other) = (nonce().unwrap(), nonce().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
