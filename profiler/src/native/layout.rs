//! Where the code of an ELF file lies and what its unwind tables are: all that walking stacks needs.
//!
//! Bytes in, owned tables out. Headers and tables alone are read, so that a file that is met while samples come costs little,
//! however large. Every offset is checked: a truncated or foreign file is an error or has no tables, never a panic.

use std::ops::Range;
use std::sync::Arc;

use framehop::ExplicitModuleSectionInfo;
use goblin::container::Ctx;
use goblin::elf::program_header::{PF_X, PT_LOAD};
use goblin::elf::{Elf, ProgramHeader, SectionHeader};

use super::saved_registers::Tables;

/// Size of the file header of a 64-bit ELF file.
const HEADER_BYTES: u64 = 64;

/// A section's address in the file's own address space and its bytes.
type Section = (Range<u64>, Arc<[u8]>);

/// Segments and unwind tables. Addresses are the file's own (SVMA).
#[derive(Debug)]
pub struct CodeLayout {
    /// The executable ones: a page of the file may lie in several segments, at a different distance in each.
    segments: Vec<Segment>,
    text: Option<Range<u64>>,
    got: Option<Range<u64>>,
    eh_frame: Option<Section>,
    eh_frame_hdr: Option<Section>,
    debug_frame: Option<Arc<[u8]>>,
}

#[derive(Debug)]
struct Segment {
    offset: u64,
    address: u64,
    size: u64,
}

impl CodeLayout {
    /// Reads the headers and the unwind tables of an ELF file; `read` gives the bytes at a range of offsets, if the file has them.
    ///
    /// # Errors
    /// The parser's own message when it is not a readable ELF file.
    pub fn read(
        read: &dyn Fn(Range<u64>) -> Option<Vec<u8>>,
    ) -> Result<CodeLayout, goblin::error::Error> {
        // From one byte before, since the parser takes a table at offset 0 for none.
        let table = |offset: u64, count: u16, size: u16| {
            let bytes = u64::from(count) * u64::from(size);
            let range = offset.saturating_sub(1)..offset.saturating_add(bytes);
            read(range).ok_or_else(cut)
        };
        let header = Elf::parse_header(&read(0..HEADER_BYTES).ok_or_else(cut)?)?;
        let context = Ctx::new(header.container()?, header.endianness()?);
        let bytes = table(header.e_phoff, header.e_phnum, header.e_phentsize)?;
        let segments = ProgramHeader::parse(&bytes, 1, header.e_phnum.into(), context)?
            .into_iter()
            .filter(|segment| segment.p_type == PT_LOAD && segment.p_flags & PF_X != 0)
            .map(|segment| Segment {
                offset: segment.p_offset,
                address: segment.p_vaddr,
                size: segment.p_filesz,
            })
            .collect();
        let bytes = table(header.e_shoff, header.e_shnum, header.e_shentsize)?;
        let headers = SectionHeader::parse(&bytes, 1, header.e_shnum.into(), context)?;
        let names = headers.get(usize::from(header.e_shstrndx));
        let sections = Sections {
            read,
            names: names.and_then(|names| read(in_file(names)?)),
            headers: &headers,
        };
        Ok(CodeLayout {
            segments,
            text: sections.range(".text"),
            got: sections.range(".got"),
            eh_frame: sections.get(".eh_frame"),
            eh_frame_hdr: sections.get(".eh_frame_hdr"),
            debug_frame: sections.get(".debug_frame").map(|(_, data)| data),
        })
    }

    /// As [`CodeLayout::read`], from a whole file.
    ///
    /// # Errors
    /// The parser's own message when `bytes` is not a readable ELF file.
    pub fn parse(bytes: &[u8]) -> Result<CodeLayout, goblin::error::Error> {
        CodeLayout::read(&|range| {
            let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
            bytes.get(range).map(<[u8]>::to_vec)
        })
    }

