//! The hottest lines of source with their text, where the file is there when the report is written.
//!
//! In: the lines of a summary. Out: rows of a table. A summary may come from anybody: only what looks like a source file by its
//! name is read, a line of each at most as long as one reads.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use chrono::DateTime;

use crate::source_lines::HotLine;
use crate::table::percent;
use crate::worker;

/// Names of files that have source.
const EXTENSIONS: [&str; 16] = [
    "py", "pyx", "pxd", "rs", "c", "h", "cc", "cpp", "cxx", "hh", "hpp", "hxx", "S", "s", "f",
    "f90",
];
/// No source file is larger.
const MOST_BYTES: u64 = 16 << 20;
/// Nobody reads a longer line.
const MOST_LETTERS: usize = 160;
/// So much of a path is shown.
const SHOWN_PARTS: usize = 3;

/// A line of source.
pub(super) struct LineRow {
    pub(super) share: f64,
    pub(super) own: String,
    pub(super) total: String,
    /// End of the path, and the line.
    pub(super) place: String,
    /// The path.
    pub(super) file: String,
    pub(super) text: Option<String>,
    /// Whether the file was changed since the run, so that the text may be another.
    pub(super) changed: bool,
}

/// Source files that were read.
pub(super) struct Sources<'a> {
    tool_version: &'a str,
    /// When the run had begun for sure.
    begun: Option<SystemTime>,
    files: HashMap<String, Option<File>>,
}

struct File {
    lines: Vec<String>,
    changed: bool,
}

impl<'a> Sources<'a> {
    /// Of a run that `tool_version` began at `created` (RFC 3339).
    pub(super) fn new(tool_version: &'a str, created: &str) -> Sources<'a> {
        Sources {
            tool_version,
            // The time is in whole seconds.
            begun: DateTime::parse_from_rfc3339(created)
                .ok()
                .map(|created| SystemTime::from(created) + Duration::from_secs(1)),
            files: HashMap::new(),
        }
    }

    /// The rows of a table.
    pub(super) fn rows<'l>(&mut self, lines: impl Iterator<Item = &'l HotLine>) -> Vec<LineRow> {
        lines.map(|line| self.row(line)).collect()
    }

    fn row(&mut self, hot: &HotLine) -> LineRow {
        if !self.files.contains_key(&hot.file) {
            let file = self.read(&hot.file);
            self.files.insert(hot.file.clone(), file);
        }
        let file = self.files.get(&hot.file).and_then(Option::as_ref);
        let at = (hot.line as usize).wrapping_sub(1);
        let text = file.and_then(|file| file.lines.get(at));
        LineRow {
            share: hot.self_share,
            own: percent(hot.self_share),
            total: percent(hot.total),
            place: format!("{}:{}", shown(&hot.file), hot.line),
            file: hot.file.clone(),
            text: text.map(|text| shortened(text.trim())),
            changed: file.is_some_and(|file| file.changed),
        }
    }

    fn read(&self, name: &str) -> Option<File> {
        let path = Path::new(name);
        if worker::is_source(path) {
            // It was written for the run and went with it.
            let same = self.tool_version == env!("CARGO_PKG_VERSION");
            return same.then(|| File {
                lines: lines(worker::SOURCE),
                changed: false,
            });
        }
        let extension = path.extension()?.to_str()?;
        if !path.is_absolute() || !EXTENSIONS.contains(&extension) {
            return None;
        }
        let metadata = path.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > MOST_BYTES {
            return None;
        }
        let text = std::fs::read(path).ok()?;
        Some(File {
            lines: lines(&String::from_utf8_lossy(&text)),
            changed: metadata.modified().ok() > self.begun,
        })
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The end of a path; of the worker's, whose directory was made for the run, the name.
fn shown(path: &str) -> String {
    if worker::is_source(Path::new(path)) {
        return worker::SOURCE_NAME.to_owned();
    }

    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.len().checked_sub(SHOWN_PARTS) {
        Some(from) => parts[from..].join("/"),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(file: &Path, line: u32, created: &str) -> LineRow {
        let hot = HotLine {
            file: file.to_str().unwrap().to_owned(),
            line,
            self_share: 0.25,
            total: 0.5,
        };
        let mut sources = Sources::new(env!("CARGO_PKG_VERSION"), created);
        sources.rows([&hot].into_iter()).pop().unwrap()
    }

    const LATER: &str = "2999-01-01T00:00:00Z";

    #[test]
    fn a_line_has_its_text_where_the_file_is_there() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.py");
        std::fs::write(
            &path,
            format!("import x\n    <b>(){}\n", " ".repeat(200) + "x"),
        )
        .unwrap();
        let line = row(&path, 2, LATER);
        assert!(
            line.text.as_ref().unwrap().starts_with("<b>()"),
            "it is the template that escapes"
        );
        assert!(line.text.unwrap().ends_with('…'));
        assert!(line.place.ends_with("/a.py:2") && !line.changed);
        assert!(row(&path, 2, "2001-01-01T00:00:00Z").changed);
        for beyond in [0, 3, u32::MAX] {
            assert_eq!(row(&path, beyond, LATER).text, None);
        }
    }

    #[test]
    fn what_is_no_source_file_is_not_read() {
        let home = tempfile::tempdir().unwrap();
        let secret = home.path().join("secret");
        std::fs::write(&secret, "key\n").unwrap();
        let directory = home.path().join("d.py");
        std::fs::create_dir(&directory).unwrap();
        for path in [
            &secret,
            &directory,
            Path::new("/dev/zero"),
            Path::new("src/lib.rs"),
            Path::new("/no/x.rs"),
        ] {
            assert_eq!(row(path, 1, LATER).text, None, "{}", path.display());
        }
    }

    #[test]
    fn the_worker_is_known_by_heart() {
        let at = worker::SOURCE
            .lines()
            .position(|line| line.contains("def run_window"));
        let gone = Path::new("/tmp/.raptors-prof-tmp-abc/worker.py");
        let line = row(gone, at.unwrap() as u32 + 1, LATER);
        assert!(line.text.unwrap().starts_with("def run_window"));
        assert!(line.place.starts_with("worker.py:"));
        assert_eq!(row(Path::new("/srv/worker.py"), 1, LATER).text, None);
    }
}
