//! Symbols of files and of the kernel, read once however many processes share them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::files::{FileSymbols, LoadedFile};
use super::kallsyms::Kallsyms;

/// Symbols that were wanted so far.
#[derive(Default)]
pub struct SymbolStore {
    files: HashMap<PathBuf, Option<Rc<FileSymbols>>>,
    kernel: Option<Kallsyms>,
}

impl SymbolStore {
    /// The symbols of a file; `None` where it can't be read as ELF.
    pub fn of(&mut self, file: &LoadedFile) -> Option<Rc<FileSymbols>> {
        if let Some(known) = self.files.get(file.key()) {
            return known.clone();
        }
        let symbols = file.read_symbols().map(Rc::new);
        self.files.insert(file.key().to_owned(), symbols.clone());
        symbols
    }

    /// The kernel's symbols; none where it does not show them.
    pub fn kernel(&mut self) -> &Kallsyms {
        self.kernel
            .get_or_insert_with(|| Kallsyms::read().unwrap_or_default())
    }
}
