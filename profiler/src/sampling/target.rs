//! What is gathered of one program in one process: from its start to its end, its exec, or the end of the recording.
//!
//! In: raw samples and records of life. Out: walked stacks and Python stacks, unnamed, with what names them.

use std::collections::HashMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::clock::now_ns;
use super::mark::works_for;
use super::record::RawSample;
use crate::native::maps::{Mapping, Maps};
use crate::native::unwind::{NativeStack, StackWalker};
use crate::python::{PythonReader, PythonSnapshot};

/// How long to wait between looks for an interpreter in a process that has just begun to run, ns.
const RETRY_NS: u64 = 50_000_000;
/// How often to look for it.
const TRIES: u32 = 40;

/// After a look at the Python stacks that took so long, there is none for so many times as long: on a machine whose cores are
/// all busy, what the profiler takes the target lacks.
const REST: u64 = 9;

/// So many looks that show the same are calm.
const CALM: u32 = 10;

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
    /// How much it counts.
    pub weight: u64,
}

/// The interpreter of a target.
enum Interpreter {
    Found(Box<PythonReader>),
    /// The process may not have come so far yet, or may not be Python at all.
    NotYet {
        next_try_ns: u64,
        tries: u32,
    },
}

/// What was gathered of a program.
#[derive(Default)]
pub struct Gathered {
    /// In the order in which they were read: by time on each CPU.
    pub samples: Vec<Sample>,
    /// Python stacks by the time at which they were read, CLOCK_MONOTONIC ns, ascending.
    pub snapshots: Vec<(u64, Arc<PythonSnapshot>)>,
    /// Looks at the Python stacks that failed.
    pub failed_snapshots: u64,
    /// Names of its threads.
    pub thread_names: HashMap<u32, String>,
}

/// One program in one process.
pub struct Target {
    walker: StackWalker,
    interpreter: Interpreter,
    gathered: Gathered,
    /// No look at the Python stacks before, CLOCK_MONOTONIC ns.
    rests_until_ns: u64,
    /// Looks since the Python stacks last changed.
    unchanged_looks: u32,
}

impl Target {
    /// The program of process `pid` with its executable mappings; its interpreter, if it is known already.
    pub fn new(pid: u32, maps: Maps, python: Option<Box<PythonReader>>) -> Target {
        let not_yet = Interpreter::NotYet {
            next_try_ns: 0,
            tries: TRIES,
        };
        Target {
            walker: StackWalker::new(pid, maps),
            interpreter: python.map_or(not_yet, Interpreter::Found),
            gathered: Gathered::default(),
            rests_until_ns: 0,
            unchanged_looks: 0,
        }
    }

    /// A process that was just forked from this one: it has the same mappings.
    pub(super) fn forked(&self, pid: u32) -> Target {
        Target::new(pid, self.walker.maps().clone(), None)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.walker.pid()
    }

    /// The program's name, as the kernel keeps it for its first thread.
    pub fn name(&self) -> String {
        let name = self.gathered.thread_names.get(&self.pid());
        name.map_or_else(|| thread_name(self.pid(), self.pid()), String::clone)
    }

    /// Gives the interpreter back, to record on.
    pub fn take_python(&mut self) -> Option<Box<PythonReader>> {
        let none = Interpreter::NotYet {
            next_try_ns: 0,
            tries: 0,
        };
        match std::mem::replace(&mut self.interpreter, none) {
            Interpreter::Found(python) => Some(python),
            Interpreter::NotYet { .. } => None,
        }
    }

    /// What names the addresses, and what was gathered.
    pub fn into_parts(self) -> (StackWalker, Gathered) {
        (self.walker, self.gathered)
    }

    pub(super) fn name_thread(&mut self, tid: u32, name: String) {
        self.gathered.thread_names.insert(tid, name);
    }

    pub(super) fn map(&mut self, mapping: Mapping) {
        self.walker.map(mapping);
    }

