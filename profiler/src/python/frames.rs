//! The frames of one thread as they lie in memory, walked from the innermost outwards.

use std::collections::HashMap;

use super::layout::{EntryMark, Layout, LineTable, Linkage};
use super::memory::{Memory, word_at};

/// No stack is deeper; a loop in torn frames is.
const MAX_FRAMES: usize = 20_000;
/// `FRAME_OWNED_BY_CSTACK`.
const OWNED_BY_CSTACK: u8 = 3;

/// What a frame is to the evaluator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The evaluator was entered for it.
    Entry,
    /// A function that was called without entering the evaluator.
    Inner,
    /// The evaluator's own frame, without a function.
    Shim,
}

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFrame {
    /// Where it lies.
    pub address: u64,
    /// Its caller's; 0 at the root.
    pub previous: u64,
    /// Its code object.
    pub code: u64,
    /// Where it is in it.
    pub instruction: u64,
    /// What it is to the evaluator.
    pub kind: Kind,
    /// Its class, where it is an object.
    pub class: u64,
}

impl RawFrame {
    /// The evaluator's own frame at `address`.
    pub fn shim(address: u64) -> RawFrame {
        RawFrame {
            address,
            previous: 0,
            code: 0,
            instruction: 0,
            kind: Kind::Shim,
            class: 0,
        }
    }

    fn parse(layout: &Layout, address: u64, bytes: &[u8]) -> Option<RawFrame> {
        let byte = |offset| {
            let at = usize::try_from(offset).ok()?;
            bytes.get(at).copied()
        };
        let instruction = word_at(bytes, layout.instruction)?;
        Some(RawFrame {
            address,
            previous: word_at(bytes, layout.previous)?,
            code: word_at(bytes, layout.code)?,
            instruction: match layout.line_table_kind {
                LineTable::Lnotab | LineTable::Pep626 => instruction & 0xffff_ffff,
                LineTable::Locations => instruction,
            },
            class: match layout.linkage {
                Linkage::Objects { .. } => word_at(bytes, 8)?,
                Linkage::CFrames { .. } | Linkage::Frames { .. } => 0,
            },
            kind: match layout.entry {
                EntryMark::Always => Kind::Entry,
                EntryMark::Flag(offset) if byte(offset)? != 0 => Kind::Entry,
                EntryMark::Shim(offset) if byte(offset)? == OWNED_BY_CSTACK => Kind::Shim,
                EntryMark::Flag(_) | EntryMark::Shim(_) => Kind::Inner,
            },
        })
    }
}

/// Frames as they were when they were first read; each is read once.
pub struct Frames {
    memory: Memory,
    layout: Layout,
    seen: HashMap<u64, RawFrame>,
}

impl Frames {
    /// None yet.
    pub fn new(memory: Memory, layout: Layout) -> Frames {
        Frames {
            memory,
            layout,
            seen: HashMap::new(),
        }
    }

    /// Forgets what it read.
    pub fn forget(&mut self) {
        self.seen.clear();
    }

    /// Reads those that a walk will probably meet in few system calls.
    pub fn expect(&mut self, addresses: &[u64]) {
        let unseen = |address: &&u64| !self.seen.contains_key(address);
        let unseen: Vec<u64> = addresses.iter().filter(unseen).copied().collect();
        let mut rest = unseen.as_slice();
        while !rest.is_empty() {
            let bytes = self.memory.many(rest, self.layout.frame_bytes);
            let read = bytes.chunks_exact(self.layout.frame_bytes);
            let count = read.len();
            for (&address, bytes) in rest.iter().zip(read) {
                if let Some(frame) = RawFrame::parse(&self.layout, address, bytes) {
                    self.seen.insert(address, frame);
                }
            }
            // The next one can't be read.
            rest = rest.get(count + 1..).unwrap_or_default();
        }
    }

    /// The frame at `address`, if it was read already.
    pub fn seen(&self, address: u64) -> Option<RawFrame> {
        self.seen.get(&address).copied()
    }

    /// The frame at `address`; `None` where nothing can be read.
    pub fn at(&mut self, address: u64) -> Option<RawFrame> {
        if let Some(frame) = self.seen.get(&address) {
            return Some(*frame);
        }
        let bytes = self.memory.bytes(address, self.layout.frame_bytes)?;
        let frame = RawFrame::parse(&self.layout, address, &bytes)?;
        self.seen.insert(address, frame);
        Some(frame)
    }

    /// From the frame at `top` to the root; `None` where they don't lead there, or are more than [`MAX_FRAMES`].
    pub fn walk(&mut self, top: u64) -> Option<Vec<RawFrame>> {
        self.walk_some(top, MAX_FRAMES)
    }

    /// As [`Frames::walk`], but no more than `most` frames: memory that only looks like a frame may lead in a circle.
    pub fn walk_some(&mut self, top: u64, most: usize) -> Option<Vec<RawFrame>> {
        let mut frames = Vec::new();
        let mut next = top;
        while next != 0 {
            let frame = self.at(next).filter(|_| frames.len() < most)?;
            frames.push(frame);
            next = frame.previous;
        }
        Some(frames)
    }
}
