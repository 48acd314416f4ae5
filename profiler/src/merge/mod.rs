//! One stack out of two: the native frames of a sample and the Python frames of the same thread.
//!
//! Pure: no I/O, no clock. In: both stacks from root to leaf. Out: one stack, and whether the two agreed.
//!
//! The interpreter runs Python code in a C function, the evaluator. On the native stack each call of the
//! evaluator is one frame; on the Python stack it is one or more frames, since CPython 3.11 calls a Python
//! function from a Python function without entering the evaluator anew. Entry frames tell where each
//! evaluator call begins. Both sides must count the same number of evaluator calls; then each evaluator
//! frame is replaced by its Python frames, and what C code stands between two evaluator calls keeps its place.

mod roles;

use std::sync::Arc;

use crate::profile::{Frame, FrameKind};

pub use roles::Role;

/// The step where the native part of a stack could not be walked to its root.
pub const CUT: &str = "[native stack cut]";
/// The root of a stack whose native and Python frames don't fit together.
pub const NO_PYTHON: &str = "[python?]";
/// The root of samples of threads that no Python call can be told for.
pub const UNATTRIBUTED: &str = "[unattributed threads]";

/// A named frame of native code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeFrame {
    /// `symbol [module]`.
    pub name: Arc<str>,
    /// Its part in a Python process.
    pub role: Role,
}

impl NativeFrame {
    /// A frame called `name` that plays `role`.
    pub fn new(name: impl Into<Arc<str>>, role: Role) -> NativeFrame {
        NativeFrame {
            name: name.into(),
            role,
        }
    }
}

/// A frame of Python code.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PythonFrame {
    /// `function (file.py:LINE)`.
    pub label: Arc<str>,
    /// The function's name alone.
    pub function: Arc<str>,
    /// Whether the evaluator was entered for this frame.
    pub entry: bool,
}

/// A merged stack, from root to leaf.
#[derive(Debug, PartialEq, Eq)]
pub struct Merged {
    /// The frames.
    pub frames: Vec<Frame>,
    /// Whether the native stack was whole and counted as many evaluator calls as the Python stack, or was a worker's whole stack
    /// under its caller's.
    pub agreed: bool,
}

/// Merges the stacks of a thread that runs Python.
///
/// `complete` tells whether `native` reaches the thread's first function. Where it does not, the Python
/// frames are the root and the native part follows behind [`CUT`]; where the two disagree, the native
/// frames stand alone behind [`NO_PYTHON`]. Neither counts as agreed.
pub fn merge(native: &[NativeFrame], complete: bool, python: &[PythonFrame]) -> Merged {
    let calls = evaluator_calls(python);
    let entered = evaluators(native);
    if complete && entered == calls.len() {
        return Merged {
            frames: interleave(native, &calls),
            agreed: true,
        };
    }
    if !complete && entered <= calls.len() {
        let (outer, inner) = calls.split_at(calls.len() - entered);
        let mut frames: Vec<Frame> = outer
            .iter()
            .flat_map(|call| call.iter().map(python_frame))
            .collect();
        frames.push(Frame::new(FrameKind::Marker, CUT));
        frames.extend(interleave(native, inner));
        return Merged {
            frames,
            agreed: false,
        };
    }
    let mut frames = vec![Frame::new(FrameKind::Marker, NO_PYTHON)];
    frames.extend(native.iter().map(native_frame));
    Merged {
        frames,
        agreed: false,
    }
}

/// The stack of a thread without Python state, under the Python call that keeps it busy (root to leaf),
/// or under [`UNATTRIBUTED`] where that is not known; behind [`CUT`] where it is not `complete`.
pub fn join_worker(
    native: &[NativeFrame],
    complete: bool,
    thread_name: &str,
    caller: Option<&[PythonFrame]>,
) -> Merged {
    let mut frames = match caller {
        Some(python) => python.iter().map(python_frame).collect(),
        None => vec![Frame::new(FrameKind::Marker, UNATTRIBUTED)],
    };
    frames.push(Frame::new(
        FrameKind::Worker,
        format!("[worker {thread_name}]"),
    ));
    if !complete {
        frames.push(Frame::new(FrameKind::Marker, CUT));
    }
    frames.extend(interleave(native, &[]));
    Merged {
        frames,
        agreed: complete && caller.is_some(),
    }
}

fn evaluators(native: &[NativeFrame]) -> usize {
    native
        .iter()
        .filter(|frame| frame.role == Role::Evaluator)
        .count()
}

/// Splits a Python stack before each entry frame.
fn evaluator_calls(python: &[PythonFrame]) -> Vec<&[PythonFrame]> {
    let mut calls = Vec::new();
    let mut rest = python;
    while !rest.is_empty() {
        let length = 1 + rest[1..].iter().take_while(|frame| !frame.entry).count();
        let (call, tail) = rest.split_at(length);
        calls.push(call);
        rest = tail;
    }
    calls
}

/// The native frames with each evaluator frame replaced by the frames of its call, in order. The interpreter's own call plumbing is left
/// out, except where it is the leaf: there it is what runs. So is a pool's, except where no work of anybody's follows.
fn interleave(native: &[NativeFrame], calls: &[&[PythonFrame]]) -> Vec<Frame> {
    let shown = |frame: &&NativeFrame| frame.role != Role::Instruction;
    let native: Vec<&NativeFrame> = native.iter().filter(shown).collect();
    let works = |frame: &&NativeFrame| matches!(frame.role, Role::Plain | Role::Evaluator);
    let work_ends = native.iter().rposition(works).map_or(0, |last| last + 1);
    let mut calls = calls.iter();
    let mut frames = Vec::new();
    for (index, frame) in native.iter().enumerate() {
        let leaf = index + 1 == native.len();
        match frame.role {
            Role::Evaluator => match calls.next() {
                Some(call) => frames.extend(call.iter().map(python_frame)),
                None => frames.push(native_frame(frame)),
            },
            Role::Glue if !leaf => {}
            Role::NamelessLibc if !leaf && frames.is_empty() => {}
            Role::Pool if index < work_ends => {}
            _ => frames.push(native_frame(frame)),
        }
    }
    frames
}

fn python_frame(frame: &PythonFrame) -> Frame {
    Frame {
        kind: FrameKind::Python,
        name: Arc::clone(&frame.label),
    }
}

fn native_frame(frame: &NativeFrame) -> Frame {
    Frame {
        kind: FrameKind::Native,
        name: Arc::clone(&frame.name),
    }
}

#[cfg(test)]
mod tests;
