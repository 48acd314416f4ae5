//! Which line of source an address is, and which functions a compiler put into others there, as DWARF tells.
//!
//! In: a file with DWARF, and addresses of the file's own (SVMA). Out: the line, and the linkage names of the functions that were inlined
//! with their lines.
//! The file is mapped and its units are listed at the first address that is asked for; of a unit no more is read than an address in it needs.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use addr2line::{Loader, Location};

use super::debug_files;
use super::symbol_table::SymbolTable;
use crate::source_lines::SourceLine;

/// Rust's own library stands under a path that no machine has: what is inlined of it stands in the line that calls it.
const RUST_LIBRARY: &str = "/rustc/";

/// What DWARF says of an address.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line of the function that has code of its own.
    pub source: Option<SourceLine>,
    /// The functions inlined there, outermost first, and the line of each.
    pub inlined: Vec<(String, Option<SourceLine>)>,
}

/// What a file's DWARF says of lines and inlined functions.
pub struct Inlines {
    path: PathBuf,
    shared: Option<PathBuf>,
    loader: OnceCell<Option<Loader>>,
}

impl Inlines {
    /// Of the file at `path` with the symbols `table`, whose DWARF is not read yet; `None` where it has none.
    pub fn of(path: &Path, table: &SymbolTable) -> Option<Inlines> {
        table.has_dwarf().then(|| Inlines {
            path: path.to_owned(),
            shared: debug_files::find_shared(path, table),
            loader: OnceCell::new(),
        })
    }

    /// What is at `address`. Nothing where the DWARF can't be read so far.
    pub fn at(&self, address: u64) -> Place {
        let loader = self
            .loader
            .get_or_init(|| Loader::new_with_sup(&self.path, self.shared.as_ref()).ok());
        let mut functions = loader
            .as_ref()
            .and_then(|loader| functions_at(loader, address))
            .unwrap_or_default();
        // The last is the function itself, which the symbol table names better (`run.cold`).
        let (_, source) = functions.pop().unwrap_or_default();
        let mut caller = source.clone();
        let mut inlined = Vec::with_capacity(functions.len());
        for (name, source) in functions.into_iter().rev() {
            caller = source.or(caller);
            inlined.extend(name.map(|name| (name, caller.clone())));
        }
        Place { source, inlined }
    }
}

/// A function's name and line, as far as they are known.
type Function = (Option<String>, Option<SourceLine>);

/// From the innermost function to the one that has code of its own.
fn functions_at(loader: &Loader, address: u64) -> Option<Vec<Function>> {
    let mut frames = loader.find_frames(address).ok()?;
    let mut functions = Vec::new();
    while let Some(frame) = frames.next().ok()? {
        let name = frame
            .function
            .and_then(|function| Some(function.raw_name().ok()?.into_owned()));
        functions.push((name, frame.location.as_ref().and_then(source_line)));
    }
    Some(functions)
}

fn source_line(location: &Location<'_>) -> Option<SourceLine> {
    let file = location
        .file
        .filter(|file| !file.starts_with(RUST_LIBRARY))?;
    let line = location.line.filter(|line| *line > 0)?;
    Some(SourceLine {
        file: file.into(),
        line,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const PROGRAM: &str = "
#define INLINED static inline __attribute__((always_inline))
INLINED int innermost(volatile int *at) { return *at * *at; }
INLINED int middle(volatile int *at) { return innermost(at) + *at; }
__attribute__((noinline)) int outer(volatile int *at) { return middle(at) - *at; }
int main(int count, char **arguments) { return outer(&count); }
";

    /// The program with and without debug information; `None` where there is no compiler.
    fn compiled(directory: &Path, flag: &str) -> Option<PathBuf> {
        let (source, program) = (directory.join("x.c"), directory.join(format!("x{flag}")));
        std::fs::write(&source, PROGRAM).unwrap();
        let cc = Command::new("cc")
            .args(flag.split(' '))
            .args(["-O2", "-o"])
            .args([&program, &source])
            .status();
        if cc.is_err() {
            eprintln!("skipped: there is no C compiler (cc)");
            return None;
        }
        assert!(cc.unwrap().success());
        Some(program)
    }

    /// What is at each byte of `outer`.
    fn places_in_outer(program: &Path) -> Vec<Place> {
        let table = SymbolTable::parse(&std::fs::read(program).unwrap()).unwrap();
        let outer = table.named("outer").unwrap();
        let inlines = Inlines::of(program, &table);
        let at = |address| {
            inlines
                .as_ref()
                .map_or_else(Place::default, |inlines| inlines.at(address))
        };
        (outer.address..outer.address + outer.size)
            .map(at)
            .collect()
    }

    /// What is inlined at each byte of `outer`.
    fn inlined_in_outer(program: &Path) -> Vec<Vec<String>> {
        let names = |place: Place| place.inlined.into_iter().map(|(name, _)| name).collect();
        places_in_outer(program).into_iter().map(names).collect()
    }

    #[test]
    fn each_function_stands_in_its_own_line() {
        let directory = tempfile::tempdir().unwrap();
        let Some(program) = compiled(directory.path(), "-g") else {
            return;
        };
        let lines = |place: &Place| -> Vec<u32> {
            let inlined = place.inlined.iter().map(|(_, source)| source);
            let all = std::iter::once(&place.source).chain(inlined);
            all.flatten().map(|source| source.line).collect()
        };
        let places = places_in_outer(&program);
        assert!(
            places.iter().any(|place| lines(place) == [5, 4, 3]),
            "{places:?}"
        );
        let source = directory.path().join("x.c");
        let mut files = places.iter().filter_map(|place| place.source.as_ref());
        assert!(files.all(|line| Path::new(&*line.file) == source));
    }

    #[test]
    fn what_is_inlined_stands_from_the_outside_to_the_inside() {
        let directory = tempfile::tempdir().unwrap();
        let Some(program) = compiled(directory.path(), "-g") else {
            return;
        };
        let found = inlined_in_outer(&program);
        for expected in [&[][..], &["middle"], &["middle", "innermost"]] {
            assert!(found.iter().any(|names| names == expected), "{found:?}");
        }
        assert!(found.iter().all(|names| names.len() <= 2), "{found:?}");
    }

    #[test]
    fn compressed_dwarf_is_read_unless_it_claims_too_much() {
        let directory = tempfile::tempdir().unwrap();
        let Some(program) = compiled(directory.path(), "-g -gz") else {
            return;
        };
        assert!(
            inlined_in_outer(&program)
                .iter()
                .any(|names| !names.is_empty())
        );
        let mut bytes = std::fs::read(&program).unwrap();
        let elf = goblin::elf::Elf::parse(&bytes).unwrap();
        let mut sections = elf.section_headers.iter();
        let compressed = sections.find(|header| header.sh_flags & 0x800 != 0);
        let at = compressed.unwrap().sh_offset as usize + 8;
        bytes[at..at + 8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
        let table = SymbolTable::parse(&bytes).unwrap();
        assert!(Inlines::of(&program, &table).is_none());
    }

    #[test]
    fn without_dwarf_nothing_is_inlined() {
        let directory = tempfile::tempdir().unwrap();
        let Some(program) = compiled(directory.path(), "-g0") else {
            return;
        };
        assert!(inlined_in_outer(&program).iter().all(Vec::is_empty));
    }
}
