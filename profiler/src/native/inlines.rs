//! Which functions a compiler put into others, as DWARF tells.
//!
//! In: a file with DWARF, and addresses of the file's own (SVMA). Out: the linkage names of the functions that were inlined there.
//! The file is mapped and its units are listed at the first address that is asked for; of a unit no more is read than an address in it needs.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use addr2line::Loader;

use super::debug_files;
use super::symbol_table::SymbolTable;

/// What a file's DWARF says of inlined functions.
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

    /// The functions inlined at `address`, outermost first, without the function that they are in. None where the DWARF can't be read
    /// so far.
    pub fn at(&self, address: u64) -> Vec<String> {
        let loader = self
            .loader
            .get_or_init(|| Loader::new_with_sup(&self.path, self.shared.as_ref()).ok());
        let mut names = loader
            .as_ref()
            .and_then(|loader| names_at(loader, address))
            .unwrap_or_default();
        // The last is the function itself, which the symbol table names better (`run.cold`).
        names.pop();
        names.into_iter().rev().flatten().collect()
    }
}

/// From the innermost function to the one that has code of its own; some may have no name.
fn names_at(loader: &Loader, address: u64) -> Option<Vec<Option<String>>> {
    let mut frames = loader.find_frames(address).ok()?;
    let mut names = Vec::new();
    while let Some(frame) = frames.next().ok()? {
        names.push(frame.function.and_then(|function| {
            let name = function.raw_name().ok()?;
            Some(name.into_owned())
        }));
    }
    Some(names)
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

    /// What is inlined at each byte of `outer`.
    fn inlined_in_outer(program: &Path) -> Vec<Vec<String>> {
        let table = SymbolTable::parse(&std::fs::read(program).unwrap()).unwrap();
        let outer = table.named("outer").unwrap();
        let inlines = Inlines::of(program, &table);
        let at = |address| {
            inlines
                .as_ref()
                .map_or_else(Vec::new, |inlines| inlines.at(address))
        };
        (outer.address..outer.address + outer.size)
            .map(at)
            .collect()
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
