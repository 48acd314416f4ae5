//! One recording: drains the rings, walks each stack copy and looks at the Python stacks meanwhile.
//!
//! In: sampling events of a process. Out: a [`Recording`], raw and unnamed; nothing is symbolised here, so that
//! the loop keeps up. The work is done on a thread of its own between [`Session::start`] and [`Session::stop`].

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

use super::events::SamplingEvents;
use super::mark::works_for;
use super::record::{RawSample, Record, parse};
use crate::native::unwind::{NativeStack, StackWalker};
use crate::python::{PythonReader, PythonSnapshot};

/// How long the loop waits for samples before it looks whether it is to stop.
const POLL_MS: u8 = 20;

/// One sample with walked, unnamed stack.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was taken, CLOCK_MONOTONIC ns.
    pub time_ns: u64,
    /// The thread.
    pub tid: u32,
    /// Kernel addresses, from leaf to root.
    pub kernel: Vec<u64>,
    /// User addresses.
    pub user: NativeStack,
    /// The thread whose work this thread did, where its stack says so.
    pub works_for: Option<u32>,
}

/// Everything that one recording gathered.
#[derive(Debug, Default)]
pub struct Recording {
    /// In the order in which they were read: by time on each CPU.
    pub samples: Vec<Sample>,
    /// Python stacks by the time at which they were read, CLOCK_MONOTONIC ns, ascending.
    pub snapshots: Vec<(u64, Arc<PythonSnapshot>)>,
    /// Looks at the Python stacks that failed.
    pub failed_snapshots: u64,
    /// Samples that found no room in the rings.
    pub lost: u64,
    /// Names of threads that were renamed meanwhile.
    pub thread_names: HashMap<u32, String>,
}

/// What the sampling thread works with; handed back at the end.
pub struct Tools {
    /// The sampling events.
    pub events: SamplingEvents,
    /// The reader of Python stacks.
    pub python: Box<PythonReader>,
    /// The stack walker, which names the target.
    pub walker: StackWalker,
}

/// A recording under way.
pub struct Session {
    stop: Arc<AtomicBool>,
    in_op: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<(Tools, Recording)>>,
}

impl Session {
    /// Starts to record. Samples that are taken while a frame of the Python function `op` is on a stack are counted
    /// as they come.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn start(tools: Tools, op: &str) -> io::Result<Session> {
        let stop = Arc::new(AtomicBool::new(false));
        let in_op = Arc::new(AtomicU64::new(0));
        let mut worker = Loop {
            tools,
            op: op.to_owned(),
            in_op: Arc::clone(&in_op),
            recording: Recording::default(),
        };
        let asked_to_stop = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(move || {
                worker.run(&asked_to_stop)?;
                Ok((worker.tools, worker.recording))
            })?;
        Ok(Session {
            stop,
            in_op,
            thread,
        })
    }

    /// Samples inside the op so far.
    pub fn in_op(&self) -> u64 {
        self.in_op.load(Ordering::Relaxed)
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// What the system said to the sampling thread.
    pub fn stop(self) -> io::Result<(Tools, Recording)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the sampling thread panicked")))
    }
}

struct Loop {
    tools: Tools,
    op: String,
    in_op: Arc<AtomicU64>,
    recording: Recording,
}

impl Loop {
    fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        self.tools.events.enable()?;
        self.look_at_python()?;
        while !stop.load(Ordering::Relaxed) {
            if self.wait()? {
                let in_op = self.look_at_python()?;
                let samples = self.drain();
                if in_op {
                    self.in_op.fetch_add(samples, Ordering::Relaxed);
                }
            }
        }
        self.tools.events.disable()?;
        self.look_at_python()?;
        self.drain();
        Ok(())
    }

    fn wait(&self) -> io::Result<bool> {
        let mut ready: Vec<PollFd<'_>> = self
            .tools
            .events
            .descriptors()
            .into_iter()
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        match poll(&mut ready, PollTimeout::from(POLL_MS)) {
            Ok(count) => Ok(count > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a snapshot; true where the op is on a stack.
    fn look_at_python(&mut self) -> io::Result<bool> {
        let before = now_ns()?;
        let Some(snapshot) = self.tools.python.snapshot() else {
            self.recording.failed_snapshots += 1;
            return Ok(false);
        };
        let middle = before + (now_ns()? - before) / 2;
        let in_op = snapshot.threads.iter().any(|thread| {
            thread
                .frames
                .iter()
                .any(|frame| *frame.function == *self.op)
        });
        let same = self
            .recording
            .snapshots
            .last()
            .filter(|(_, last)| **last == snapshot);
        let snapshot = same.map_or_else(|| Arc::new(snapshot), |(_, last)| Arc::clone(last));
        self.recording.snapshots.push((middle, snapshot));
        Ok(in_op)
    }

    /// Reads what waits in the rings; gives the number of samples.
    fn drain(&mut self) -> u64 {
        let info = self.tools.events.parse_info();
        let Tools { events, walker, .. } = &mut self.tools;
        let pid = walker.pid();
        let recording = &mut self.recording;
        let before = recording.samples.len();
        for ring in events.rings() {
            ring.drain(|kind, misc, body| match parse(kind, misc, body, info) {
                Some(Record::Sample(sample)) => recording.samples.push(walk(walker, sample)),
                Some(Record::Map {
                    pid: whose,
                    mapping,
                }) if whose == pid => walker.map(mapping),
                Some(Record::Lost(count)) => recording.lost += count,
                Some(Record::ThreadName { tid, name }) => {
                    recording.thread_names.insert(tid, name);
                }
                Some(Record::Map { .. }) | None => {}
            });
        }
        (recording.samples.len() - before) as u64
    }
}

fn walk(walker: &mut StackWalker, sample: RawSample) -> Sample {
    let (user, works_for) = match sample.user {
        Some((registers, stack)) => (walker.walk(registers, &stack), works_for(&stack)),
        None => (NativeStack::default(), None),
    };
    Sample {
        time_ns: sample.time_ns,
        tid: sample.tid,
        kernel: sample.kernel,
        user,
        works_for,
    }
}

/// CLOCK_MONOTONIC, the clock of the samples, ns.
fn now_ns() -> io::Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned())
}
