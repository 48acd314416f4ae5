//! From what was gathered of a program to merged stacks: names the addresses, merges, once for all samples that show the same.
//!
//! In: a [`Target`] whose recording is over. Out: a tree of stacks, and how well they could be put together.

use crate::merge::{self, NativeFrame, PythonFrame};
use crate::native::symbol_store::SymbolStore;
use crate::native::symbols::{HIDDEN, Symbolizer};
use crate::profile::{Frame, FrameKind, StackTree};
use crate::sampling::target::{PythonSide, Sight, Tally, Target};
use crate::source_lines::LineCounts;

/// How many samples there are, of which kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub samples: u64,
    /// Inside the op.
    pub in_op: u64,
    /// Native and Python stack agreed, or the whole stack of a worker thread was joined to its caller.
    pub merged: u64,
    /// The native stack was walked to its root.
    pub unwound: u64,
    /// Of worker threads joined to a Python call.
    pub joined_workers: u64,
    /// With kernel frames that have no names.
    pub hidden_kernel: u64,
    /// Looks at the Python stacks.
    pub looks: u64,
    /// Looks that failed.
    pub failed_looks: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.samples += other.samples;
        self.in_op += other.in_op;
        self.merged += other.merged;
        self.unwound += other.unwound;
        self.joined_workers += other.joined_workers;
        self.hidden_kernel += other.hidden_kernel;
        self.looks += other.looks;
        self.failed_looks += other.failed_looks;
    }
}

/// The stacks of one program.
#[derive(Debug, Default)]
pub struct Assembled {
    /// Merged.
    pub stacks: StackTree,
    /// The lines of source that they stand in.
    pub lines: LineCounts,
    /// How many, how well.
    pub counts: Counts,
}

/// Puts the stacks of `target` together, of those samples whose time (CLOCK_MONOTONIC ns) is to be kept; `op` is the
/// Python function that marks samples inside the op; `store` keeps the symbols for the next.
pub fn assemble(
    target: Target,
    store: &mut SymbolStore,
    op: Option<&str>,
    keep: impl Fn(u64) -> bool,
) -> Assembled {
    let (walker, gathered) = target.into_parts();
    let counts = Counts {
        looks: gathered.looks,
        failed_looks: gathered.torn_looks,
        ..Counts::default()
    };
    let mut assembly = Assembly {
        op,
        symbols: Symbolizer::new(walker, store),
        done: Assembled {
            counts,
            ..Assembled::default()
        },
    };
    for (sight, tally) in gathered.tallies(keep) {
        assembly.add(&sight, tally);
    }
    assembly.done
}

struct Assembly<'a> {
    op: Option<&'a str>,
    symbols: Symbolizer<'a>,
    done: Assembled,
}

impl Assembly<'_> {
    fn add(&mut self, sight: &Sight, tally: Tally) {
        let native = self.native(sight);
        let complete = sight.user.complete;
        let own = |python: &[PythonFrame]| merge::merge(&native, complete, python);
        let mut merged = match &sight.python {
            PythonSide::NoInterpreter | PythonSide::Own(None) => own(&[]),
            PythonSide::Own(Some(python)) => own(python),
            PythonSide::Worker { name, caller } => {
                merge::join_worker(&native, complete, name, caller.as_deref())
            }
        };
        let mut hidden_kernel = false;
        for &address in sight.kernel.iter().rev() {
            let name = self.symbols.kernel(address);
            hidden_kernel |= &*name == HIDDEN;
            merged.frames.push(Frame::new(FrameKind::Kernel, name));
        }
        self.done.stacks.add(&merged.frames, tally.weight);
        self.done.lines.add(&merged.frames, tally.weight);
        let samples = tally.samples;
        let if_so = |so: bool| if so { samples } else { 0 };
        let joined = matches!(
            sight.python,
            PythonSide::Worker {
                caller: Some(_),
                ..
            }
        );
        self.done.counts += Counts {
            samples,
            in_op: if_so(self.op.is_some_and(|op| sight.python.runs(op))),
            merged: if_so(merged.agreed),
            unwound: if_so(complete),
            joined_workers: if_so(joined),
            hidden_kernel: if_so(hidden_kernel),
            ..Counts::default()
        };
    }

    /// The native frames from root to leaf.
    fn native(&mut self, sight: &Sight) -> Vec<NativeFrame> {
        self.symbols.stack(&sight.user.addresses)
    }
}
