//! The JSON files that raptors-prof reads again: summaries, suites, baselines. The one place where they are opened and believed.
//!
//! In: a path. Out: a value whose schema is known and whose numbers can be, or a [`DocumentError`] that names the file and the field.

mod checks;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use checks::{interval, positive};

/// A kind of file.
pub trait Document: DeserializeOwned {
    /// Name and number of its schema, such as `raptors-prof/summary/1`: what its field `schema` holds.
    const SCHEMA: &'static str;

    /// Looks for values that have the right type but can't be, such as a time of zero.
    ///
    /// # Errors
    /// [`Flaw`] for the first.
    fn check(&self) -> Result<(), Flaw>;
}

/// A value that can't be.
#[derive(Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where: `backends.numpy.timing.median_ns`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Flaw {
    /// A flaw in `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Flaw {
        Flaw {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// The same flaw, seen from the value that holds `outer`.
    #[must_use]
    pub fn within(self, outer: impl std::fmt::Display) -> Flaw {
        Flaw {
            field: format!("{outer}.{}", self.field),
            ..self
        }
    }
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It can't be read.
    #[error("can't read {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no {expected}: {found}", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The schema that it should have.
        expected: &'static str,
        /// What its field `schema` says.
        found: String,
    },
    /// A later raptors-prof wrote it.
    #[error("{} has the schema {found}, and raptors-prof {} knows no newer one than {expected}: update raptors-prof",
        .path.display(), env!("CARGO_PKG_VERSION"))]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema that is known.
        expected: &'static str,
        /// What its field `schema` says.
        found: String,
    },
    /// A field is missing, of another type, or can't have its value.
    #[error("{}: {field}: {reason}", .path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, from the root.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It ends before it is complete.
    #[error("{} is cut short after {field}: {reason}", .path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
        /// The field that was being read.
        field: String,
        /// The place.
        reason: String,
    },
}

/// Reads the document at `path`.
///
/// # Errors
/// [`DocumentError`] when it can't be read, is none of this kind, or is spoilt.
pub fn load<T: Document>(path: &Path) -> Result<T, DocumentError> {
    let unreadable = |source| DocumentError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let bytes = read(path).map_err(unreadable)?;
    let bytes = match bytes.starts_with(&GZIP) {
        true => unpack(path, &bytes)?,
        false => bytes,
    };
    let text = String::from_utf8(bytes).map_err(|error| unreadable(io::Error::other(error)))?;
    parse(path, &text)
}

/// How gzipped files begin.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// No file of ours holds more when it is unpacked; one that was made to could fill the memory.
const LARGEST: u64 = 4 << 30;

