//! What is gathered of one program in one process: from its start to its end, its exec, or the end of the recording.
//!
//! In: raw samples and records of life. Out: native and Python stacks, each kept once, with the samples that have them.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::clock::now_ns;
use super::library_callers::{libraries, only_thread_in, where_it_waits};
use super::mark::works_for;
use super::record::RawSample;
use super::walked_stack::WalkedStack;
use crate::interner::{Interned, Interner};
use crate::merge::Role;
use crate::native::maps::{Mapping, Maps};
use crate::native::unwind::{NativeStack, StackWalker};
use crate::python::{Evidence, PythonReader, PythonStack, Unread};

/// How long to wait between looks for an interpreter in a process that has just begun to run, ns.
const RETRY_NS: u64 = 50_000_000;
/// How often to look for it.
const TRIES: u32 = 40;

/// So many looks that show the same are calm.
const CALM: u32 = 10;

/// After a look that came too late, so many must come at once.
const HURRY: u32 = 500;

/// How long a worker is believed to work for the thread that was in its library.
const BELIEVED: Duration = Duration::from_millis(10);

/// Times of so many samples are kept; of older ones only how many there were of each kind.
const TIMED: usize = 1 << 20;

/// What one sample shows. Many samples show the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sight {
    /// Kernel addresses, from leaf to root.
    pub kernel: Interned<[u64]>,
    /// User addresses.
    pub user: Interned<NativeStack>,
    /// The Python side of it.
    pub python: PythonSide,
}

/// The Python side of a sample.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PythonSide {
    /// The process has no interpreter, as far as is known.
    NoInterpreter,
    /// The thread's own stack; `None` where it could not be read.
    Own(Option<PythonStack>),
    /// A thread without Python state.
    Worker {
        /// What it is called.
        name: Interned<str>,
        /// The stack of the thread that it works for, where that is known.
        caller: Option<PythonStack>,
    },
}

impl PythonSide {
    fn stack(&self) -> Option<&PythonStack> {
        match self {
            PythonSide::NoInterpreter => None,
            PythonSide::Own(stack) => stack.as_ref(),
            PythonSide::Worker { caller, .. } => caller.as_ref(),
        }
    }

    /// Whether a Python function called `function` is on the stack.
    pub fn runs(&self, function: &str) -> bool {
        let mut frames = self.stack().into_iter().flat_map(|stack| stack.iter());
        frames.any(|frame| frame.code.function == function)
    }
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
    /// What samples show, each once, by its number.
    sights: HashMap<Sight, u32>,
    /// The samples of which the time is kept, in the order in which they were read.
    pub timed: VecDeque<Sample>,
    /// How many samples there were before those, by the number of what they show and by their thread.
    pub earlier: HashMap<(u32, u32), Tally>,
    /// The names of the threads.
    pub thread_names: HashMap<u32, String>,
    /// Looks at Python stacks.
    pub looks: u64,
    /// Looks that found the stack changing.
    pub torn_looks: u64,
}

/// A sample of which the time is kept.
pub struct Sample {
    /// When it was taken, CLOCK_MONOTONIC ns.
    pub time_ns: u64,
    /// How much it counts.
    pub weight: u64,
    /// Its thread.
    pub tid: u32,
    /// The number of what it shows.
    pub sight: u32,
}

/// Samples that show the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// How many.
    pub samples: u64,
    /// How much they count together.
    pub weight: u64,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, weight: u64) {
        self.samples += 1;
        self.weight += weight;
    }
}

impl Gathered {
    /// What samples show, by its number.
    pub fn take_sights(&mut self) -> Vec<Sight> {
        let mut sights: Vec<_> = std::mem::take(&mut self.sights).into_iter().collect();
        sights.sort_unstable_by_key(|(_, number)| *number);
        sights.into_iter().map(|(sight, _)| sight).collect()
    }

    fn add(&mut self, time_ns: u64, weight: u64, tid: u32, sight: Sight) {
        let next = self.sights.len() as u32;
        let sight = *self.sights.entry(sight).or_insert(next);
        if self.timed.len() >= TIMED
            && let Some(sample) = self.timed.pop_front()
        {
            let same = self.earlier.entry((sample.sight, sample.tid)).or_default();
            same.add(sample.weight);
        }
        self.timed.push_back(Sample {
            time_ns,
            weight,
            tid,
            sight,
        });
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.samples += other.samples;
        self.weight += other.weight;
    }
}

/// What the samples share.
#[derive(Default)]
struct Stacks {
    kernel: Interner<[u64]>,
    user: Interner<NativeStack>,
    names: Interner<str>,
}

