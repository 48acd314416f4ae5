//! Names of code objects: what a frame's code and instruction are called. Each is read once and looked at again from time to
//! time, since another code object may come to lie where one was.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::layout::{Layout, LineTable};
use super::line_table::line_at;
use super::memory::{Memory, word_at};
use crate::merge::{PythonCode, PythonFrame};
use crate::source_lines::SourceLine;

/// How long a code object is believed to be where it was.
const BELIEVED: Duration = Duration::from_millis(20);
/// Bytes of a code object that hold its names, lines and tables.
const HEADER_BYTES: usize = 208;
/// `ob_size` of objects that have one, and where a `bytes` object's bytes begin.
const OBJECT_SIZE: u64 = 16;
const BYTES_START: u64 = 32;
/// Longer names and tables are none.
const MAX_BYTES: u64 = 1 << 20;

/// How far before an instruction its code object is looked for, the farthest first: not all of it may be mapped.
const REACHES: [u64; 3] = [16 << 10, 4 << 10, 1 << 10];
/// So many pointers are remembered to have been looked up.
const MAX_SEARCHED: usize = 10_000;
/// Where objects may begin.
const OBJECT_ALIGNMENT: u64 = 16;
/// An object's class.
const CLASS: u64 = 8;

/// The code objects of one process that were met so far.
#[derive(Debug, Default)]
pub struct CodeNames {
    known: HashMap<u64, Code>,
    /// Where the instructions of each begin and end.
    instructions: BTreeMap<u64, (u64, u64)>,
    /// Pointers into no code object that is known, looked up already.
    searched: HashSet<u64>,
}

#[derive(Debug)]
struct Code {
    header: Vec<u8>,
    checked: Instant,
    /// From the first instruction to behind the last.
    start: u64,
    end: u64,
    name: String,
    file: Arc<str>,
    first_line: i32,
    line_table: Vec<u8>,
    frames: HashMap<u64, PythonFrame>,
}

impl CodeNames {
    /// The frame of the code object at `address` at `instruction` (as the frame holds it); `None` where there is no code object.
    pub fn frame(
        &mut self,
        memory: Memory,
        layout: &Layout,
        address: u64,
        instruction: u64,
    ) -> Option<PythonFrame> {
        self.meet(memory, layout, address)?;
        let code = self.known.get_mut(&address)?;
        if let Some(frame) = code.frames.get(&instruction) {
            return Some(frame.clone());
        }
        let frame = code.frame(layout, address, instruction);
        code.frames.insert(instruction, frame.clone());
        Some(frame)
    }

    /// The code object, of those that were met, in whose instructions `pointer` points, and the instruction before it, as a frame
    /// would hold it: the evaluator's own pointer is one ahead.
    pub fn at(&self, layout: &Layout, pointer: u64) -> Option<(u64, u64)> {
        let (start, (end, code)) = self.instructions.range(..pointer).next_back()?;
        let before = pointer.checked_sub(2).filter(|_| pointer <= *end)?;
        let offset = before - start;
        let instruction = match layout.line_table_kind {
            LineTable::Lnotab => offset,
            LineTable::Pep626 => offset / 2,
            LineTable::Locations => before,
        };
        Some((*code, instruction))
    }

    /// Bytes that a frame of the code object at `address` takes, if that was met and says so.
    pub fn frame_bytes(&self, layout: &Layout, address: u64) -> Option<u64> {
        let code = self.known.get(&address)?;
        let offset = Some(layout.frame_words).filter(|offset| *offset != 0)?;
        let words = word_at(&code.header, offset)?;
        Some(8 * (words & 0xffff_ffff))
    }

    /// Meets the code object in whose instructions `pointer` points. From 3.11 on the instructions are a part of the object, so it begins
    /// before them. Each pointer is looked up once.
    pub fn search(&mut self, memory: Memory, layout: &Layout, pointer: u64) -> Option<()> {
        let inside = layout.line_table_kind == LineTable::Locations;
        if !inside || self.at(layout, pointer).is_some() || !self.searched.insert(pointer) {
            return None;
        }
        if self.searched.len() > MAX_SEARCHED {
            self.searched.clear();
        }
        let class = word_at(&self.known.values().next()?.header, CLASS)?;
        let end = pointer - pointer % OBJECT_ALIGNMENT;
        let before = |reach: &u64| {
            let start = end.checked_sub(*reach)?;
            Some((start, memory.bytes(start, usize::try_from(*reach).ok()?)?))
        };
        let (start, bytes) = REACHES.iter().find_map(before)?;
        let places = (end - start) / OBJECT_ALIGNMENT;
        let objects = (0..places).rev().map(|place| place * OBJECT_ALIGNMENT);
        let codes: Vec<u64> = objects
            .filter(|offset| word_at(&bytes, offset + CLASS) == Some(class))
            .collect();
        codes.into_iter().find_map(|offset| {
            self.meet(memory, layout, start + offset)?;
            self.at(layout, pointer).map(|_| ())
        })
    }

