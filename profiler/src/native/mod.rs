//! The native half of a stack: from the registers and the stack copy of a sample to named frames.
//!
//! [`maps`] knows which file is mapped where, [`elf`] reads what those files say (unwind tables, symbols),
//! [`unwind`] walks a stack copy to code addresses while the recording runs, and [`symbols`] names the
//! addresses once it is over, with the help of [`debug_files`] and [`imports`] where a file has no symbols. [`kallsyms`] does the
//! same for the kernel's addresses.

pub mod debug_files;
pub mod elf;
pub mod imports;
pub mod kallsyms;
pub mod maps;
pub mod symbols;
pub mod unwind;