    /// Translates an offset in the file, within its code, to the file's own address space.
    pub fn address_of_offset(&self, offset: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| {
            // The loader maps whole pages, so a mapping may begin before its segment does.
            let page_start = segment.offset & !0xfff;
            (page_start..segment.offset.saturating_add(segment.size)).contains(&offset)
        })?;
        offset
            .checked_add(segment.address)?
            .checked_sub(segment.offset)
    }

    /// Whether there are tables to walk stacks by.
    pub fn has_unwind_tables(&self) -> bool {
        self.eh_frame.is_some() || self.debug_frame.is_some()
    }

    /// The tables that tell where registers are saved.
    pub fn tables(&self) -> Option<Tables> {
        let section = |section: &Option<Section>| {
            let (range, bytes) = section.as_ref()?;
            Some((range.start, Arc::clone(bytes)))
        };
        let start = |range: &Option<Range<u64>>| range.as_ref().map_or(0, |range| range.start);
        Some(Tables {
            header: section(&self.eh_frame_hdr)?,
            frames: section(&self.eh_frame)?,
            text: start(&self.text),
            got: start(&self.got),
        })
    }

    /// The section data as framehop takes it.
    pub fn unwind_sections(&self) -> ExplicitModuleSectionInfo<Arc<[u8]>> {
        ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: self.text.clone(),
            got_svma: self.got.clone(),
            eh_frame_svma: self.eh_frame.as_ref().map(|(range, _)| range.clone()),
            eh_frame: self.eh_frame.as_ref().map(|(_, data)| Arc::clone(data)),
            eh_frame_hdr_svma: self.eh_frame_hdr.as_ref().map(|(range, _)| range.clone()),
            eh_frame_hdr: self.eh_frame_hdr.as_ref().map(|(_, data)| Arc::clone(data)),
            debug_frame: self.debug_frame.clone(),
            ..Default::default()
        }
    }
}

struct Sections<'a> {
    read: &'a dyn Fn(Range<u64>) -> Option<Vec<u8>>,
    names: Option<Vec<u8>>,
    headers: &'a [SectionHeader],
}

impl Sections<'_> {
    fn find(&self, name: &str) -> Option<&SectionHeader> {
        let names = self.names.as_ref()?;
        self.headers.iter().find(|header| {
            let rest = names.get(header.sh_name..).unwrap_or_default();
            rest.strip_prefix(name.as_bytes())
                .is_some_and(|rest| rest.first() == Some(&0))
        })
    }

    fn range(&self, name: &str) -> Option<Range<u64>> {
        let header = self.find(name)?;
        Some(header.sh_addr..header.sh_addr.checked_add(header.sh_size)?)
    }

    fn get(&self, name: &str) -> Option<Section> {
        let data = (self.read)(in_file(self.find(name)?)?)?;
        Some((self.range(name)?, data.into()))
    }
}

/// Where a section's bytes are; `None` of one that has none.
fn in_file(header: &SectionHeader) -> Option<Range<u64>> {
    let range = header.file_range()?;
    Some(range.start as u64..range.end as u64)
}

fn cut() -> goblin::error::Error {
    goblin::error::Error::Malformed("the file ends before its headers do".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_has_code_and_unwind_tables() {
        let layout = CodeLayout::parse(&std::fs::read("/proc/self/exe").unwrap()).unwrap();
        let text = layout.text.as_ref().unwrap();
        assert!(layout.eh_frame.is_some() && layout.eh_frame_hdr.is_some());
        let segment = &layout.segments[0];
        assert_eq!(
            layout.address_of_offset(segment.offset),
            Some(segment.address)
        );
        assert!((segment.address..segment.address + segment.size).contains(&text.start));
        assert_eq!(layout.address_of_offset(u64::MAX), None);
    }

    #[test]
    fn truncated_files_are_errors_or_empty_but_never_panic() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        for length in [0, 1, 16, 63, 64, 65, 1000, bytes.len() / 2, bytes.len() - 1] {
            if let Ok(layout) = CodeLayout::parse(&bytes[..length]) {
                let _ = layout.unwind_sections();
            }
        }
        assert!(CodeLayout::parse(b"#!/bin/sh\n").is_err());
    }
}
