//! The files that are mapped into the target: read when their code is met, and again when their names are wanted.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::debug_files;
use super::inlines::Inlines;
use super::layout::CodeLayout;
use super::maps::Mapping;
use super::symbol_table::SymbolTable;

/// A file mapped into the target, and how far it was moved from its own addresses.
#[derive(Debug)]
pub struct LoadedFile {
    /// The path as the target sees it.
    pub path: Arc<Path>,
    /// Address in the target minus address in the file.
    pub bias: u64,
    source: Source,
}

/// What a file says of its functions.
pub struct FileSymbols {
    /// Their names.
    pub table: SymbolTable,
    /// What was inlined into them, where that is known.
    pub inlines: Option<Inlines>,
}

#[derive(Debug)]
enum Source {
    /// A path as this process sees it.
    Path(PathBuf),
    /// Code that is in no file.
    Bytes(Vec<u8>),
    /// It can't be read.
    Nothing,
}

impl LoadedFile {
    /// The file behind a mapping of process `pid`, with where its code lies; that is `None` where it can't be read as ELF.
    pub(super) fn load(pid: u32, mapping: &Mapping) -> (LoadedFile, Option<CodeLayout>) {
        let source = Source::of(pid, mapping);
        let layout = source.layout();
        let address = layout
            .as_ref()
            .and_then(|layout| layout.address_of_offset(mapping.offset));
        let file = LoadedFile {
            path: Arc::clone(&mapping.path),
            bias: mapping
                .start
                .wrapping_sub(address.unwrap_or(mapping.offset)),
            source,
        };
        (file, layout)
    }

    /// What tells files apart whose symbols may differ: the path as this process sees it.
    pub(super) fn key(&self) -> &Path {
        match &self.source {
            Source::Path(path) => path,
            Source::Bytes(_) | Source::Nothing => &self.path,
        }
    }

    /// What the file, or its debug file, calls its functions; `None` where it can't be read as ELF.
    pub(super) fn read_names(&self) -> Option<SymbolTable> {
        let mut table = SymbolTable::parse(&self.source.read().ok()?).ok()?;
        if table.is_stripped()
            && let Some((_, debug)) = debug_files::find(&self.path, &table)
        {
            table.add_symbols_of(debug);
        }
        Some(table)
    }

    /// What the file, or its debug file, says of its functions; `None` where it can't be read as ELF.
    pub(super) fn read_symbols(&self) -> Option<FileSymbols> {
        let mut table = SymbolTable::parse(&self.source.read().ok()?).ok()?;
        let mut inlines = match &self.source {
            Source::Path(path) => Inlines::of(path, &table),
            _ => None,
        };
        if (table.is_stripped() || !table.has_dwarf())
            && let Some((path, debug)) = debug_files::find(&self.path, &table)
        {
            inlines = inlines.or_else(|| Inlines::of(&path, &debug));
            table.add_symbols_of(debug);
        }
        Some(FileSymbols { table, inlines })
    }
}

impl Source {
    /// Through the target's own root directory where that is another one; the vdso from the target's memory.
    fn of(pid: u32, mapping: &Mapping) -> Source {
        if mapping.path.as_os_str() == "[vdso]" {
            return read_memory(pid, mapping).map_or(Source::Nothing, Source::Bytes);
        }
        let Ok(inside) = mapping.path.strip_prefix("/") else {
            return Source::Nothing;
        };
        let as_the_target_sees_it = PathBuf::from(format!("/proc/{pid}/root")).join(inside);
        let here = mapping.path.to_path_buf();
        let range = format!("{:x}-{:x}", mapping.start, mapping.end);
        let deleted = PathBuf::from(format!("/proc/{pid}/map_files")).join(range);
        let there = identity(&as_the_target_sees_it);
        match as_the_target_sees_it.is_file() && there != identity(&here) {
            true => Source::Path(as_the_target_sees_it),
            // This one is still there when the target is gone.
            false if here.is_file() => Source::Path(here),
            false if deleted.is_file() => Source::Path(deleted),
            false => Source::Nothing,
        }
    }

    /// Reads no more of the file than it needs: it does so while samples come.
    fn layout(&self) -> Option<CodeLayout> {
        match self {
            Source::Path(path) => {
                let file = File::open(path).ok()?;
                let size = file.metadata().ok()?.len();
                let read = |range: Range<u64>| {
                    let inside = range.end <= size;
                    let length = range.end.checked_sub(range.start).filter(|_| inside)?;
                    let mut bytes = vec![0; usize::try_from(length).ok()?];
                    file.read_exact_at(&mut bytes, range.start).ok()?;
                    Some(bytes)
                };
                CodeLayout::read(&read).ok()
            }
            Source::Bytes(bytes) => CodeLayout::parse(bytes).ok(),
            Source::Nothing => None,
        }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Source::Path(path) => std::fs::read(path),
            Source::Bytes(bytes) => Ok(bytes.clone()),
            Source::Nothing => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// What tells a file from all others of this machine.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn read_memory(pid: u32, mapping: &Mapping) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(mapping.end - mapping.start).ok()?];
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    memory.read_exact_at(&mut bytes, mapping.start).ok()?;
    Some(bytes)
}
