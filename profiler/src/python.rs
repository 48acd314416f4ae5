//! Python stacks of a running process, read from its memory without stopping it.
//!
//! py-spy finds the interpreter. Where the interpreter's layout is known, one thread's stack is read in a few system calls
//! ([`stacks`]), which is quick enough to be done at each sample; py-spy's reading of the same stack confirms the layout first.
//! Other interpreters are read by py-spy altogether, all threads at once and less often.

mod code;
mod frames;
mod instant;
mod layout;
mod line_table;
mod memory;
mod place;
mod spy;
mod stacks;
mod thread_ids;
mod threads;

use std::collections::HashMap;

use crate::interner::{Interned, Interner};
use crate::merge::PythonFrame;
use layout::Layout;
pub(crate) use memory::{Memory, word_at};
pub use place::{EvaluatorCall, Evidence};
use spy::Spy;
use stacks::StackReader;

/// How often the two readings are compared before ours is given up; a running program changes between them.
const COMPARISONS: u32 = 100;

/// A Python stack, from root to leaf.
pub type PythonStack = Interned<[PythonFrame]>;

/// Why a look at a thread showed no stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The thread has no Python state.
    NoPython,
    /// It has a stack, but it changed while it was read.
    Torn,
}

/// Reads Python stacks of one process.
pub struct PythonReader {
    source: Source,
    stacks: Interner<[PythonFrame]>,
}

enum Source {
    Own(Box<StackReader>),
    Spy {
        spy: Box<Spy>,
        /// Our own reading, until it is confirmed or given up.
        candidate: Option<Box<StackReader>>,
        comparisons: u32,
    },
}

impl PythonReader {
    /// Finds the interpreter of process `pid`, in so many tries 20 ms apart.
    ///
    /// # Errors
    /// py-spy's message when the process has no interpreter that it knows or its memory can't be read.
    pub fn new(pid: u32, tries: u64) -> Result<PythonReader, String> {
        let spy = Spy::new(pid, tries)?;
        let layout = spy.minor_version().and_then(Layout::of);
        let candidate = layout.map(|layout| StackReader::new(pid, layout, spy.interpreter()));
        let mut reader = PythonReader {
            source: Source::Spy {
                spy: Box::new(spy),
                candidate: candidate.map(Box::new),
                comparisons: 0,
            },
            stacks: Interner::default(),
        };
        reader.compare();
        Ok(reader)
    }

    /// Of the interpreter in process `pid`, which was just forked from this one's; `None` while our own reading is not confirmed.
    pub fn forked(&self, pid: u32) -> Option<PythonReader> {
        match &self.source {
            Source::Own(own) => Some(PythonReader {
                source: Source::Own(Box::new(own.forked(pid))),
                stacks: Interner::default(),
            }),
            Source::Spy { .. } => None,
        }
    }

    /// The interpreter's memory is read anew from now on; between two calls, each place is read once.
    pub fn refresh(&mut self) {
        if let Source::Own(own) = &mut self.source {
            own.refresh();
        }
    }

    /// The stack of thread `tid`, as near as can be to the time of the sample that gave the evidence.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn look(
        &mut self,
        tid: u32,
        evidence: Option<Evidence<'_>>,
    ) -> Result<PythonStack, Unread> {
        self.compare();
        let frames = match &mut self.source {
            Source::Own(own) => own.stack(tid, evidence)?,
            Source::Spy { spy, .. } => spy.stacks().get(&tid).cloned().ok_or(Unread::NoPython)?,
        };
        Ok(self.stacks.intern(frames))
    }

    /// Whether the stacks are read by our own layout, confirmed by py-spy, rather than by py-spy.
    pub fn is_own(&self) -> bool {
        matches!(self.source, Source::Own(_))
    }

    /// So many looks came when the memory was another function's already.
    pub fn late_looks(&self) -> u64 {
        match &self.source {
            Source::Own(own) => own.late_looks(),
            Source::Spy { .. } => 0,
        }
    }

    /// The threads that have Python state.
    pub fn threads(&mut self) -> Vec<u32> {
        match &mut self.source {
            Source::Own(own) => own.threads(),
            Source::Spy { spy, .. } => spy.stacks().keys().copied().collect(),
        }
    }

    /// Goes over to our own reading once it reads what py-spy reads.
    fn compare(&mut self) {
        let Source::Spy {
            spy,
            candidate,
            comparisons,
        } = &mut self.source
        else {
            return;
        };
        let Some(mut own) = candidate.take() else {
            return;
        };
        own.refresh();
        match agree(&mut own, spy.stacks()) {
            Some(true) => self.source = Source::Own(own),
            Some(false) if *comparisons < COMPARISONS => {
                *comparisons += 1;
                *candidate = Some(own);
            }
            Some(false) => {}
            None => *candidate = Some(own),
        }
    }
}

/// Whether both read the same root function of some thread, and we all names below it; `None` where no thread runs any.
fn agree(own: &mut StackReader, by_spy: &HashMap<u32, Vec<PythonFrame>>) -> Option<bool> {
    let mut running = by_spy
        .iter()
        .filter_map(|(tid, frames)| Some((*tid, frames.first()?)))
        .peekable();
    running.peek()?;
    Some(running.any(|(tid, root)| {
        let ours = own.stack(tid, None).unwrap_or_default();
        ours.first()
            .is_some_and(|ours| ours.code.function == root.code.function)
    }))
}
