//! Where functions save the registers that they must leave as they found them, by the unwind tables: with that, the
//! registers of a caller are known as they were when it called.
//!
//! Pure, but for what it remembers. In: the tables of one file and addresses in it. Out: distances from the end of the function's frame.

use std::collections::HashMap;
use std::sync::Arc;

use gimli::{
    BaseAddresses, EhFrame, EhFrameHdr, NativeEndian, Register, RegisterRule, UnwindContext,
    UnwindSection, X86_64,
};

/// The registers: rbx, rbp, r12 to r15.
pub type Saved<T> = [T; 6];

const REGISTERS: Saved<Register> = [
    X86_64::RBX,
    X86_64::RBP,
    X86_64::R12,
    X86_64::R13,
    X86_64::R14,
    X86_64::R15,
];

/// The unwind tables of one file.
pub struct SavedRegisters {
    tables: Option<Tables>,
    known: HashMap<u64, Option<Saved<Option<i64>>>>,
}

/// Sections and their addresses (SVMA).
pub struct Tables {
    /// `.eh_frame_hdr`.
    pub header: (u64, Arc<[u8]>),
    /// `.eh_frame`.
    pub frames: (u64, Arc<[u8]>),
    /// Start of `.text`.
    pub text: u64,
    /// Start of `.got`.
    pub got: u64,
}

impl SavedRegisters {
    /// With the tables of a file, where it has them.
    pub fn new(tables: Option<Tables>) -> SavedRegisters {
        SavedRegisters {
            tables,
            known: HashMap::new(),
        }
    }

    /// How far from the end of the frame (CFA) the function that is at `address` (SVMA) has saved each register; `None` for one
    /// that it has not changed. `None` altogether where the tables do not tell.
    pub fn at(&mut self, address: u64) -> Option<Saved<Option<i64>>> {
        if let Some(known) = self.known.get(&address) {
            return *known;
        }
        let found = self
            .tables
            .as_ref()
            .and_then(|tables| tables.find(address).ok().flatten());
        self.known.insert(address, found);
        found
    }
}

impl Tables {
    fn find(&self, address: u64) -> gimli::Result<Option<Saved<Option<i64>>>> {
        let bases = BaseAddresses::default()
            .set_eh_frame_hdr(self.header.0)
            .set_eh_frame(self.frames.0)
            .set_text(self.text)
            .set_got(self.got);
        let header = EhFrameHdr::new(&self.header.1, NativeEndian).parse(&bases, 8)?;
        let Some(table) = header.table() else {
            return Ok(None);
        };
        let frames = EhFrame::new(&self.frames.1, NativeEndian);
        let mut context = UnwindContext::new();
        let row = table.unwind_info_for_address(
            &frames,
            &bases,
            &mut context,
            address,
            EhFrame::cie_from_offset,
        )?;
        let mut saved = [None; 6];
        for (saved, register) in saved.iter_mut().zip(REGISTERS) {
            *saved = match row.register(register) {
                Some(RegisterRule::Offset(offset)) => Some(offset),
                None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => None,
                Some(_) => return Ok(None),
            };
        }
        Ok(Some(saved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::layout::CodeLayout;
    use crate::native::symbol_table::SymbolTable;

    #[test]
    fn libc_saves_registers_below_the_return_address() {
        let maps = crate::native::maps::Maps::read(std::process::id()).unwrap();
        let here = libc::qsort as *const () as u64;
        let path = &maps.find(here).unwrap().path;
        let bytes = std::fs::read(path).unwrap();
        let layout = CodeLayout::parse(&bytes).unwrap();
        let starts = SymbolTable::parse(&bytes).unwrap();
        let mut tables = SavedRegisters::new(layout.tables());
        let mapping = maps.find(here).unwrap();
        let start = here - mapping.start + layout.address_of_offset(mapping.offset).unwrap();
        assert_eq!(starts.unwind_entry_at(start), Some(start));
        assert_eq!(tables.at(start), Some([None; 6]));
        let places = (start..start + 64).filter_map(|address| tables.at(address));
        assert!(places.flatten().flatten().all(|offset| offset <= -16));
        assert_eq!(tables.at(0), None);
    }

    #[test]
    fn no_tables_tell_nothing() {
        assert_eq!(SavedRegisters::new(None).at(0x1000), None);
        let garbage: Arc<[u8]> = vec![0xff; 64].into();
        let tables = Tables {
            header: (0, Arc::clone(&garbage)),
            frames: (64, garbage),
            text: 0,
            got: 0,
        };
        assert_eq!(SavedRegisters::new(Some(tables)).at(16), None);
    }
}
