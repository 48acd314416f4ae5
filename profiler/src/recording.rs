//! Records one backend's profile: sampling while it runs, naming and merging once it is over.
//!
//! In: a process and the windows in which the op ran. Out: a [`Profile`].

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use crate::merge::{self, NativeFrame, PythonFrame};
use crate::native::maps::Maps;
use crate::native::symbols::Symbolizer;
use crate::native::unwind::StackWalker;
use crate::profile::{Frame, FrameKind, Profile, Sampling, StackTree};
use crate::python::{PythonReader, PythonSnapshot};
use crate::sampling::events::{OpenError, SamplingEvents};
use crate::sampling::session::{Recording, Sample, Session, Tools};
use crate::worker::Window;

/// How far from a sample a Python stack may have been read to be taken for the sample's own.
const NEAR_NS: u64 = 20_000_000;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Sampling can't be had.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The Python stacks can't be read.
    #[error(
        "the Python stacks of process {pid} can't be read: {reason}; in a container allow process_vm_readv in the seccomp profile, and see /proc/sys/kernel/yama/ptrace_scope"
    )]
    Python {
        /// The target.
        pid: u32,
        /// What py-spy said.
        reason: String,
    },
    /// The system failed while recording.
    #[error("recording failed: {0}")]
    Io(#[from] io::Error),
    /// Start and finish did not alternate, or an earlier recording failed.
    #[error(
        "the recorder is not ready: start and finish must alternate, and an earlier failure ends it"
    )]
    NotReady,
}

impl RecordError {
    /// Whether the environment denies what recording needs.
    pub fn is_denial(&self) -> bool {
        matches!(
            self,
            RecordError::Open(OpenError::Denied { .. } | OpenError::Ring { .. })
                | RecordError::Python { .. }
        )
    }
}

type Frames = Arc<[PythonFrame]>;
/// A merged stack, the Python frames in it, and whether they fit.
type Stack<'a> = (Vec<Frame>, Option<&'a Frames>, bool);

enum State {
    /// The interpreter is not looked for yet: at this time it may not have begun to run.
    Opened(SamplingEvents),
    Ready(SamplingEvents, Box<PythonReader>),
    Recording(Session),
    Broken,
}

/// Records profiles of one process, one after the other.
pub struct Recorder {
    pid: u32,
    rate_hz: u32,
    op: String,
    state: State,
}

impl Recorder {
    /// Opens the sampler on process `pid` and the threads that it will start.
    ///
    /// # Errors
    /// [`RecordError::Open`].
    pub fn open(pid: u32, rate_hz: u32) -> Result<Recorder, RecordError> {
        let state = State::Opened(SamplingEvents::open(pid, rate_hz)?);
        Ok(Recorder {
            pid,
            rate_hz,
            op: String::new(),
            state,
        })
    }

    /// Starts to record; `op` is the Python function that marks samples inside the op.
    ///
    /// # Errors
    /// [`RecordError::Python`] when the interpreter can't be read, [`RecordError::Io`].
    pub fn start(&mut self, op: &str) -> Result<(), RecordError> {
        let (events, python) = match std::mem::replace(&mut self.state, State::Broken) {
            State::Ready(events, python) => (events, python),
            State::Opened(events) => (events, self.python_reader()?),
            State::Recording(_) | State::Broken => return Err(RecordError::NotReady),
        };
        let walker = StackWalker::new(self.pid, Maps::read(self.pid)?);
        op.clone_into(&mut self.op);
        self.state = State::Recording(Session::start(
            Tools {
                events,
                python,
                walker,
            },
            op,
        )?);
        Ok(())
    }

    fn python_reader(&self) -> Result<Box<PythonReader>, RecordError> {
        PythonReader::new(self.pid)
            .map(Box::new)
            .map_err(|reason| RecordError::Python {
                pid: self.pid,
                reason,
            })
    }

    /// Samples inside the op so far.
    pub fn in_op(&self) -> u64 {
        match &self.state {
            State::Recording(session) => session.in_op(),
            _ => 0,
        }
    }

    /// Stops and gives the profile of the samples within the windows.
    ///
    /// # Errors
    /// [`RecordError::Io`] when the sampling thread failed, [`RecordError::NotReady`].
    pub fn finish(&mut self, windows: &[Window]) -> Result<Profile, RecordError> {
        let State::Recording(session) = std::mem::replace(&mut self.state, State::Broken) else {
            return Err(RecordError::NotReady);
        };
        let (tools, recording) = session.stop()?;
        let mut build = Build {
            pid: self.pid,
            op: &self.op,
            symbols: Symbolizer::new(tools.walker),
            thread_names: thread_names(self.pid, &recording),
            python_threads: python_threads(self.pid, &recording),
            stacks: StackTree::default(),
            counts: Counts::default(),
        };
        for sample in recording
            .samples
            .iter()
            .filter(|sample| within(sample.time_ns, windows))
        {
            build.add(sample, &recording);
        }
        let sampling = build
            .counts
            .sampling(&tools.events, self.rate_hz, &recording);
        self.state = State::Ready(tools.events, tools.python);
        Ok(Profile {
            stacks: build.stacks,
            sampling,
        })
    }
}