/// A sample whose native stack is walked.
struct Walked<'a> {
    tid: u32,
    /// Whether its thread runs, or is about to wait.
    runs: bool,
    user: &'a Interned<NativeStack>,
    evidence: Evidence<'a>,
}

/// One program in one process.
pub struct Target {
    walker: StackWalker,
    interpreter: Interpreter,
    gathered: Gathered,
    stacks: Stacks,
    thread_names: HashMap<u32, String>,
    /// The Python stack that each thread had last, and looks since any of them changed.
    last: HashMap<u32, PythonStack>,
    /// The native stack that each Python thread had last.
    last_native: HashMap<u32, Interned<NativeStack>>,
    /// For whom a worker works by its library, and since when that is known.
    callers: HashMap<u32, (Instant, Option<u32>)>,
    unchanged_looks: u32,
    looks_to_hurry: u32,
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
            stacks: Stacks::default(),
            thread_names: HashMap::new(),
            last: HashMap::new(),
            last_native: HashMap::new(),
            callers: HashMap::new(),
            unchanged_looks: 0,
            looks_to_hurry: 0,
        }
    }

    /// A process that was just forked from this one: it has the same mappings, and the same interpreter.
    pub(super) fn forked(&self, pid: u32) -> Target {
        let python = match &self.interpreter {
            Interpreter::Found(python) => python.forked(pid).map(Box::new),
            Interpreter::NotYet { .. } => None,
        };
        Target::new(pid, self.walker.maps().clone(), python)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.walker.pid()
    }

    /// The program's name, as the kernel keeps it for its first thread.
    pub fn name(&self) -> String {
        let name = self.thread_names.get(&self.pid());
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
        let gathered = Gathered {
            thread_names: self.thread_names,
            ..self.gathered
        };
        (self.walker, gathered)
    }

    pub(super) fn name_thread(&mut self, tid: u32, name: String) {
        self.thread_names.insert(tid, name);
    }

    pub(super) fn map(&mut self, mapping: Mapping) {
        self.walker.map(mapping);
    }

    /// The interpreter's memory is read anew from now on.
    pub(super) fn refresh(&mut self) {
        if let Interpreter::Found(python) = &mut self.interpreter {
            python.refresh();
        }
    }

    /// Walks a sample and looks at the Python stack that belongs to it. The thread runs, or is about to wait. Says too whether
    /// the native stack was cut where its copy ends.
    pub(super) fn look(&mut self, sample: RawSample, runs: bool) -> (Sight, bool) {
        // It may be gone when the recording is over.
        self.learn_name(sample.tid);
        let (user, python, cut) = match sample.user {
            Some((registers, stack)) => {
                let walked = WalkedStack::new(&mut self.walker, registers, stack);
                let user = self.stacks.user.intern(Box::new(walked.native));
                let evidence = Evidence {
                    calls: &walked.calls,
                    start: registers.sp,
                    bytes: &walked.bytes,
                };
                let python = self.python(&Walked {
                    tid: sample.tid,
                    runs,
                    user: &user,
                    evidence,
                });
                (user, python, walked.cut)
            }
            // The kernel on its own account: there is nothing to walk.
            None => {
                let user = NativeStack {
                    addresses: Vec::new(),
                    complete: true,
                };
                let user = self.stacks.user.intern(Box::new(user));
                (user, PythonSide::NoInterpreter, false)
            }
        };
        let sight = Sight {
            kernel: self.stacks.kernel.intern(sample.kernel),
            user,
            python,
        };
        (sight, cut)
    }

    /// Keeps a sample of thread `tid`, taken at `time_ns`, that counts `weight` and shows `sight`.
    pub(super) fn keep(&mut self, time_ns: u64, weight: u64, tid: u32, sight: Sight) {
        self.gathered.add(time_ns, weight, tid, sight);
    }

    /// Whether the Python stacks have not changed for some time.
    pub(super) fn is_calm(&self) -> bool {
        self.unchanged_looks >= CALM
    }

    /// Whether a look came too late not long ago.
    pub(super) fn hurries(&self) -> bool {
        self.looks_to_hurry > 0
    }

    fn python(&mut self, sample: &Walked<'_>) -> PythonSide {
        self.find_interpreter();
        let Interpreter::Found(python) = &mut self.interpreter else {
            self.unchanged_looks = self.unchanged_looks.saturating_add(1);
            return PythonSide::NoInterpreter;
        };
        self.gathered.looks += 1;
        self.looks_to_hurry = self.looks_to_hurry.saturating_sub(1);
        let late_before = python.late_looks();
        let looked = python.look(sample.tid, Some(sample.evidence));
        if python.late_looks() > late_before || looked == Err(Unread::Torn) {
            self.looks_to_hurry = HURRY;
        }
        match looked {
            Ok(stack) => {
                self.note(sample.tid, &stack);
                self.last_native.insert(sample.tid, sample.user.clone());
                PythonSide::Own(Some(stack))
            }
            Err(Unread::Torn) => {
                self.gathered.torn_looks += 1;
                self.unchanged_looks = 0;
                PythonSide::Own(None)
            }
            Err(Unread::NoPython) => PythonSide::Worker {
                name: self.name_of_thread(sample.tid),
                caller: self.caller(sample),
            },
        }
    }

    /// The Python stack of the thread that a worker works for.
    fn caller(&mut self, worker: &Walked<'_>) -> Option<PythonStack> {
        let tid = works_for(worker.evidence.bytes).or_else(|| self.caller_by_library(worker));
        let Interpreter::Found(python) = &mut self.interpreter else {
            return None;
        };
        let stack = tid.and_then(|tid| python.look(tid, None).ok());
        match (tid, &stack) {
            (Some(tid), Some(stack)) => self.note(tid, stack),
            _ => self.unchanged_looks = self.unchanged_looks.saturating_add(1),
        }
        stack
    }

    /// The only Python thread there is, or the only one that is in the library that the worker is in. A worker that waits works for
    /// nobody.
    fn caller_by_library(&mut self, worker: &Walked<'_>) -> Option<u32> {
        let Interpreter::Found(python) = &mut self.interpreter else {
            return None;
        };
        let threads = python.threads();
        match threads.as_slice() {
            _ if !worker.runs => None,
            [] => None,
            [only] => Some(*only),
            _ => {
                if let Some((when, caller)) = self.callers.get(&worker.tid)
                    && when.elapsed() < BELIEVED
                {
                    return *caller;
                }
                let of_worker = libraries(&self.walker, &worker.user.addresses);
                let inside = threads.into_iter().map(|tid| {
                    let waits = where_it_waits(&mut self.walker, tid);
                    let addresses = match self.last_native.get(&tid) {
                        Some(ran) if waits.is_empty() => &ran.addresses,
                        _ => &waits,
                    };
                    (tid, libraries(&self.walker, addresses))
                });
                let caller = only_thread_in(&of_worker, inside);
                self.callers.insert(worker.tid, (Instant::now(), caller));
                caller
            }
        }
    }

    fn note(&mut self, tid: u32, stack: &PythonStack) {
        let before = self.last.insert(tid, stack.clone());
        self.unchanged_looks = match before.as_ref() == Some(stack) {
            true => self.unchanged_looks.saturating_add(1),
            false => 0,
        };
    }

    fn name_of_thread(&mut self, tid: u32) -> Interned<str> {
        let name = self.learn_name(tid).to_owned();
        self.stacks.names.intern(name)
    }

    fn learn_name(&mut self, tid: u32) -> &str {
        let pid = self.pid();
        let names = &mut self.thread_names;
        names.entry(tid).or_insert_with(|| thread_name(pid, tid))
    }

    fn find_interpreter(&mut self) {
        let Interpreter::NotYet { next_try_ns, tries } = &mut self.interpreter else {
            return;
        };
        // A clock that can't be read means no interpreter, and no harm.
        let now = now_ns().unwrap_or(0);
        if *tries == 0
            || now < *next_try_ns
            || !self.walker.maps().any_file(Role::may_hold_evaluator)
        {
            return;
        }
        *tries -= 1;
        *next_try_ns = now + RETRY_NS;
        if let Ok(python) = PythonReader::new(self.walker.pid(), 1) {
            self.interpreter = Interpreter::Found(Box::new(python));
        }
    }
}

fn thread_name(pid: u32, tid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm"))
        .map_or_else(|_| tid.to_string(), |name| name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_samples_keep_their_time_and_the_ones_before_their_thread() {
        let mut stacks = Stacks::default();
        let user = NativeStack {
            addresses: vec![1],
            complete: true,
        };
        let sight = Sight {
            kernel: stacks.kernel.intern(Vec::new()),
            user: stacks.user.intern(Box::new(user)),
            python: PythonSide::NoInterpreter,
        };
        let mut gathered = Gathered::default();
        for time_ns in 0..TIMED as u64 + 3 {
            let tid = if time_ns == 1 { 8 } else { 7 };
            gathered.add(time_ns, 2, tid, sight.clone());
        }
        assert_eq!(gathered.timed.len(), TIMED);
        assert_eq!(gathered.timed[0].time_ns, 3);
        let earlier = |tid| {
            let tally = gathered.earlier[&(0, tid)];
            (tally.samples, tally.weight)
        };
        assert_eq!((earlier(7), earlier(8)), ((2, 4), (1, 2)));
        assert_eq!(gathered.take_sights(), [sight]);
    }
}
