//! Where CPython keeps what a sampler wants, for the versions in which it does not say so itself.
//!
//! Offsets in bytes, from the headers of each version (`Include/cpython/*.h`, `Include/internal/pycore_*.h`);
//! `layout.c` prints them for an interpreter that has its headers, and the test compares. An interpreter that was built otherwise is
//! noticed when its first stack is compared with py-spy's.

/// How the frames of the running functions hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// To 3.10: frame objects; the evaluator is entered for each.
    Objects {
        /// `PyThreadState.frame`.
        top: u64,
    },
    /// 3.11 and 3.12: each evaluator call has a `_PyCFrame` on its native stack that points to its innermost frame.
    CFrames {
        /// `PyThreadState.cframe`.
        top: u64,
        /// `_PyCFrame.current_frame`.
        current: u64,
    },
    /// 3.13: the thread points to its innermost frame; each evaluator call has an entry frame on its native stack.
    Frames {
        /// `PyThreadState.current_frame`.
        top: u64,
    },
}

/// How a frame says that the evaluator was entered for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryMark {
    /// Every frame is one.
    Always,
    /// By a flag (`is_entry`).
    Flag(u64),
    /// A frame that belongs to the evaluator's native stack (`owner` is `FRAME_OWNED_BY_CSTACK`) stands before it.
    Shim(u64),
}

/// How `co_lnotab` or `co_linetable` is coded, and what a frame says of its instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineTable {
    /// To 3.9: pairs of deltas (`Objects/lnotab_notes.txt`); the frame has a byte offset.
    Lnotab,
    /// 3.10: PEP 626; the frame has an offset in instructions of two bytes.
    Pep626,
    /// From 3.11: location entries (`Objects/locations.md`); the frame has an address.
    Locations,
}

/// Offsets for one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// First thread state, in `PyInterpreterState`.
    pub threads: u64,
    /// `PyThreadState.next`.
    pub next_thread: u64,
    /// `PyThreadState.thread_id`: the `pthread_t`.
    pub pthread: u64,
    /// `PyThreadState.native_thread_id`, from 3.11.
    pub native_thread: Option<u64>,
    /// How frames are found.
    pub linkage: Linkage,
    /// The caller's frame, in a frame.
    pub previous: u64,
    /// The code object, in a frame.
    pub code: u64,
    /// The instruction, in a frame.
    pub instruction: u64,
    /// Which frames are entries.
    pub entry: EntryMark,
    /// Bytes of a frame that hold these.
    pub frame_bytes: usize,
    /// `co_filename`.
    pub file_name: u64,
    /// `co_qualname`, else `co_name`.
    pub name: u64,
    /// `co_firstlineno`.
    pub first_line: u64,
    /// `co_linetable`, else `co_lnotab`.
    pub line_table: u64,
    /// How it is coded.
    pub line_table_kind: LineTable,
    /// From 3.11 the first instruction (`co_code_adaptive`); before, the `bytes` object that holds them (`co_code`).
    pub instructions: u64,
    /// From 3.12 `co_framesize`: room that a frame of this code takes, in words.
    pub frame_words: u64,
    /// Size of `PyASCIIObject`: where the characters of an ASCII string begin.
    pub ascii: u64,
    /// Size of `PyCompactUnicodeObject`: where those of any other begin.
    pub compact: u64,
}

impl Layout {
    /// The layout of CPython 3.`minor`, for 3.8 to 3.13.
    pub fn of(minor: u64) -> Option<Layout> {
        match minor {
            8 | 9 => Some(BEFORE_3_10),
            10 => Some(Layout {
                instruction: 96,
                line_table_kind: LineTable::Pep626,
                ..BEFORE_3_10
            }),
            11 => Some(V3_11),
            12 => Some(V3_12),
            13 => Some(V3_13),
            _ => None,
        }
    }
}

const BEFORE_3_10: Layout = Layout {
    threads: 8,
    next_thread: 8,
    pthread: 176,
    native_thread: None,
    linkage: Linkage::Objects { top: 24 },
    previous: 24,
    code: 32,
    instruction: 104,
    entry: EntryMark::Always,
    frame_bytes: 112,
    file_name: 104,
    name: 112,
    first_line: 40,
    line_table: 120,
    line_table_kind: LineTable::Lnotab,
    instructions: 48,
    frame_words: 0,
    ascii: 48,
    compact: 72,
};