    /// Walks and keeps a sample; gives its number.
    pub(super) fn add(&mut self, sample: RawSample) -> usize {
        let (user, works_for) = match sample.user {
            Some((registers, stack)) => (self.walker.walk(registers, &stack), works_for(&stack)),
            // The kernel on its own account: there is nothing to walk.
            None => (
                NativeStack {
                    addresses: Vec::new(),
                    complete: true,
                },
                None,
            ),
        };
        let pid = self.pid();
        let names = &mut self.gathered.thread_names;
        names
            .entry(sample.tid)
            .or_insert_with(|| thread_name(pid, sample.tid));
        self.gathered.samples.push(Sample {
            time_ns: sample.time_ns,
            tid: sample.tid,
            kernel: sample.kernel,
            user,
            works_for,
            weight: sample.weight,
        });
        self.gathered.samples.len() - 1
    }

    /// Says later how much a sample counts, whose thread stood still for a time (CLOCK_MONOTONIC ns): a Python stack that was
    /// read meanwhile is its own.
    pub(super) fn weigh(&mut self, sample: usize, weight: u64, still: RangeInclusive<u64>) {
        let snapshots = &self.gathered.snapshots;
        let first = snapshots.partition_point(|(time, _)| time < still.start());
        let meanwhile = snapshots.get(first).map(|(time, _)| *time);
        if let Some(sample) = self.gathered.samples.get_mut(sample) {
            sample.weight = weight;
            // An idle worker works for nobody, unless its stack says so: itself, that is.
            sample.works_for.get_or_insert(sample.tid);
            sample.time_ns = meanwhile
                .filter(|time| still.contains(time))
                .unwrap_or(*still.start());
        }
    }

    /// Whether the Python stacks have not changed for some time.
    pub(super) fn is_calm(&self) -> bool {
        self.unchanged_looks >= CALM
    }

    /// Makes the next look at the Python stacks not wait.
    pub(super) fn rest_no_more(&mut self) {
        self.rests_until_ns = 0;
    }

    /// Whether the Python function `op` was on a stack at the last look.
    pub(super) fn last_ran(&self, op: &str) -> bool {
        self.gathered
            .snapshots
            .last()
            .is_some_and(|(_, snapshot)| snapshot.runs(op))
    }

    /// Reads and keeps the Python stacks, if the process has an interpreter and it is time again.
    pub(super) fn look_at_python(&mut self) -> io::Result<()> {
        let now = now_ns()?;
        if now < self.rests_until_ns {
            return Ok(());
        }
        self.find_interpreter(now);
        let Interpreter::Found(python) = &mut self.interpreter else {
            return Ok(());
        };
        let before = now_ns()?;
        let snapshot = python.snapshot();
        let after = now_ns()?;
        self.rests_until_ns = after + REST * (after - before);
        let Some(snapshot) = snapshot else {
            self.gathered.failed_snapshots += 1;
            return Ok(());
        };
        let middle = before + (after - before) / 2;
        let same = self
            .gathered
            .snapshots
            .last()
            .filter(|(_, last)| **last == snapshot);
        self.unchanged_looks = match same {
            Some(_) => self.unchanged_looks.saturating_add(1),
            None => 0,
        };
        let snapshot = same.map_or_else(|| Arc::new(snapshot), |(_, last)| Arc::clone(last));
        self.gathered.snapshots.push((middle, snapshot));
        Ok(())
    }

    fn find_interpreter(&mut self, now: u64) {
        let Interpreter::NotYet { next_try_ns, tries } = &mut self.interpreter else {
            return;
        };
        if *tries == 0 || now < *next_try_ns || !self.walker.maps().any_file(looks_like_python) {
            return;
        }
        *tries -= 1;
        *next_try_ns = now + RETRY_NS;
        if let Ok(python) = PythonReader::new(self.walker.pid(), 1) {
            self.interpreter = Interpreter::Found(Box::new(python));
        }
    }
}

fn looks_like_python(file_name: &str) -> bool {
    file_name.contains("python")
}

fn thread_name(pid: u32, tid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm"))
        .map_or_else(|_| tid.to_string(), |name| name.trim_end().to_owned())
}
