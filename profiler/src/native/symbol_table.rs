//! What an ELF file calls its functions.
//!
//! Bytes in, owned tables out. Every offset and size in the file is checked: a truncated or foreign file is an error or
//! has fewer symbols, never a panic.

use goblin::elf::Elf;
use goblin::elf::note::NT_GNU_BUILD_ID;
use goblin::elf::reloc::{R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT};
use goblin::elf::section_header::SHF_COMPRESSED;
use goblin::elf::sym::STT_FUNC;

/// No compressed debug information unpacks to so many times its size; zlib can't, whatever is in it.
const MAX_EXPANSION: u64 = 1032;

/// The functions of an ELF file. Addresses are the file's own (SVMA).
#[derive(Debug, Default)]
pub struct SymbolTable {
    symbols: Vec<Symbol>,
    function_starts: Vec<u64>,
    imports: Vec<Import>,
    build_id: Option<Vec<u8>>,
    debug_link: Option<String>,
    shared_debug_link: Option<SharedDebugLink>,
    stripped: bool,
    dwarf: bool,
}

/// Where debug information is that a file shares with others (`.gnu_debugaltlink`, as dwz writes it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedDebugLink {
    /// The file's path, from the directory of the one that names it.
    pub path: String,
    /// The file's build id.
    pub build_id: Vec<u8>,
}

/// A function that the file takes from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Where the loader writes the function's address (SVMA).
    pub slot: u64,
    /// The function's name.
    pub name: String,
}

/// A function's name and extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Address of the first instruction (SVMA).
    pub address: u64,
    /// Length in bytes; 0 where the file does not say.
    pub size: u64,
    /// The name as it stands in the file (mangled).
    pub name: String,
}

impl SymbolTable {
    /// Reads the symbols out of a whole ELF file.
    ///
    /// # Errors
    /// The parser's own message when `bytes` is not a readable ELF file.
    pub fn parse(bytes: &[u8]) -> Result<SymbolTable, goblin::error::Error> {
        let elf = Elf::parse(bytes)?;
        Ok(SymbolTable {
            symbols: function_symbols(&elf),
            function_starts: function_starts(&elf, bytes).unwrap_or_default(),
            imports: imports(&elf),
            build_id: build_id(&elf, bytes),
            debug_link: debug_link(&elf, bytes),
            shared_debug_link: shared_debug_link(&elf, bytes),
            stripped: elf.syms.is_empty(),
            dwarf: has_dwarf(&elf, bytes),
        })
    }

    /// What identifies the build: a debug file has the same.
    pub fn build_id(&self) -> Option<&[u8]> {
        self.build_id.as_deref()
    }

    /// Name of the file that holds the symbols.
    pub fn debug_link(&self) -> Option<&str> {
        self.debug_link.as_deref()
    }

    /// The file with what this one's debug information refers to.
    pub fn shared_debug_link(&self) -> Option<&SharedDebugLink> {
        self.shared_debug_link.as_ref()
    }

    /// Whether the file has no symbols but those that others may import.
    pub fn is_stripped(&self) -> bool {
        self.stripped
    }

    /// Whether the file has debug information that can be read.
    pub fn has_dwarf(&self) -> bool {
        self.dwarf
    }

    /// Takes over the symbols of the debug file.
    pub fn add_symbols_of(&mut self, debug: SymbolTable) {
        self.symbols.extend(debug.symbols);
        order(&mut self.symbols);
    }

    /// The functions that the file takes from others.
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// The function that holds `address`: by symbol, else by the extent in the unwind table.
    pub fn function_at(&self, address: u64) -> Option<Function<'_>> {
        self.symbol_at(address)
            .map(Function::Named)
            .or_else(|| self.unwind_entry_at(address).map(Function::Nameless))
    }

    fn symbol_at(&self, address: u64) -> Option<&Symbol> {
        let after = self
            .symbols
            .partition_point(|symbol| symbol.address <= address);
        self.symbols[..after]
            .last()
            .filter(|symbol| symbol.size == 0 || address - symbol.address < symbol.size)
    }

    /// Start of the function that holds `address`, by the unwind table.
    pub fn unwind_entry_at(&self, address: u64) -> Option<u64> {
        let after = self
            .function_starts
            .partition_point(|start| *start <= address);
        self.function_starts[..after].last().copied()
    }
}

