//! Walks a stack copy to the code addresses of its callers, with framehop and the files' unwind tables.
//!
//! In: instruction, stack and frame pointer of a sample and the bytes above the stack pointer. Out: addresses,
//! and whether the walk reached the thread's first function. Files are read when the first address in
//! them is met.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, Module, Unwinder as _};

use super::debug_files;
use super::elf::ElfCode;
use super::maps::{Mapping, Maps};

/// No real stack is deeper; a loop in broken unwind tables is.
const MAX_FRAMES: usize = 4096;

/// The registers that unwinding on x86-64 needs.
#[derive(Debug, Clone, Copy)]
pub struct Registers {
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer: the address of the first byte of the stack copy.
    pub sp: u64,
    /// Frame pointer.
    pub bp: u64,
}

/// The code addresses of one native stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NativeStack {
    /// From leaf to root. Callers' addresses point into the call instruction, not behind it.
    pub addresses: Vec<u64>,
    /// Whether the walk ended at the thread's first function.
    pub complete: bool,
}

/// A file mapped into the target, and how far it was moved from its own addresses.
#[derive(Debug)]
pub struct LoadedFile {
    /// The path as the target sees it.
    pub path: Arc<Path>,
    /// Address in the target minus address in the file.
    pub bias: u64,
    /// What the file says of its code; `None` where it can't be read as ELF.
    pub code: Option<ElfCode>,
}

/// Unwinds stacks of one process.
pub struct StackWalker {
    pid: u32,
    maps: Maps,
    files: HashMap<u64, Arc<LoadedFile>>,
    unwinder: UnwinderX86_64<Arc<[u8]>>,
    cache: CacheX86_64,
}

impl StackWalker {
    /// A walker for process `pid`, whose executable mappings are `maps`.
    pub fn new(pid: u32, maps: Maps) -> StackWalker {
        StackWalker {
            pid,
            maps,
            files: HashMap::new(),
            unwinder: UnwinderX86_64::new(),
            cache: CacheX86_64::new(),
        }
    }

    /// Takes note of a new executable mapping.
    pub fn map(&mut self, mapping: Mapping) {
        let covered = |start: &u64| (mapping.start..mapping.end).contains(start);
        for start in self
            .files
            .keys()
            .copied()
            .filter(covered)
            .collect::<Vec<_>>()
        {
            self.files.remove(&start);
            self.unwinder.remove_module(start);
        }
        self.maps.insert(mapping);
    }

    /// The target.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The files met so far.
    pub fn loaded_files(&self) -> Vec<Arc<LoadedFile>> {
        self.files.values().cloned().collect()
    }

    /// Start of the function that holds `address` by the unwind table of its file, if that file was met.
    pub fn function_start(&self, address: u64) -> Option<u64> {
        let file = self.files.get(&self.maps.find(address)?.start)?;
        let start = file
            .code
            .as_ref()?
            .unwind_entry_at(address.wrapping_sub(file.bias))?;
        Some(start.wrapping_add(file.bias))
    }

    /// The file that holds code at `address`, read at the first call.
    pub fn file_at(&mut self, address: u64) -> Option<Arc<LoadedFile>> {
        let mapping = self.maps.find(address)?.clone();
        if let Some(file) = self.files.get(&mapping.start) {
            return Some(Arc::clone(file));
        }
        let file = Arc::new(self.load(&mapping));
        if let Some(code) = &file.code {
            self.unwinder.add_module(Module::new(
                file.path.to_string_lossy().into_owned(),
                mapping.start..mapping.end,
                file.bias,
                code.unwind_sections(),
            ));
        }
        self.files.insert(mapping.start, Arc::clone(&file));
        Some(file)
    }