/// Whether a time lies in one of the windows (ordered, apart).
fn within(time_ns: u64, windows: &[Window]) -> bool {
    let after = windows.partition_point(|window| window.start_ns <= time_ns);
    windows[..after]
        .last()
        .is_some_and(|window| time_ns <= window.end_ns)
}

fn thread_names(pid: u32, recording: &Recording) -> HashMap<u32, String> {
    let mut names = recording.thread_names.clone();
    for sample in &recording.samples {
        names.entry(sample.tid).or_insert_with(|| {
            std::fs::read_to_string(format!("/proc/{pid}/task/{}/comm", sample.tid)).map_or_else(
                |_| sample.tid.to_string(),
                |name| name.trim_end().to_owned(),
            )
        });
    }
    names
}

/// Threads that had Python state at any time.
fn python_threads(pid: u32, recording: &Recording) -> HashSet<u32> {
    let threads = recording
        .snapshots
        .iter()
        .flat_map(|(_, snapshot)| &snapshot.threads);
    threads.map(|thread| thread.tid.unwrap_or(pid)).collect()
}

#[derive(Default)]
struct Counts {
    samples: u64,
    in_op: u64,
    merged: u64,
    unwound: u64,
    joined_workers: u64,
}

impl Counts {
    fn sampling(&self, events: &SamplingEvents, rate_hz: u32, recording: &Recording) -> Sampling {
        let ratio = |part: u64, all: u64| {
            if all == 0 {
                0.0
            } else {
                part as f64 / all as f64
            }
        };
        let looks = recording.snapshots.len() as u64 + recording.failed_snapshots;
        Sampling {
            event: events.event.to_owned(),
            rate_hz,
            samples: self.samples,
            in_op: self.in_op,
            lost: recording.lost,
            merged: self.merged,
            merged_ratio: ratio(self.merged, self.samples),
            unwound_ratio: ratio(self.unwound, self.samples),
            joined_workers: self.joined_workers,
            kernel_frames: events.kernel,
            python_failed_ratio: ratio(recording.failed_snapshots, looks),
        }
    }
}

struct Build<'a> {
    pid: u32,
    op: &'a str,
    symbols: Symbolizer,
    thread_names: HashMap<u32, String>,
    python_threads: HashSet<u32>,
    stacks: StackTree,
    counts: Counts,
}

impl Build<'_> {
    fn add(&mut self, sample: &Sample, recording: &Recording) {
        let native: Vec<NativeFrame> = sample
            .user
            .addresses
            .iter()
            .rev()
            .map(|&address| self.symbols.user(address))
            .collect();
        let near = near(&recording.snapshots, sample.time_ns);
        let (mut stack, python, merged) = if self.python_threads.contains(&sample.tid) {
            self.merge_python_thread(sample, &native, &near)
        } else {
            self.join_worker(sample, &native, &near)
        };
        for &address in sample.kernel.iter().rev() {
            stack.push(Frame {
                kind: FrameKind::Kernel,
                name: self.symbols.kernel(address),
            });
        }
        self.stacks.add(&stack, 1);
        self.counts.samples += 1;
        self.counts.merged += u64::from(merged);
        self.counts.unwound += u64::from(sample.user.complete);
        let in_op =
            python.is_some_and(|frames| frames.iter().any(|frame| &*frame.function == self.op));
        self.counts.in_op += u64::from(in_op);
    }

    /// Merges with the nearest Python stack that fits, else with the nearest.
    fn merge_python_thread<'a>(
        &self,
        sample: &Sample,
        native: &[NativeFrame],
        near: &[&'a PythonSnapshot],
    ) -> Stack<'a> {
        let of_thread: Vec<&Frames> = near
            .iter()
            .filter_map(|snapshot| snapshot.thread(sample.tid, self.pid))
            .map(|thread| &thread.frames)
            .collect();
        let fits = |python: &&&Frames| merge::agree(native, sample.user.complete, python);
        let python = of_thread.iter().find(fits).or(of_thread.first()).copied();
        let merged = merge::merge(
            native,
            sample.user.complete,
            python.map_or(&[], |frames| frames),
        );
        (merged.frames, python, merged.agreed)
    }

    fn join_worker<'a>(
        &mut self,
        sample: &Sample,
        native: &[NativeFrame],
        near: &[&'a PythonSnapshot],
    ) -> Stack<'a> {
        let caller = near
            .first()
            .and_then(|snapshot| caller(snapshot, sample.works_for, self.pid));
        let name = self
            .thread_names
            .get(&sample.tid)
            .map_or("?", String::as_str);
        self.counts.joined_workers += u64::from(caller.is_some());
        (
            merge::join_worker(native, name, caller.map(|frames| &**frames)),
            caller,
            caller.is_some(),
        )
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

    #[test]
    fn samples_outside_windows_are_left_out() {
        let windows = [
            Window {
                start_ns: 10,
                end_ns: 20,
            },
            Window {
                start_ns: 30,
                end_ns: 40,
            },
        ];
        let inside: Vec<u64> = (0..50).filter(|time| within(*time, &windows)).collect();
        assert_eq!(inside, (10..=20).chain(30..=40).collect::<Vec<_>>());
        assert!(!within(10, &[]));
    }

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
