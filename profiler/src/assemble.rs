//! From what was gathered of a program to merged stacks: names the addresses, finds the Python stack of each sample, merges.
//!
//! In: a [`Target`] whose recording is over. Out: a tree of stacks, and how well they could be put together.

use std::collections::HashSet;
use std::sync::Arc;

use crate::merge::{self, NativeFrame, PythonFrame, Role};
use crate::native::symbol_store::SymbolStore;
use crate::native::symbols::Symbolizer;
use crate::profile::{Frame, FrameKind, StackTree};
use crate::python::PythonSnapshot;
use crate::sampling::target::{Gathered, Sample, Target};

/// How far from a sample a Python stack may have been read to be taken for the sample's own.
const NEAR_NS: u64 = 20_000_000;

type Frames = Arc<[PythonFrame]>;

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
        self.looks += other.looks;
        self.failed_looks += other.failed_looks;
    }
}

/// The stacks of one program.
#[derive(Debug, Default)]
pub struct Assembled {
    /// Merged.
    pub stacks: StackTree,
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
    let pid = target.pid();
    let (walker, gathered) = target.into_parts();
    let threads = gathered
        .snapshots
        .iter()
        .flat_map(|(_, snapshot)| &snapshot.threads);
    let mut assembly = Assembly {
        pid,
        op,
        python_threads: threads.map(|thread| thread.tid.unwrap_or(pid)).collect(),
        symbols: Symbolizer::new(walker, store),
        gathered: &gathered,
        done: Assembled::default(),
    };
    for sample in gathered
        .samples
        .iter()
        .filter(|sample| sample.weight > 0 && keep(sample.time_ns))
    {
        assembly.add(sample);
    }
    let mut done = assembly.done;
    done.counts.looks = gathered.snapshots.len() as u64 + gathered.failed_snapshots;
    done.counts.failed_looks = gathered.failed_snapshots;
    done
}

struct Assembly<'a> {
    pid: u32,
    op: Option<&'a str>,
    /// Threads that had Python state at any time.
    python_threads: HashSet<u32>,
    symbols: Symbolizer<'a>,
    gathered: &'a Gathered,
    done: Assembled,
}

/// A merged stack, the Python frames in it, and whether they fit.
struct Stack<'a> {
    frames: Vec<Frame>,
    python: Option<&'a Frames>,
    merged: bool,
}

impl<'a> Assembly<'a> {
    fn add(&mut self, sample: &Sample) {
        let native = self.native(sample);
        let near = near(&self.gathered.snapshots, sample.time_ns);
        let runs_python = self.python_threads.contains(&sample.tid)
            || native.iter().any(|frame| frame.role == Role::Evaluator);
        let mut stack = match runs_python || near.is_empty() {
            true => self.merge(sample, &native, &near),
            false => self.join_worker(sample, &native, &near),
        };
        for &address in sample.kernel.iter().rev() {
            let name = self.symbols.kernel(address);
            stack.frames.push(Frame {
                kind: FrameKind::Kernel,
                name,
            });
        }
        let in_op = |frames: &Frames| frames.iter().any(|frame| Some(&*frame.function) == self.op);
        let in_op = stack.python.is_some_and(in_op);
        self.done.stacks.add(&stack.frames, sample.weight);
        self.done.counts += Counts {
            samples: 1,
            in_op: u64::from(in_op),
            merged: u64::from(stack.merged),
            unwound: u64::from(sample.user.complete),
            ..Counts::default()
        };
    }

    /// The native frames from root to leaf.
    fn native(&mut self, sample: &Sample) -> Vec<NativeFrame> {
        let addresses = sample.user.addresses.iter().rev();
        addresses
            .map(|&address| self.symbols.user(address))
            .collect()
    }

