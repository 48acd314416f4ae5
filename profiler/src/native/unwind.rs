//! Walks a stack copy to the code addresses of its callers, with framehop and the files' unwind tables.
//!
//! In: instruction, stack and frame pointer of a sample and the bytes above the stack pointer. Out: addresses,
//! and whether the walk reached the thread's first function. Files are read when the first address in
//! them is met.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, Module, Unwinder as _};

use super::files::LoadedFile;
use super::layout::CodeLayout;
use super::maps::{Mapping, Maps};
use super::saved_registers::SavedRegisters;
use super::symbol_table::{Function, SymbolTable};
use crate::merge::Role;
use crate::python::{EvaluatorCall, word_at};

/// No real stack is deeper; a loop in broken unwind tables is.
const MAX_FRAMES: usize = 4096;

/// The registers of a sample that tell of its stack, on x86-64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer: the address of the first byte of the stack copy.
    pub sp: u64,
    /// Frame pointer.
    pub bp: u64,
    /// The general registers but the stack pointer, those that a function must leave as it found them first.
    pub general: [u64; 15],
}

/// The code addresses of one native stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NativeStack {
    /// From leaf to root. Callers' addresses point into the call instruction, not behind it.
    pub addresses: Vec<u64>,
    /// Whether the walk ended at the thread's first function.
    pub complete: bool,
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// The addresses.
    pub native: NativeStack,
    /// The calls of a Python evaluator among them, from root to leaf.
    pub calls: Vec<EvaluatorCall>,
    /// Where a word that the walk ended for should have been: so many bytes above the stack pointer.
    pub lacks: Option<u64>,
}

/// Unwinds stacks of one process.
pub struct StackWalker {
    pid: u32,
    maps: Maps,
    files: HashMap<u64, Arc<LoadedFile>>,
    saved_registers: HashMap<u64, SavedRegisters>,
    unwinder: UnwinderX86_64<Arc<[u8]>>,
    cache: CacheX86_64,
    evaluator: Evaluator,
}