/// What is known of the function at an address.
#[derive(Debug, PartialEq, Eq)]
pub enum Function<'a> {
    /// The symbol table names it.
    Named(&'a Symbol),
    /// Only its start is known (SVMA).
    Nameless(u64),
}

fn section_header<'a>(elf: &'a Elf<'_>, name: &str) -> Option<&'a goblin::elf::SectionHeader> {
    elf.section_headers
        .iter()
        .find(|header| elf.shdr_strtab.get_at(header.sh_name) == Some(name))
}

/// Whether there is DWARF, and none of it claims to be larger than its compressed form can become: whoever decompresses it
/// allocates first. The older form of compression (`.zdebug_info`) is not read.
fn has_dwarf(elf: &Elf<'_>, bytes: &[u8]) -> bool {
    let old = |name: &str| name.starts_with(".zdebug");
    elf.is_64
        && elf.little_endian
        && section_header(elf, ".debug_info").is_some()
        && elf.section_headers.iter().all(|header| {
            let compressed = header.sh_flags & u64::from(SHF_COMPRESSED) != 0;
            !elf.shdr_strtab.get_at(header.sh_name).is_some_and(old)
                && (!compressed || can_expand(header, bytes) == Some(true))
        })
}

/// Whether a compressed section has the length that it claims (gABI, "Compression header": type, padding, size).
fn can_expand(header: &goblin::elf::SectionHeader, bytes: &[u8]) -> Option<bool> {
    let data = bytes.get(header.file_range()?)?;
    let claimed = u64::from_le_bytes(data.get(8..16)?.try_into().ok()?);
    Some(claimed <= MAX_EXPANSION.saturating_mul(data.len() as u64))
}

/// Where functions start, from the search table of `.eh_frame_hdr` in the one form that linkers write
/// (LSB Core, "DWARF Extensions": pc-relative frame pointer, udata4 count, datarel sdata4 rows).
fn function_starts(elf: &Elf<'_>, bytes: &[u8]) -> Option<Vec<u64>> {
    let header = section_header(elf, ".eh_frame_hdr")?;
    let data = bytes.get(header.file_range()?)?;
    if data.get(..4)? != [1, 0x1b, 0x03, 0x3b] {
        return None;
    }
    let start_of = |row: &[u8]| {
        let relative = i32::from_le_bytes([row[0], row[1], row[2], row[3]]);
        header.sh_addr.wrapping_add_signed(relative.into())
    };
    Some(data.get(12..)?.chunks_exact(8).map(start_of).collect())
}

/// Undefined functions with the slots that the loader fills (x86-64 psABI, table 4.9: relocation types).
fn imports(elf: &Elf<'_>) -> Vec<Import> {
    let filled = |kind: u32| matches!(kind, R_X86_64_JUMP_SLOT | R_X86_64_GLOB_DAT);
    elf.pltrelocs
        .iter()
        .chain(elf.dynrelas.iter())
        .filter(|reloc| filled(reloc.r_type))
        .filter_map(|reloc| {
            let symbol = elf
                .dynsyms
                .get(reloc.r_sym)
                .filter(|symbol| symbol.st_value == 0)?;
            let name = elf
                .dynstrtab
                .get_at(symbol.st_name)
                .filter(|name| !name.is_empty())?;
            Some(Import {
                slot: reloc.r_offset,
                name: name.to_owned(),
            })
        })
        .collect()
}

