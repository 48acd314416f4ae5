//! A file that a sampled process has mapped: stacks are walked through it and its addresses are named.
//!
//! The first 16 bytes of the input are two addresses in the file, the rest is the file.

#![no_main]

use std::io::Write;

use libfuzzer_sys::{Corpus, fuzz_target};
use raptors_prof::native::layout::CodeLayout;
use raptors_prof::native::maps::{Mapping, Maps};
use raptors_prof::native::symbol_store::SymbolStore;
use raptors_prof::native::symbol_table::SymbolTable;
use raptors_prof::native::symbols::Symbolizer;
use raptors_prof::native::unwind::{Registers, StackWalker};

const BASE: u64 = 0x7a00_0000_0000;
const STACK: u64 = 0x7ffd_0000_0000;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((addresses, bytes)) = input.split_first_chunk::<16>() else {
        return Corpus::Reject;
    };
    // Nothing else is read of what is no ELF file.
    if CodeLayout::parse(bytes).is_err() && SymbolTable::parse(bytes).is_err() {
        return Corpus::Reject;
    }
    let (ip, caller) = addresses.split_at(8);
    profile(bytes, [address(ip), address(caller)]);
    Corpus::Keep
});

fn address(bytes: &[u8]) -> u64 {
    let number = bytes
        .iter()
        .rfold(0, |number, byte| number << 8 | u64::from(*byte));
    BASE + number % (1 << 24)
}

fn profile(bytes: &[u8], [ip, caller]: [u64; 2]) {
    let mut file = tempfile::Builder::new()
        .tempfile_in("/dev/shm")
        .expect("a place for the file");
    file.write_all(bytes).expect("room for the file");
    let mut maps = Maps::default();
    maps.insert(Mapping {
        start: BASE,
        end: BASE + (1 << 24),
        offset: 0,
        path: file.path().into(),
    });
    let mut walker = StackWalker::new(std::process::id(), maps);
    let stack: Vec<u8> = (0..64)
        .flat_map(|word| [caller, STACK + 8 * word][word as usize % 2].to_le_bytes())
        .collect();
    let (walked, _) = walker.walk(
        Registers {
            ip,
            sp: STACK,
            bp: STACK + 64,
            general: [0; 15],
        },
        &stack,
    );
    let mut store = SymbolStore::default();
    let named = Symbolizer::new(walker, &mut store).stack(&walked.addresses);
    assert!(named.len() >= walked.addresses.len());
}