const V3_11: Layout = Layout {
    threads: 16,
    next_thread: 8,
    pthread: 152,
    native_thread: Some(160),
    linkage: Linkage::CFrames {
        top: 56,
        current: 8,
    },
    previous: 48,
    code: 32,
    instruction: 56,
    entry: EntryMark::Flag(68),
    frame_bytes: 72,
    file_name: 112,
    name: 128,
    first_line: 72,
    line_table: 136,
    line_table_kind: LineTable::Locations,
    instructions: 184,
    frame_words: 0,
    ascii: 48,
    compact: 72,
};

const V3_12: Layout = Layout {
    threads: 72,
    pthread: 136,
    native_thread: Some(144),
    linkage: Linkage::CFrames {
        top: 56,
        current: 0,
    },
    previous: 8,
    code: 0,
    entry: EntryMark::Shim(70),
    first_line: 68,
    instructions: 192,
    frame_words: 76,
    ascii: 40,
    compact: 56,
    ..V3_11
};

const V3_13: Layout = Layout {
    threads: 7344,
    pthread: 152,
    native_thread: Some(160),
    linkage: Linkage::Frames { top: 72 },
    instructions: 200,
    ..V3_12
};

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::process::Command;

    use super::*;

    /// What the headers say; `None` where there is no compiler or there are no headers.
    fn by_headers() -> Option<HashMap<String, u64>> {
        let python = std::env::var("RAPTORS_PROF_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let ask = "import sysconfig; print(sysconfig.get_path('include'))";
        let include = Command::new(python).args(["-c", ask]).output().ok()?;
        let include = String::from_utf8(include.stdout).ok()?;
        let include = include.trim();
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("layout");
        let compiled = Command::new("cc")
            .args(["-w", "-I", include, "-I", &format!("{include}/internal")])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/python/layout.c"))
            .arg("-o")
            .arg(&program)
            .output()
            .ok()?;
        if !compiled.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&compiled.stderr));
            return None;
        }
        let text = Command::new(program).output().unwrap().stdout;
        let text = String::from_utf8(text).unwrap();
        let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
        Some(
            pairs
                .map(|(name, offset)| (name.to_owned(), offset.parse().unwrap()))
                .collect(),
        )
    }

    #[test]
    fn offsets_are_those_of_the_headers() {
        let Some(headers) = by_headers() else {
            eprintln!("skipped: no C compiler, or no headers of the interpreter");
            return;
        };
        let Some(layout) = Layout::of(headers["minor"]) else {
            eprintln!("skipped: no layout for CPython 3.{}", headers["minor"]);
            return;
        };
        let (top, current) = match layout.linkage {
            Linkage::Objects { top } | Linkage::Frames { top } => (top, None),
            Linkage::CFrames { top, current } => (top, Some(current)),
        };
        let entry = match layout.entry {
            EntryMark::Always => None,
            EntryMark::Flag(offset) | EntryMark::Shim(offset) => Some(offset),
        };
        let frame_words = Some(layout.frame_words).filter(|offset| *offset != 0);
        let ours = [
            ("threads", Some(layout.threads)),
            ("next_thread", Some(layout.next_thread)),
            ("pthread", Some(layout.pthread)),
            ("native_thread", layout.native_thread),
            ("top", Some(top)),
            ("current", current),
            ("previous", Some(layout.previous)),
            ("code", Some(layout.code)),
            ("instruction", Some(layout.instruction)),
            ("entry", entry),
            ("file_name", Some(layout.file_name)),
            ("name", Some(layout.name)),
            ("first_line", Some(layout.first_line)),
            ("line_table", Some(layout.line_table)),
            ("instructions", Some(layout.instructions)),
            ("frame_words", frame_words),
            ("ascii", Some(layout.ascii)),
            ("compact", Some(layout.compact)),
        ];
        for (name, offset) in ours {
            assert_eq!(offset, headers.get(name).copied(), "{name}");
        }
    }
}
