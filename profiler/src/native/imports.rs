//! Names for functions that have none of their own, by the names under which others import them.
//!
//! The C library ships without local symbols, and the variant of `memcpy` that it chose for this CPU is such a
//! local. But every file that calls it has a slot in which the loader put the chosen function's address, and the
//! slot has the name. In: the loaded files and the target's memory. Out: function starts with names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::symbol_store::SymbolStore;
use super::unwind::StackWalker;

/// Start addresses of functions (in the target) and the names under which they are imported.
pub type ImportedNames = BTreeMap<u64, String>;

/// Reads the import slots of all files that `walker` met. Without access to the target's memory there are no names.
pub fn imported_names(walker: &StackWalker, store: &mut SymbolStore) -> ImportedNames {
    let Ok(memory) = File::open(format!("/proc/{}/mem", walker.pid())) else {
        return ImportedNames::new();
    };
    let mut names: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for file in walker.loaded_files() {
        let symbols = store.of(&file);
        for import in symbols.iter().flat_map(|symbols| symbols.table.imports()) {
            let mut slot = [0; 8];
            if memory
                .read_exact_at(&mut slot, import.slot.wrapping_add(file.bias))
                .is_ok()
            {
                let function = u64::from_ne_bytes(slot);
                names
                    .entry(function)
                    .or_default()
                    .insert(import.name.clone());
            }
        }
    }
    names
        .into_iter()
        .filter_map(|(function, names)| {
            let file = walker.met_file_at(function)?;
            let start = store
                .of(file)?
                .table
                .unwind_entry_at(function.wrapping_sub(file.bias))?;
            Some((
                start.wrapping_add(file.bias),
                Vec::from_iter(names).join("/"),
            ))
        })
        .collect()
}
