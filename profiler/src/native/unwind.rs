//! Walks a stack copy to the code addresses of its callers, with framehop and the files' unwind tables.
//!
//! In: instruction, stack and frame pointer of a sample and the bytes above the stack pointer. Out: addresses,
//! and whether the walk reached the thread's first function. Files are read when the first address in
//! them is met.

use std::collections::HashMap;
use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, Module, Unwinder as _};

use super::files::LoadedFile;
use super::maps::{Mapping, Maps};

/// No real stack is deeper; a loop in broken unwind tables is.
const MAX_FRAMES: usize = 4096;

/// The registers that unwinding on x86-64 needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// The executable mappings.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// The files met so far.
    pub fn loaded_files(&self) -> Vec<Arc<LoadedFile>> {
        self.files.values().cloned().collect()
    }

    /// The file that holds code at `address`, if it was met.
    pub fn met_file_at(&self, address: u64) -> Option<&Arc<LoadedFile>> {
        self.files.get(&self.maps.find(address)?.start)
    }

    /// The file that holds code at `address`, read at the first call.
    pub fn file_at(&mut self, address: u64) -> Option<Arc<LoadedFile>> {
        let mapping = self.maps.find(address)?.clone();
        if let Some(file) = self.files.get(&mapping.start) {
            return Some(Arc::clone(file));
        }
        let (file, layout) = LoadedFile::load(self.pid, &mapping);
        if let Some(layout) = layout {
            self.unwinder.add_module(Module::new(
                file.path.to_string_lossy().into_owned(),
                mapping.start..mapping.end,
                file.bias,
                layout.unwind_sections(),
            ));
        }
        let file = Arc::new(file);
        self.files.insert(mapping.start, Arc::clone(&file));
        Some(file)
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
        assert!(walker.met_file_at(here).unwrap().read_symbols().is_some());
    }
}
