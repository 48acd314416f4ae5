//! Damaged files and records, some thousand of each: no panic, no endless loop, no memory that the input's size does not justify.
//!
//! The damage is the same in each run. `fuzz/` looks for more.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use linux_perf_event_reader::{RawData, RecordParseInfo};
use raptors_prof::native::maps::{Mapping, Maps};
use raptors_prof::native::symbol_store::SymbolStore;
use raptors_prof::native::symbols::Symbolizer;
use raptors_prof::native::unwind::{Registers, StackWalker};
use raptors_prof::sampling::{record, request};

use common::{FOREVER, temporary};

/// Where the damaged file is said to be mapped, and where the stack copy comes from.
const BASE: u64 = 0x7a00_0000_0000;
const STACK: u64 = 0x7ffd_0000_0000;

/// More than any input here justifies: the largest file has some megabytes.
const GIANT: usize = 256 << 20;

/// Keeps the size of the largest allocation.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Watched = Watched;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Numbers that look random and are the same in each run (Marsaglia's xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A number of the kind that breaks sums and products.
    fn nasty(&mut self, size: usize) -> u64 {
        let size = size as u64;
        let known = [
            0,
            1,
            7,
            size,
            size - 1,
            size + 1,
            u64::MAX,
            u64::MAX - 7,
            1 << 63,
            1 << 32,
            1 << 61,
        ];
        match known.get(self.below(known.len() + 2)) {
            Some(number) => *number,
            None => self.next() >> self.below(64),
        }
    }

    /// A place in a file: in its headers at the start, in those at the end, or anywhere.
    fn place(&mut self, size: usize) -> usize {
        let headers = size.min(4096);
        match self.below(3) {
            0 => self.below(headers.min(1024)),
            1 => size - 1 - self.below(headers),
            _ => self.below(size),
        }
    }

    /// Damages `bytes` in one to eight places; one time in six, cuts them off somewhere too.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(8) {
            let at = self.place(bytes.len());
            let width = [1, 2, 4, 8][self.below(4)];
            let number = self.nasty(bytes.len()).to_le_bytes();
            let aligned = at & !(width - 1);
            for (byte, new) in bytes.iter_mut().skip(aligned).zip(&number[..width]) {
                *byte = *new;
            }
        }
        if self.below(6) == 0 {
            let end = self.below(bytes.len());
            bytes.truncate(end);
        }
    }
}

/// Runs `work` on a thread of its own for each number below `count`; says which one panicked or does not end.
fn for_each_damaged(count: u64, mut work: impl FnMut(u64) + Send + 'static) {
    let (begin, begun) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        for number in 0..count {
            begin.send(number).unwrap();
            work(number);
        }
    });
    let mut last = None;
    loop {
        match begun.recv_timeout(FOREVER) {
            Ok(number) => last = Some(number),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("number {last:?} does not end"),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    assert!(worker.join().is_ok(), "number {last:?} panicked");
    assert_eq!(last, Some(count - 1));
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest < GIANT, "an allocation of {largest} bytes");
}

/// What the profiler does with a file that a sampled process has mapped: walks stacks through its code, then names the addresses.
/// Whether there was a function with a name.
fn profile(file: &Path, functions: &[Range<u64>], numbers: &mut Numbers) -> bool {
    let mut maps = Maps::default();
    maps.insert(Mapping {
        start: BASE,
        end: BASE + (1 << 30),
        offset: 0,
        path: file.into(),
    });
    let mut walker = StackWalker::new(std::process::id(), maps);
    let code = |numbers: &mut Numbers| {
        let function = &functions[numbers.below(functions.len())];
        BASE + function.start + numbers.next() % (function.end - function.start)
    };
    let mut addresses = Vec::new();
    for _ in 0..32 {
        let stack: Vec<u8> = (0..128)
            .flat_map(|word| match numbers.below(3) {
                0 => numbers.nasty(4096).to_le_bytes(),
                1 => (STACK + 8 * word).to_le_bytes(),
                _ => code(numbers).to_le_bytes(),
            })
            .collect();
        let registers = Registers {
            ip: code(numbers),
            sp: STACK,
            bp: STACK + 8 * (numbers.next() % 128),
            general: [0; 15],
        };
        addresses.extend(walker.walk(registers, &stack).native.addresses);
    }
    let mut store = SymbolStore::default();
    let frames = Symbolizer::new(walker, &mut store).stack(&addresses);
    assert!(frames.len() >= addresses.len());
    let named = |name: &str| !name.starts_with("0x") && !name.starts_with("fn@");
    frames.iter().any(|frame| named(&frame.name))
}

fn profile_damaged(original: &Path, count: u64) {
    let original = std::fs::read(original).unwrap();
    let functions = functions(&original);
    let directory = temporary();
    let readable = Arc::new(AtomicU64::new(0));
    let named = Arc::clone(&readable);
    for_each_damaged(count, move |number| {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (number + 1));
        let mut bytes = original.clone();
        if number > 0 {
            numbers.damage(&mut bytes);
        }
        let file = directory.path().join("damaged.so");
        std::fs::write(&file, &bytes).unwrap();
        let has_names = profile(&file, &functions, &mut numbers);
        named.fetch_add(u64::from(has_names), Ordering::Relaxed);
    });
    // Damage that stops the first reader would test no other.
    let readable = readable.load(Ordering::Relaxed);
    assert!(readable > count / 5, "{readable} of {count}");
}