impl StackWalker {
    /// A walker for process `pid`, whose executable mappings are `maps`.
    pub fn new(pid: u32, maps: Maps) -> StackWalker {
        StackWalker {
            pid,
            maps,
            files: HashMap::new(),
            saved_registers: HashMap::new(),
            unwinder: UnwinderX86_64::new(),
            cache: CacheX86_64::new(),
            evaluator: Evaluator::default(),
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
            self.saved_registers.remove(&start);
            self.evaluator.forget();
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
        let tables = layout.as_ref().and_then(CodeLayout::tables);
        self.saved_registers
            .insert(mapping.start, SavedRegisters::new(tables));
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
    pub fn walk(&mut self, registers: Registers, stack: &[u8]) -> Walk {
        let mut regs = UnwindRegsX86_64::new(registers.ip, registers.sp, registers.bp);
        let missed = Cell::new(None);
        let mut read_stack = |address: u64| {
            let at = address.checked_sub(registers.sp).ok_or(())?;
            word_at(stack, at).ok_or_else(|| missed.set(Some(at)))
        };
        let mut found = NativeStack::default();
        let mut calls = Vec::new();
        let mut lacks = None;
        let mut general = registers.general;
        let mut address = FrameAddress::from_instruction_pointer(registers.ip);
        while found.addresses.len() < MAX_FRAMES
            && self.file_at(address.address_for_lookup()).is_some()
        {
            found.addresses.push(address.address_for_lookup());
            missed.set(None);
            let sp = regs.sp();
            match self
                .unwinder
                .unwind_frame(address, &mut regs, &mut self.cache, &mut read_stack)
            {
                Ok(Some(caller)) => {
                    let (here, cfa) = (address.address_for_lookup(), regs.sp());
                    if self.is_evaluator(here) {
                        calls.push(EvaluatorCall {
                            sp,
                            cfa,
                            registers: general,
                            runs: found.addresses.len() == 1,
                        });
                    }
                    general = self.registers_of_caller(here, cfa, general, &mut read_stack);
                    match FrameAddress::from_return_address(caller) {
                        Some(caller) => address = caller,
                        None => break,
                    }
                }
                Ok(None) => {
                    found.complete = true;
                    break;
                }
                Err(_) => {
                    lacks = missed.get();
                    break;
                }
            }
        }
        calls.reverse();
        Walk {
            native: found,
            calls,
            lacks,
        }
    }

    /// The registers as the caller of the function at `address` had them; 0 for what is not known.
    fn registers_of_caller(
        &mut self,
        address: u64,
        cfa: u64,
        own: [u64; 15],
        read_stack: &mut impl FnMut(u64) -> Result<u64, ()>,
    ) -> [u64; 15] {
        let places = self.maps.find(address).and_then(|mapping| {
            let bias = self.files.get(&mapping.start)?.bias;
            let registers = self.saved_registers.get_mut(&mapping.start)?;
            registers.at(address.wrapping_sub(bias))
        });
        let Some(places) = places else {
            return [0; 15];
        };
        std::array::from_fn(|index| match places.get(index) {
            Some(Some(offset)) => read_stack(cfa.wrapping_add_signed(*offset)).unwrap_or(0),
            Some(None) => own[index],
            None => 0,
        })
    }

    fn is_evaluator(&mut self, address: u64) -> bool {
        if let Some(known) = self.evaluator.known.get(&address) {
            return *known;
        }
        let Some(file) = self.met_file_at(address).cloned() else {
            return false;
        };
        self.evaluator.look_up(address, &file)
    }
}

/// Which addresses belong to a Python evaluator.
#[derive(Default)]
struct Evaluator {
    tables: HashMap<PathBuf, Option<SymbolTable>>,
    known: HashMap<u64, bool>,
}

impl Evaluator {
    /// Other code may come to lie where it was.
    fn forget(&mut self) {
        self.known.clear();
    }

    fn look_up(&mut self, address: u64, file: &LoadedFile) -> bool {
        let name = file.path.file_name().map(|name| name.to_string_lossy());
        let may = name.is_some_and(|name| Role::may_hold_evaluator(&name));
        let runs = may && self.symbol_is_evaluator(address, file);
        self.known.insert(address, runs);
        runs
    }

    fn symbol_is_evaluator(&mut self, address: u64, file: &LoadedFile) -> bool {
        let table = self
            .tables
            .entry(file.key().to_owned())
            .or_insert_with(|| file.read_names());
        let function = table
            .as_ref()
            .and_then(|table| table.function_at(address.wrapping_sub(file.bias)));
        matches!(function, Some(Function::Named(symbol)) if Role::is_evaluator(&symbol.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_outside_executable_memory_ends_the_walk() {
        let maps = Maps::read(std::process::id()).unwrap();
        let mut walker = StackWalker::new(std::process::id(), maps);
        let walk = walker.walk(
            Registers {
                ip: 0x10,
                sp: 0x1000,
                bp: 0,
                general: [0; 15],
            },
            &[0; 64],
        );
        assert_eq!(walk.native, NativeStack::default());
    }

    #[test]
    fn garbage_on_the_stack_gives_an_incomplete_walk() {
        let maps = Maps::read(std::process::id()).unwrap();
        let mut walker = StackWalker::new(std::process::id(), maps);
        let here = an_address_outside_executable_memory_ends_the_walk as fn() as usize as u64;
        let walk = walker.walk(
            Registers {
                ip: here,
                sp: 0x1000,
                bp: 0x1000,
                general: [0; 15],
            },
            &[0xa5; 256],
        );
        assert!(!walk.native.complete);
        assert_eq!(walk.native.addresses.first(), Some(&here));
        assert!(walker.met_file_at(here).unwrap().read_symbols().is_some());
    }
}
