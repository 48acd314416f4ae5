//! Why a worker did not do its part.

use std::io;

/// Why the worker did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The worker's source can't be written to the temporary directory.
    #[error("can't write the worker's source: {0}; TMPDIR chooses another directory")]
    Source(#[source] io::Error),
    /// The interpreter can't be started.
    #[error(
        "can't start the Python interpreter {python}: {source}; --python takes the path of one"
    )]
    Spawn {
        /// The interpreter.
        python: String,
        /// Why not.
        source: io::Error,
    },
    /// What was started does not behave like a Python interpreter.
    #[error("{python} isn't a Python interpreter (3.8 or newer): {how}{}", .output.excerpt())]
    NotPython {
        /// What was started.
        python: String,
        /// What it did instead.
        how: String,
        /// What it printed.
        output: Printed,
    },
    /// The interpreter is too old.
    #[error("{python} is Python {version}; the worker needs 3.8 or newer")]
    TooOld {
        /// The interpreter.
        python: String,
        /// Its version.
        version: String,
    },
    /// A module is missing.
    #[error("{python} has no module {module}; {mend}")]
    Missing {
        /// The interpreter.
        python: String,
        /// The module.
        module: String,
        /// The command that installs it.
        mend: String,
    },
    /// `raptors` can't do what was asked of it here.
    #[error("raptors refuses: {message}")]
    Refused {
        /// Its own words.
        message: String,
    },
    /// The backends compute different things.
    #[error("numpy and raptors disagree on {cell}: {message}")]
    Disagree {
        /// The cell.
        cell: String,
        /// How far they are apart.
        message: String,
    },
    /// The user's own op is not what it should be, or lacks what it asks for.
    #[error("{message}")]
    Unfit {
        /// What it should be.
        message: String,
    },
    /// The worker ended by itself.
    #[error("the worker ended {during}: {how}{output}")]
    Died {
        /// In which step.
        during: String,
        /// Exit code or signal.
        how: String,
        /// What it printed.
        output: Printed,
    },
    /// The worker said something that the protocol does not have.
    #[error("the worker gave no valid answer {during}: {line}")]
    Protocol {
        /// In which step.
        during: String,
        /// What it said.
        line: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What a process wrote to stdout and stderr, for the end of an error message.
#[derive(Debug)]
pub struct Printed(pub(super) String);

/// An excerpt is no longer.
const LONGEST_EXCERPT: usize = 160;

impl Printed {
    /// The line that names an error, or else the first, for a message that is to stay one line.
    fn excerpt(&self) -> String {
        let mut lines = self.0.lines().map(str::trim);
        let first = lines.clone().find(|line| !line.is_empty());
        match lines.find(|line| line.contains("rror: ")).or(first) {
            Some(line) => {
                let line: String = line.chars().take(LONGEST_EXCERPT).collect();
                format!("; it printed: {line}")
            }
            None => "; it printed nothing".to_owned(),
        }
    }
}

impl std::fmt::Display for Printed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.trim_end() {
            "" => f.write_str("; it printed nothing"),
            text => write!(f, "; it printed:\n{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_line() {
        let excerpt = |text: &str| Printed(text.to_owned()).excerpt();
        assert_eq!(excerpt("\n"), "; it printed nothing");
        assert_eq!(excerpt("\n one\ntwo\n"), "; it printed: one");
        assert_eq!(
            excerpt("one\nFatal Python error: no\nthree\n"),
            "; it printed: Fatal Python error: no"
        );
        assert!(excerpt(&"ä".repeat(100_000)).len() < 400);
    }
}