    fn load(&self, mapping: &Mapping) -> LoadedFile {
        let bytes = read_mapped_file(self.pid, mapping);
        let mut code = bytes.and_then(|bytes| ElfCode::parse(&bytes).ok());
        if let Some(code) = code.as_mut().filter(|code| code.is_stripped())
            && let Some(debug) = debug_files::find(&mapping.path, code)
        {
            code.add_symbols_of(debug);
        }
        let file_address = code
            .as_ref()
            .and_then(|code| code.address_of_offset(mapping.offset));
        LoadedFile {
            path: Arc::clone(&mapping.path),
            bias: mapping
                .start
                .wrapping_sub(file_address.unwrap_or(mapping.offset)),
            code,
        }
    }

    /// Walks one stack. `stack` holds the bytes from `registers.sp` upwards.
    ///
    /// An address outside executable memory is never taken for a caller: the walk ends there, incomplete.
    pub fn walk(&mut self, registers: Registers, stack: &[u8]) -> NativeStack {
        let mut regs = UnwindRegsX86_64::new(registers.ip, registers.sp, registers.bp);
        let mut read_stack = |address: u64| {
            let at = address
                .checked_sub(registers.sp)
                .and_then(|at| usize::try_from(at).ok())
                .ok_or(())?;
            let bytes = stack.get(at..at.checked_add(8).ok_or(())?).ok_or(())?;
            bytes.try_into().map(u64::from_le_bytes).map_err(|_| ())
        };
        let mut found = NativeStack::default();
        let mut address = FrameAddress::from_instruction_pointer(registers.ip);
        while found.addresses.len() < MAX_FRAMES
            && self.file_at(address.address_for_lookup()).is_some()
        {
            found.addresses.push(address.address_for_lookup());
            match self
                .unwinder
                .unwind_frame(address, &mut regs, &mut self.cache, &mut read_stack)
            {
                Ok(Some(caller)) => match FrameAddress::from_return_address(caller) {
                    Some(caller) => address = caller,
                    None => break,
                },
                Ok(None) => {
                    found.complete = true;
                    break;
                }
                Err(_) => break,
            }
        }
        found
    }
}

/// The bytes of the file behind a mapping, through the target's own root directory; the vdso from its memory.
fn read_mapped_file(pid: u32, mapping: &Mapping) -> Option<Vec<u8>> {
    if mapping.path.as_os_str() == "[vdso]" {
        let mut bytes = vec![0; usize::try_from(mapping.end - mapping.start).ok()?];
        let memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
        memory.read_exact_at(&mut bytes, mapping.start).ok()?;
        return Some(bytes);
    }
    let inside = mapping.path.strip_prefix("/").ok()?;
    let candidates = [
        PathBuf::from(format!("/proc/{pid}/root")).join(inside),
        mapping.path.to_path_buf(),
        PathBuf::from(format!(
            "/proc/{pid}/map_files/{:x}-{:x}",
            mapping.start, mapping.end
        )),
    ];
    candidates.iter().find_map(|path| std::fs::read(path).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_outside_executable_memory_ends_the_walk() {
        let maps = Maps::read(std::process::id()).unwrap();
        let mut walker = StackWalker::new(std::process::id(), maps);
        let stack = walker.walk(
            Registers {
                ip: 0x10,
                sp: 0x1000,
                bp: 0,
            },
            &[0; 64],
        );
        assert_eq!(stack, NativeStack::default());
    }

    #[test]
    fn garbage_on_the_stack_gives_an_incomplete_walk() {
        let maps = Maps::read(std::process::id()).unwrap();
        let mut walker = StackWalker::new(std::process::id(), maps);
        let here = an_address_outside_executable_memory_ends_the_walk as fn() as usize as u64;
        let stack = walker.walk(
            Registers {
                ip: here,
                sp: 0x1000,
                bp: 0x1000,
            },
            &[0xa5; 256],
        );
        assert!(!stack.complete);
        assert_eq!(stack.addresses.first(), Some(&here));
        assert!(walker.file_at(here).unwrap().code.is_some());
    }
}