/// Function symbols of `.symtab` and `.dynsym`, ordered by address, one a place.
fn function_symbols(elf: &Elf<'_>) -> Vec<Symbol> {
    let named = elf.syms.iter().map(|symbol| (symbol, &elf.strtab));
    let exported = elf.dynsyms.iter().map(|symbol| (symbol, &elf.dynstrtab));
    let mut symbols: Vec<Symbol> = named
        .chain(exported)
        .filter(|(symbol, _)| symbol.st_type() == STT_FUNC && symbol.st_value != 0)
        .filter_map(|(symbol, names)| {
            let name = names
                .get_at(symbol.st_name)
                .filter(|name| !name.is_empty())?;
            Some(Symbol {
                address: symbol.st_value,
                size: symbol.st_size,
                name: name.to_owned(),
            })
        })
        .collect();
    order(&mut symbols);
    symbols
}

fn order(symbols: &mut Vec<Symbol>) {
    symbols.sort_by(|a, b| a.address.cmp(&b.address).then(b.size.cmp(&a.size)));
    symbols.dedup_by_key(|symbol| symbol.address);
}

fn build_id(elf: &Elf<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
    elf.iter_note_sections(bytes, Some(".note.gnu.build-id"))?
        .filter_map(Result::ok)
        .find(|note| note.n_type == NT_GNU_BUILD_ID)
        .map(|note| note.desc.to_vec())
}

/// The name that `.gnu_debuglink` begins with; a checksum follows it.
fn debug_link(elf: &Elf<'_>, bytes: &[u8]) -> Option<String> {
    let range = section_header(elf, ".gnu_debuglink")?.file_range()?;
    let name = bytes.get(range)?.split(|byte| *byte == 0).next()?;
    String::from_utf8(name.to_vec()).ok()
}

fn shared_debug_link(elf: &Elf<'_>, bytes: &[u8]) -> Option<SharedDebugLink> {
    let data = bytes.get(section_header(elf, ".gnu_debugaltlink")?.file_range()?)?;
    let end = data.iter().position(|byte| *byte == 0)?;
    Some(SharedDebugLink {
        path: String::from_utf8(data[..end].to_vec()).ok()?,
        build_id: data[end + 1..].to_vec(),
    })
}

#[cfg(test)]
impl SymbolTable {
    pub(super) fn named(&self, name: &str) -> Option<&Symbol> {
        self.symbols.iter().find(|symbol| symbol.name == name)
    }

    /// A stripped file with a build id and a debug link.
    pub(super) fn stripped_with(build_id: Vec<u8>, debug_link: &str) -> SymbolTable {
        SymbolTable {
            build_id: Some(build_id),
            debug_link: Some(debug_link.to_owned()),
            stripped: true,
            ..SymbolTable::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_bytes() -> Vec<u8> {
        std::fs::read("/proc/self/exe").unwrap()
    }

    #[test]
    fn finds_a_function_of_this_very_program() {
        let elf = SymbolTable::parse(&own_bytes()).unwrap();
        let symbol = elf
            .symbols
            .iter()
            .find(|symbol| symbol.size > 64)
            .unwrap()
            .clone();
        match elf.function_at(symbol.address + symbol.size / 2).unwrap() {
            Function::Named(found) => assert_eq!(found, &symbol),
            Function::Nameless(start) => panic!("no name for the function at {start:#x}"),
        }
    }

    #[test]
    fn the_unwind_table_knows_where_functions_start() {
        let mut elf = SymbolTable::parse(&own_bytes()).unwrap();
        let inside = elf
            .symbols
            .iter()
            .filter(|symbol| symbol.size > 64)
            .nth(20)
            .unwrap()
            .clone();
        elf.symbols.clear();
        assert_eq!(
            elf.function_at(inside.address + 32),
            Some(Function::Nameless(inside.address))
        );
    }

    #[test]
    fn truncated_files_are_errors_or_empty_but_never_panic() {
        let bytes = own_bytes();
        for length in [0, 1, 16, 63, 64, 65, 1000, bytes.len() / 2, bytes.len() - 1] {
            if let Ok(elf) = SymbolTable::parse(&bytes[..length]) {
                let _ = elf.function_at(0x1000);
            }
        }
        assert!(SymbolTable::parse(b"#!/bin/sh\n").is_err());
    }
}
