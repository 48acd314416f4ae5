//! The Python stack of one thread at the time of a sample.
//!
//! In: the interpreter's memory, read late and without stopping anybody, and what the sample's own stack copy says of that
//! instant. Out: frames from root to leaf.

use std::collections::HashMap;
use std::sync::Arc;

use super::Unread;
use super::code::CodeNames;
use super::frames::{Frames, Kind, RawFrame};
use super::instant::{Instant, Learned, Whereabouts};
use super::layout::{Layout, Linkage};
use super::memory::{Memory, word_at};
use super::place::Evidence;
use super::threads::Threads;
use crate::merge::{PythonCode, PythonFrame};

/// Reads the stacks of one interpreter.
pub struct StackReader {
    memory: Memory,
    layout: Layout,
    interpreter: u64,
    threads: Threads,
    frames: Frames,
    /// The threads as they were when they were first read.
    late: HashMap<u32, Late>,
    learned: Learned,
    names: CodeNames,
    /// What the last look at a thread found.
    last: HashMap<u32, Found>,
}

/// A thread as the memory has it.
struct Late {
    /// Its frames, from leaf to root, where they lead there.
    frames: Option<Vec<RawFrame>>,
    /// What it points to on its native stack.
    anchor: u64,
}

/// A look at a thread.
struct Found {
    /// The addresses of its frames.
    frames: Vec<u64>,
    /// Where it was, if it was in a C function.
    whereabouts: Option<Whereabouts>,
    /// Its stack, if that was read.
    stack: Option<Vec<PythonFrame>>,
}

impl StackReader {
    /// Of the interpreter whose state is at `interpreter`, in process `pid`.
    pub fn new(pid: u32, layout: Layout, interpreter: u64) -> StackReader {
        StackReader {
            memory: Memory::of(pid),
            layout,
            interpreter,
            threads: Threads::default(),
            frames: Frames::new(Memory::of(pid), layout),
            late: HashMap::new(),
            learned: Learned::default(),
            names: CodeNames::default(),
            last: HashMap::new(),
        }
    }

    /// Of the same interpreter in process `pid`, which was just forked from this one.
    pub fn forked(&self, pid: u32) -> StackReader {
        StackReader::new(pid, self.layout, self.interpreter)
    }

    /// So many looks came when the memory was another function's.
    pub fn late_looks(&self) -> u64 {
        self.learned.late_looks
    }

    /// The threads with Python state.
    pub fn threads(&self) -> Vec<u32> {
        self.threads.all()
    }

    fn state(&mut self, tid: u32, sure: bool) -> Option<Vec<u8>> {
        self.threads
            .state(self.memory, &self.layout, self.interpreter, tid, sure)
    }

    /// Threads and frames are read anew from now on.
    pub fn refresh(&mut self) {
        self.frames.forget();
        self.late.clear();
    }

    /// The stack of thread `tid`: of the time of the evidence, or of the last refresh.
    pub fn stack(
        &mut self,
        tid: u32,
        evidence: Option<Evidence<'_>>,
    ) -> Result<Vec<PythonFrame>, Unread> {
        let evidence = evidence.filter(|evidence| !evidence.calls.is_empty());
        let late = match self.late.remove(&tid) {
            Some(late) => late,
            None => self.read(tid, evidence.is_some())?,
        };
        let stack = match evidence {
            None => late.frames.as_ref().and_then(|late| self.named(late)),
            Some(evidence) => self.of_instant(tid, &late, evidence),
        };
        self.late.insert(tid, late);
        stack.ok_or(Unread::Torn)
    }

    /// What the memory has of a thread, which is `sure` to be one of Python's.
    fn read(&mut self, tid: u32, sure: bool) -> Result<Late, Unread> {
        let state = self.state(tid, sure).ok_or(Unread::NoPython)?;
        if let Some(last) = self.last.get(&tid) {
            self.frames.expect(&last.frames);
        }
        let (top, anchor) = self.late_top(&state).ok_or(Unread::Torn)?;
        let frames = self.frames.walk(top);
        for frame in frames.iter().flatten() {
            self.names.meet(self.memory, &self.layout, frame.code);
        }
        Ok(Late { frames, anchor })
    }

    /// The stack as the memory has it; where that is another function's already, what the last look found, if the thread has not left
    /// the C function that it was in.
    fn of_instant(
        &mut self,
        tid: u32,
        late: &Late,
        evidence: Evidence<'_>,
    ) -> Option<Vec<PythonFrame>> {
        let mut instant = Instant::new(
            &self.layout,
            self.memory,
            &mut self.frames,
            &mut self.names,
            &mut self.learned,
            evidence,
        );
        let whereabouts = instant.whereabouts();
        let chain = instant.frames(late.frames.as_deref().unwrap_or_default(), late.anchor);
        let read = chain.as_ref().and_then(|chain| self.named(chain));
        let stayed = |before: &Found| whereabouts.is_some() && before.whereabouts == whereabouts;
        let before = self.last.remove(&tid);
        let stack = read.or_else(|| before.filter(stayed)?.stack);
        let addresses = chain.iter().flatten().map(|frame| frame.address);
        let found = Found {
            frames: addresses.collect(),
            whereabouts,
            stack: stack.clone(),
        };
        self.last.insert(tid, found);
        stack
    }

    /// The thread's innermost frame, and what it points to on its native stack.
    fn late_top(&self, state: &[u8]) -> Option<(u64, u64)> {
        match self.layout.linkage {
            Linkage::Objects { top } | Linkage::Frames { top } => Some((word_at(state, top)?, 0)),
            Linkage::CFrames { top, current } => {
                let cframe = word_at(state, top)?;
                Some((self.memory.word(cframe.wrapping_add(current))?, cframe))
            }
        }
    }

    /// Names the frames, from root to leaf.
    fn named(&mut self, chain: &[RawFrame]) -> Option<Vec<PythonFrame>> {
        let mut frames = Vec::with_capacity(chain.len());
        let mut entered = false;
        for raw in chain.iter().rev() {
            if raw.kind == Kind::Shim {
                frames.extend(entered.then(between_functions));
                entered = true;
                continue;
            }
            if raw.kind == Kind::Entry {
                frames.extend(entered.then(between_functions));
            }
            let (code, instruction) = (raw.code, raw.instruction);
            let mut frame = self
                .names
                .frame(self.memory, &self.layout, code, instruction)?;
            frame.entry = entered || raw.kind == Kind::Entry;
            entered = false;
            frames.push(frame);
        }
        frames.extend(entered.then(between_functions));
        Some(frames)
    }
}

/// An evaluator call that has not begun with its function, or is over with it.
fn between_functions() -> PythonFrame {
    PythonFrame {
        label: BETWEEN.into(),
        code: Arc::new(PythonCode {
            function: BETWEEN.to_owned(),
            source: None,
        }),
        entry: true,
    }
}

/// How that is shown.
const BETWEEN: &str = "[entering Python]";