    /// Merges with the nearest Python stack that fits, else with the nearest; a process or a time without Python has native
    /// frames alone.
    fn merge(
        &self,
        sample: &Sample,
        native: &[NativeFrame],
        near: &[&'a PythonSnapshot],
    ) -> Stack<'a> {
        let complete = sample.user.complete;
        let of_thread: Vec<&Frames> = near
            .iter()
            .filter_map(|snapshot| snapshot.thread(sample.tid, self.pid))
            .map(|thread| &thread.frames)
            .collect();
        let fits = |python: &&&Frames| merge::agree(native, complete, python);
        let python = of_thread.iter().find(fits).or(of_thread.first()).copied();
        let merged = merge::merge(native, complete, python.map_or(&[], |frames| frames));
        Stack {
            frames: merged.frames,
            python,
            merged: merged.agreed,
        }
    }

    fn join_worker(
        &mut self,
        sample: &Sample,
        native: &[NativeFrame],
        near: &[&'a PythonSnapshot],
    ) -> Stack<'a> {
        let caller = near
            .first()
            .and_then(|snapshot| caller(snapshot, sample.works_for, self.pid));
        let name = self
            .gathered
            .thread_names
            .get(&sample.tid)
            .map_or("?", String::as_str);
        self.done.counts.joined_workers += u64::from(caller.is_some());
        let frames = merge::join_worker(
            native,
            sample.user.complete,
            name,
            caller.map(|frames| &**frames),
        );
        Stack {
            frames,
            python: caller,
            merged: caller.is_some() && sample.user.complete,
        }
    }
}

/// The snapshots before and after a time, the nearer first. One that is too far away does not count, unless both
/// show the same: then nothing has changed between them.
fn near(snapshots: &[(u64, Arc<PythonSnapshot>)], time_ns: u64) -> Vec<&PythonSnapshot> {
    let after = snapshots.partition_point(|(time, _)| *time < time_ns);
    let mut around: Vec<&(u64, Arc<PythonSnapshot>)> = after
        .checked_sub(1)
        .and_then(|before| snapshots.get(before))
        .into_iter()
        .chain(snapshots.get(after))
        .collect();
    around.sort_by_key(|(time, _)| time.abs_diff(time_ns));
    let unchanged = matches!(around.as_slice(), [one, other] if one.1 == other.1);
    around
        .into_iter()
        .filter(|(time, _)| unchanged || time.abs_diff(time_ns) <= NEAR_NS)
        .map(|(_, snapshot)| &**snapshot)
        .collect()
}

/// The Python stack of the thread that a worker thread works for, where that is certain: the worker says so, or
/// there is only one.
fn caller(snapshot: &PythonSnapshot, works_for: Option<u32>, pid: u32) -> Option<&Frames> {
    let thread = match (works_for, snapshot.threads.as_slice()) {
        (Some(tid), _) => snapshot.thread(tid, pid)?,
        (None, [only]) => only,
        (None, _) => return None,
    };
    Some(&thread.frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::PythonThread;

    fn snapshot(function: &str) -> Arc<PythonSnapshot> {
        let frame = PythonFrame {
            label: function.into(),
            function: function.into(),
            entry: true,
        };
        Arc::new(PythonSnapshot {
            threads: vec![PythonThread {
                tid: Some(1),
                frames: [frame].into(),
            }],
        })
    }

    #[test]
    fn the_nearest_snapshot_comes_first_and_far_ones_never() {
        let snapshots = [
            (100, snapshot("f")),
            (200, snapshot("g")),
            (300 + NEAR_NS, snapshot("h")),
        ];
        let found = near(&snapshots, 180);
        assert!(std::ptr::eq(found[0], &*snapshots[1].1));
        assert!(std::ptr::eq(found[1], &*snapshots[0].1));
        assert_eq!(near(&snapshots, 299).len(), 1);
        assert!(near(&snapshots, 10 * NEAR_NS).is_empty());
    }

    #[test]
    fn far_snapshots_count_when_nothing_changed_between_them() {
        let far = 10 * NEAR_NS;
        assert_eq!(
            near(&[(0, snapshot("f")), (2 * far, snapshot("f"))], far).len(),
            2
        );
        assert_eq!(
            near(&[(0, snapshot("f")), (2 * far, snapshot("g"))], far).len(),
            0
        );
    }
}