    /// Reads the code object at `address` unless it is known; `None` where there is none.
    pub fn meet(&mut self, memory: Memory, layout: &Layout, address: u64) -> Option<()> {
        let believed = self
            .known
            .get(&address)
            .is_some_and(|code| code.checked.elapsed() < BELIEVED);
        if believed {
            return Some(());
        }
        let header = memory.bytes(address, HEADER_BYTES)?;
        match self.known.get_mut(&address) {
            // Reference counts and counters of calls change, names and tables do not.
            Some(code) if same_names(layout, &code.header, &header) => {
                code.checked = Instant::now();
            }
            _ => {
                if let Some(gone) = self.known.remove(&address) {
                    self.instructions.remove(&gone.start);
                }
                let code = Code::read(memory, layout, address, header)?;
                self.instructions.insert(code.start, (code.end, address));
                self.known.insert(address, code);
            }
        }
        Some(())
    }
}

fn same_names(layout: &Layout, one: &[u8], other: &[u8]) -> bool {
    [
        layout.name,
        layout.file_name,
        layout.line_table,
        layout.first_line & !7,
    ]
    .iter()
    .all(|&offset| word_at(one, offset) == word_at(other, offset))
}

impl Code {
    fn read(memory: Memory, layout: &Layout, address: u64, header: Vec<u8>) -> Option<Code> {
        let text = |offset| string(memory, layout, word_at(&header, offset)?);
        let first_line = usize::try_from(layout.first_line).ok()?;
        let first_line = header.get(first_line..first_line + 4)?.try_into().ok()?;
        let (start, end) = instructions(memory, layout, address, &header)?;
        Some(Code {
            start,
            end,
            checked: Instant::now(),
            name: text(layout.name)?,
            file: text(layout.file_name)?.into(),
            first_line: i32::from_ne_bytes(first_line),
            line_table: bytes_object(memory, word_at(&header, layout.line_table)?)?,
            frames: HashMap::new(),
            header,
        })
    }

    fn frame(&self, layout: &Layout, address: u64, instruction: u64) -> PythonFrame {
        let offset = match layout.line_table_kind {
            // A frame that was not begun has -1.
            LineTable::Lnotab => u64::from((instruction as i32).max(0).cast_unsigned()),
            LineTable::Pep626 => 2 * u64::from((instruction as i32).max(0).cast_unsigned()),
            LineTable::Locations => {
                instruction.saturating_sub(address.wrapping_add(layout.instructions))
            }
        };
        let line = line_at(
            layout.line_table_kind,
            &self.line_table,
            self.first_line,
            offset,
        );
        python_frame(&self.name, &self.file, line)
    }
}

/// Where the instructions of the code object at `address` begin and end.
fn instructions(
    memory: Memory,
    layout: &Layout,
    address: u64,
    header: &[u8],
) -> Option<(u64, u64)> {
    let (start, bytes) = match layout.line_table_kind {
        LineTable::Lnotab | LineTable::Pep626 => {
            let object = word_at(header, layout.instructions)?;
            (
                object.wrapping_add(BYTES_START),
                memory.word(object.wrapping_add(OBJECT_SIZE))?,
            )
        }
        // The object's size is in instructions of two bytes.
        LineTable::Locations => (
            address.wrapping_add(layout.instructions),
            word_at(header, OBJECT_SIZE)?.checked_mul(2)?,
        ),
    };
    (bytes <= MAX_BYTES).then_some((start, start.wrapping_add(bytes)))
}

/// A frame of a function that is called `qualified` in `file`.
pub fn python_frame(qualified: &str, file: &Arc<str>, line: i32) -> PythonFrame {
    let file_name = Path::new(&**file)
        .file_name()
        .map_or((&**file).into(), |name| name.to_string_lossy());
    let name = without_enclosing_functions(qualified);
    PythonFrame {
        label: format!("{name} ({file_name}:{line})").into(),
        code: Arc::new(PythonCode {
            function: name.rsplit('.').next().unwrap_or(name).to_owned(),
            source: source_line(file, line),
        }),
        entry: false,
    }
}