/// A device could be read without end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::metadata(path)?.is_file() {
        true => std::fs::read(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

fn unpack(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, DocumentError> {
    let mut unpacked = Vec::new();
    let read = GzDecoder::new(bytes)
        .take(LARGEST)
        .read_to_end(&mut unpacked);
    let path = path.to_owned();
    match read {
        Ok(length) if (length as u64) < LARGEST => Ok(unpacked),
        Ok(_) => Err(DocumentError::Unreadable {
            path,
            source: io::Error::other("it unpacks to more than 4 GiB"),
        }),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(DocumentError::CutShort {
                path,
                field: format!("{} bytes", unpacked.len()),
                reason: "the rest of the gzip stream is missing".to_owned(),
            })
        }
        Err(source) => Err(DocumentError::Unreadable { path, source }),
    }
}

fn parse<T: Document>(path: &Path, text: &str) -> Result<T, DocumentError> {
    // A file of another schema has other fields: it is told before one of them is missed.
    if let Ok(Tag { schema }) = serde_json::from_str(text) {
        check_schema::<T>(path, schema)?;
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let document: T = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| spoilt(path, &error.path().to_string(), error.inner()))?;
    json.end().map_err(|error| spoilt(path, ".", &error))?;
    document
        .check()
        .map_err(|Flaw { field, reason }| DocumentError::Field {
            path: path.to_owned(),
            field,
            reason,
        })?;
    Ok(document)
}

#[derive(Deserialize)]
struct Tag {
    schema: Option<serde_json::Value>,
}

fn check_schema<T: Document>(
    path: &Path,
    schema: Option<serde_json::Value>,
) -> Result<(), DocumentError> {
    let (path, expected) = (path.to_owned(), T::SCHEMA);
    let found = match schema {
        Some(serde_json::Value::String(found)) if found == expected => return Ok(()),
        Some(serde_json::Value::String(found)) => found,
        Some(other) => other.to_string(),
        None => {
            let found = "it has no field schema".to_owned();
            return Err(DocumentError::Foreign {
                path,
                expected,
                found,
            });
        }
    };
    if is_newer(&found, expected) {
        return Err(DocumentError::Newer {
            path,
            expected,
            found,
        });
    }
    Err(DocumentError::Foreign {
        path,
        expected,
        found: format!("its field schema is {found}"),
    })
}

/// Whether `found` has the name of `expected` and a larger number.
fn is_newer(found: &str, expected: &str) -> bool {
    let split = |schema: &str| -> Option<(String, u64)> {
        let (name, number) = schema.rsplit_once('/')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    match (split(found), split(expected)) {
        (Some((found, number)), Some((expected, known))) => found == expected && number > known,
        _ => false,
    }
}

fn spoilt(path: &Path, field: &str, error: &serde_json::Error) -> DocumentError {
    let field = match field {
        "." | "?" => "the whole".to_owned(),
        field => field.to_owned(),
    };
    let (path, reason) = (path.to_owned(), error.to_string());
    match error.is_eof() {
        true => DocumentError::CutShort {
            path,
            field,
            reason,
        },
        false => DocumentError::Field {
            path,
            field,
            reason,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Times {
        times: Vec<f64>,
    }

    impl Document for Times {
        const SCHEMA: &'static str = "test/times/2";

        fn check(&self) -> Result<(), Flaw> {
            let mut times = self.times.iter().enumerate();
            times.try_for_each(|(at, &time)| positive(format!("times[{at}]"), time))
        }
    }

    fn error(text: &str) -> String {
        parse::<Times>(Path::new("t.json"), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_good_is_read() {
        let times: Times = parse(
            Path::new("t"),
            r#"{"schema":"test/times/2","times":[1.5],"more":{}}"#,
        )
        .unwrap();
        assert_eq!(times.times, [1.5]);
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_field() {
        let cases = [
            ("", "t.json is cut short after the whole"),
            (
                r#"{"schema":"test/times/2","times":[1, "#,
                "t.json is cut short after times: ",
            ),
            (
                r#"{"schema":"test/times/2","times":[1, NaN]}"#,
                "t.json: times[1]: expected value",
            ),
            (
                r#"{"schema":"test/times/2","times":[1e999]}"#,
                "t.json: times[0]: number out of range",
            ),
            (
                r#"{"schema":"test/times/2","times":[null]}"#,
                "t.json: times[0]: invalid type: null",
            ),
            (
                r#"{"schema":"test/times/2","times":[2, 0]}"#,
                "t.json: times[1]: 0 is no time or ratio",
            ),
            (
                r#"{"schema":"test/times/2","times":[-2]}"#,
                "t.json: times[0]: -2 is no time",
            ),
            (
                r#"{"schema":"test/times/2"}"#,
                "t.json: the whole: missing field `times`",
            ),
            (
                r#"{"schema":"test/times/3","times":true}"#,
                "t.json has the schema test/times/3, and raptors-prof",
            ),
            (
                r#"{"schema":"test/times/1"}"#,
                "t.json is no test/times/2: its field schema is test/times/1",
            ),
            (
                r#"{"schema":"test/clocks/3"}"#,
                "t.json is no test/times/2: its field schema is test/clocks/3",
            ),
            (r#"{"schema":7}"#, "its field schema is 7"),
            ("{}", "t.json is no test/times/2: it has no field schema"),
            ("[]", "t.json: "),
            (
                r#"{"schema":"test/times/2","times":[]} x"#,
                "t.json: the whole: trailing characters",
            ),
        ];
        for (text, expected) in cases {
            let error = error(text);
            assert!(error.contains(expected), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let error = |path: &str| load::<Times>(Path::new(path)).unwrap_err().to_string();
        assert!(error("/dev/zero").contains("no regular file"));
        assert!(error("/no/such/file").starts_with("can't read /no/such/file: "));
    }
}