/// Where the functions of a file are.
fn functions(bytes: &[u8]) -> Vec<Range<u64>> {
    let elf = goblin::elf::Elf::parse(bytes).unwrap();
    let symbols = elf.syms.iter().chain(elf.dynsyms.iter());
    symbols
        .filter(|symbol| symbol.is_function() && symbol.st_size > 0)
        .map(|symbol| symbol.st_value..symbol.st_value + symbol.st_size)
        .collect()
}

/// A small library with DWARF; `None` where there is no compiler.
fn library(directory: &Path) -> Option<PathBuf> {
    let source = "
static inline __attribute__((always_inline)) int inlined(int x) { return x * x + 1; }
__attribute__((noinline)) static int inner(int x) { return inlined(x) / (x | 1); }
int outer(int x) { int sum = 0; for (int i = 0; i < x; i++) sum += inner(i) + inlined(sum); return sum; }
";
    std::fs::write(directory.join("x.c"), source).unwrap();
    let flags = "-g -O2 -shared -fPIC -Wl,--build-id -o x.so x.c";
    let cc = Command::new("cc")
        .args(flags.split(' '))
        .current_dir(directory)
        .status();
    match cc {
        Ok(status) => assert!(status.success()),
        Err(_) => {
            eprintln!("skipped: there is no C compiler (cc)");
            return None;
        }
    }
    Some(directory.join("x.so"))
}

#[test]
fn a_damaged_library_with_debug_information() {
    let directory = temporary();
    if let Some(library) = library(directory.path()) {
        profile_damaged(&library, 800);
    }
}

#[test]
fn a_damaged_c_library() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().find_map(|line| {
        line.find('/')
            .map(|at| &line[at..])
            .filter(|path| path.contains("/libc.so"))
    });
    match libc {
        Some(libc) => profile_damaged(Path::new(libc), 50),
        None => eprintln!("skipped: this program is not linked to a libc.so"),
    }
}

#[test]
fn a_damaged_extension_of_python() {
    let ask = "import _json; print(_json.__file__)";
    let Ok(output) = Command::new("python3").args(["-c", ask]).output() else {
        eprintln!("skipped: there is no python3");
        return;
    };
    match common::stdout(&output).trim() {
        "" => eprintln!("skipped: python3 has no extension module _json"),
        extension => profile_damaged(Path::new(extension), 150),
    }
}

fn parse_info(kernel: bool) -> RecordParseInfo {
    request::parse_info(request::sample_type(kernel, true))
}

/// Bodies of records as the kernel writes them (perf_event_open(2)), with their types.
fn records() -> Vec<(u32, Vec<u8>)> {
    let words = |words: &[u64]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let (task, time) = (7 << 32 | 7, 123);
    let name = |text: &[u8; 16]| text.to_vec();
    let chain = [
        3,
        -128_i64 as u64,
        0xffff_ffff_8100_0000,
        0xffff_ffff_8100_1000,
    ];
    let registers: Vec<u64> = (0..17).collect();
    let sample = [
        &[task, time, 1_000_000][..],
        &chain,
        &[2],
        &registers,
        &[16, 5, 6, 16],
    ]
    .concat();
    let map = [task, BASE, 4096, 0, 0, 0, 0, 5];
    vec![
        (9, words(&sample)),
        (
            10,
            [
                words(&map),
                name(b"/usr/lib/x.so\0\0\0"),
                words(&[task, time]),
            ]
            .concat(),
        ),
        (
            3,
            [
                words(&[task]),
                name(b"python3\0\0\0\0\0\0\0\0\0"),
                words(&[task, time]),
            ]
            .concat(),
        ),
        (7, words(&[task, task, time, task, time])),
        (2, words(&[1, 99, task, time])),
    ]
}

#[test]
fn the_records_of_this_test_are_whole() {
    let kinds: Vec<bool> = records()
        .iter()
        .map(|(kind, body)| {
            record::parse(*kind, 0, RawData::Single(body), parse_info(true)).is_some()
        })
        .collect();
    assert_eq!(kinds, [true; 5]);
}

#[test]
fn damaged_records() {
    for_each_damaged(100_000, |number| {
        let mut numbers = Numbers(0x2545_f491_4f6c_dd1d ^ (number + 1));
        let mut choices = records();
        let (kind, mut body) = choices.swap_remove(numbers.below(5));
        numbers.damage(&mut body);
        let kind = if numbers.below(10) == 0 {
            numbers.nasty(20) as u32
        } else {
            kind
        };
        let (misc, info) = (numbers.next() as u16, parse_info(numbers.below(2) == 0));
        let whole = record::parse(kind, misc, RawData::Single(&body), info);
        let (front, back) = body.split_at(numbers.below(body.len()));
        // As it lies in a ring that wraps.
        assert_eq!(
            whole,
            record::parse(kind, misc, RawData::Split(front, back), info)
        );
    });
}