/// What was compiled from no file (`<string>`, `<frozen importlib._bootstrap>`) has no line that could be shown.
fn source_line(file: &Arc<str>, line: i32) -> Option<SourceLine> {
    let line = u32::try_from(line).ok().filter(|line| *line > 0)?;
    (!file.starts_with('<')).then(|| SourceLine {
        file: Arc::clone(file),
        line,
    })
}

/// From 3.11 on a name is qualified: `make.<locals>.op`, `Thread.run`. The class says something, the function
/// around it does not.
fn without_enclosing_functions(qualified: &str) -> &str {
    qualified.rsplit("<locals>.").next().unwrap_or(qualified)
}

/// A `str` object (`Include/cpython/unicodeobject.h`): length, then the state's bits, which tell the width of a character.
fn string(memory: Memory, layout: &Layout, address: u64) -> Option<String> {
    let header = memory.bytes(address, 40)?;
    let length = word_at(&header, 16)?;
    let state = word_at(&header, 32)? as u32;
    let (kind, compact, ascii) = (state >> 2 & 7, state >> 5 & 1, state >> 6 & 1);
    if compact == 0 || length > MAX_BYTES || !matches!(kind, 1 | 2 | 4) {
        return None;
    }
    let start = if ascii == 1 {
        layout.ascii
    } else {
        layout.compact
    };
    let size = usize::try_from(length * u64::from(kind)).ok()?;
    let bytes = memory.bytes(address.wrapping_add(start), size)?;
    let characters = |width: usize, value: fn(&[u8]) -> u32| {
        bytes
            .chunks_exact(width)
            .map(|unit| char::from_u32(value(unit)).unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    };
    Some(match kind {
        1 => characters(1, |unit| u32::from(unit[0])),
        2 => characters(2, |unit| u32::from(u16::from_ne_bytes([unit[0], unit[1]]))),
        _ => characters(4, |unit| {
            u32::from_ne_bytes([unit[0], unit[1], unit[2], unit[3]])
        }),
    })
}

/// What a `bytes` object holds (`Include/cpython/bytesobject.h`).
fn bytes_object(memory: Memory, address: u64) -> Option<Vec<u8>> {
    let length = memory
        .word(address.wrapping_add(OBJECT_SIZE))
        .filter(|length| *length <= MAX_BYTES)?;
    memory.bytes(
        address.wrapping_add(BYTES_START),
        usize::try_from(length).ok()?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        let named = |name: &str| {
            let frame = python_frame(name, &"/srv/app/worker.py".into(), 7);
            (frame.label.to_string(), frame.code.function.clone())
        };
        let expected = |label: &str, function: &str| (label.to_owned(), function.to_owned());
        assert_eq!(
            named("<module>"),
            expected("<module> (worker.py:7)", "<module>")
        );
        assert_eq!(
            named("numpy_ops.<locals>.add"),
            expected("add (worker.py:7)", "add")
        );
        assert_eq!(
            named("Thread.run"),
            expected("Thread.run (worker.py:7)", "run")
        );
        assert_eq!(
            named("f.<locals>.<lambda>"),
            expected("<lambda> (worker.py:7)", "<lambda>")
        );
    }

    #[test]
    fn a_frame_knows_its_line_unless_it_is_of_no_file() {
        let source = |file: &str, line| python_frame("f", &file.into(), line).code.source.clone();
        let known = SourceLine {
            file: "/srv/app/worker.py".into(),
            line: 7,
        };
        assert_eq!(source("/srv/app/worker.py", 7), Some(known));
        assert_eq!(source("/srv/app/worker.py", -1), None);
        assert_eq!(source("<string>", 1), None);
    }

    #[test]
    fn what_is_no_code_object_has_no_name() {
        let layout = Layout::of(12).unwrap();
        let memory = Memory::of(std::process::id());
        let nonsense = [u64::MAX; 64];
        let mut names = CodeNames::default();
        let at = nonsense.as_ptr() as u64;
        assert_eq!(names.frame(memory, &layout, at, 0), None);
        assert_eq!(names.frame(memory, &layout, 8, 0), None);
    }
}
