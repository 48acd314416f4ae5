//! From what was gathered of a program to merged stacks: names the addresses, merges, once for all samples that show the same.
//!
//! In: a [`Target`] whose recording is over. Out: a tree of stacks with the samples on it, and how well they could be put together.

use std::collections::{BTreeMap, HashMap};

use crate::merge::{self, NativeFrame, PythonFrame};
use crate::native::symbol_store::SymbolStore;
use crate::native::symbols::{HIDDEN, Symbolizer};
use crate::profile::{Earlier, Frame, FrameKind, Sample, Samples, StackTree, Thread};
use crate::sampling::target::{Gathered, PythonSide, Sight, Tally, Target};

/// The functions of the kernel that switch to another thread.
const SCHEDULER: [&str; 2] = ["schedule [kernel]", "__schedule [kernel]"];

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
    /// The samples on them.
    pub samples: Samples,
    /// How many, how well.
    pub counts: Counts,
}

/// Which samples are put together, and how.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The Python function that marks samples inside the op.
    pub op: Option<&'a str>,
    /// Whether the samples are waits: each ends in the scheduler, and what led there is the leaf.
    pub waits: bool,
    /// What is outside of the outermost Python frame that begins so is left out, where a stack has one.
    pub root: Option<&'a str>,
}

fn leave_out_above(root: &str, frames: &mut Vec<Frame>) {
    let is_root = |frame: &Frame| frame.kind == FrameKind::Python && frame.name.starts_with(root);
    if let Some(at) = frames.iter().position(is_root) {
        frames.drain(..at);
    }
}

/// Puts the stacks of `target` together, of those samples whose time (CLOCK_MONOTONIC ns) is to be kept; `store` keeps the symbols for
/// the next.
pub fn assemble(
    target: Target,
    store: &mut SymbolStore,
    question: Question<'_>,
    keep: impl Fn(u64) -> bool,
) -> Assembled {
    let (pid, process) = (target.pid(), target.name());
    let (walker, mut gathered) = target.into_parts();
    let counts = Counts {
        looks: gathered.looks,
        failed_looks: gathered.torn_looks,
        ..Counts::default()
    };
    let sights = gathered.take_sights();
    gathered.timed.retain(|sample| keep(sample.time_ns));
    let mut tallies = vec![Tally::default(); sights.len()];
    for ((sight, _), tally) in &gathered.earlier {
        tallies[*sight as usize] += *tally;
    }
    for sample in &gathered.timed {
        tallies[sample.sight as usize].add(sample.weight);
    }
    let mut assembly = Assembly {
        question,
        symbols: Symbolizer::new(walker, store),
        done: Assembled {
            counts,
            ..Assembled::default()
        },
    };
    let add = |(sight, tally): (&Sight, &Tally)| {
        (tally.samples > 0).then(|| assembly.add(sight, *tally))?
    };
    let stacks: Vec<Option<u32>> = sights.iter().zip(&tallies).map(add).collect();
    let mut done = assembly.done;
    done.samples = samples(gathered, &stacks, (pid, &process));
    done
}

/// The samples on the nodes that `stacks` has for what they show; what shows nothing has none.
fn samples(gathered: Gathered, stacks: &[Option<u32>], (pid, process): (u32, &str)) -> Samples {
    let mut threads = Threads::default();
    let timed = gathered.timed.iter().filter_map(|sample| {
        Some(Sample {
            time_ns: sample.time_ns,
            thread: threads.index(sample.tid),
            stack: stacks[sample.sight as usize]?,
            weight: sample.weight,
        })
    });
    let mut timed: Vec<Sample> = timed.collect();
    timed.sort_by_key(|sample| sample.time_ns);
    let earlier: BTreeMap<_, _> = gathered.earlier.into_iter().collect();
    let earlier = earlier.into_iter().filter_map(|((sight, tid), tally)| {
        Some(Earlier {
            thread: Some(threads.index(tid)),
            stack: stacks[sight as usize]?,
            samples: tally.samples,
            weight: tally.weight,
        })
    });
    let earlier = earlier.collect();
    let mut names = gathered.thread_names;
    let thread = |tid: &u32| Thread {
        pid,
        tid: *tid,
        name: names.remove(tid).unwrap_or_else(|| tid.to_string()),
        process: process.to_owned(),
    };
    Samples {
        threads: threads.tids.iter().map(thread).collect(),
        timed,
        earlier,
        ..Samples::default()
    }
}

/// The threads in the order in which they are met.
#[derive(Default)]
struct Threads {
    tids: Vec<u32>,
    known: HashMap<u32, u32>,
}

impl Threads {
    fn index(&mut self, tid: u32) -> u32 {
        let next = self.tids.len() as u32;
        *self.known.entry(tid).or_insert_with(|| {
            self.tids.push(tid);
            next
        })
    }
}

struct Assembly<'a> {
    question: Question<'a>,
    symbols: Symbolizer<'a>,
    done: Assembled,
}

impl Assembly<'_> {
    /// Counts the samples that show `sight`; gives the node of its stack.
    fn add(&mut self, sight: &Sight, tally: Tally) -> Option<u32> {
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
        while self.question.waits && merged.frames.last().is_some_and(is_scheduler) {
            merged.frames.pop();
        }
        if let Some(root) = self.question.root {
            leave_out_above(root, &mut merged.frames);
        }
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
            in_op: if_so(self.question.op.is_some_and(|op| sight.python.runs(op))),
            merged: if_so(merged.agreed),
            unwound: if_so(complete),
            joined_workers: if_so(joined),
            hidden_kernel: if_so(hidden_kernel),
            ..Counts::default()
        };
        self.done.stacks.add(&merged.frames, tally.weight)
    }

    /// The native frames from root to leaf.
    fn native(&mut self, sight: &Sight) -> Vec<NativeFrame> {
        self.symbols.stack(&sight.user.addresses)
    }
}

fn is_scheduler(frame: &Frame) -> bool {
    frame.kind == FrameKind::Kernel && SCHEDULER.iter().any(|name| **name == *frame.name)
}
