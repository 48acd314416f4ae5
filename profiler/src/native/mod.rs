//! The native half of a stack: from the registers and the stack copy of a sample to named frames.
//!
//! [`maps`] knows which file is mapped where and [`files`] reads those whose code is met: [`layout`] for their unwind tables,
//! with which [`unwind`] walks a stack copy to code addresses while the recording runs and [`saved_registers`] tells the registers of callers, and [`symbol_table`] for their names,
//! which [`symbol_store`] keeps and with which [`symbols`] names the addresses once it is over, helped by [`debug_files`] and [`imports`] where a file has no
//! symbols. [`inlines`] tells the line of source and what the compiler inlined there. [`kallsyms`] does the same for the kernel's addresses.

pub mod debug_files;
pub mod files;
pub mod imports;
pub mod inlines;
pub mod kallsyms;
pub mod layout;
pub mod maps;
pub mod saved_registers;
pub mod symbol_store;
pub mod symbol_table;
pub mod symbols;
pub mod unwind;
