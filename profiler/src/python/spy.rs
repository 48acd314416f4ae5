//! Python stacks by py-spy: for interpreters whose layout only py-spy knows, and to check our own reading against.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use py_spy::config::LockingStrategy;
use py_spy::{Config, PythonSpy, StackTrace};

use super::code::python_frame;
use super::thread_ids::ThreadIds;
use crate::merge::PythonFrame;

/// How often a read that met the interpreter in the middle of a change is tried again.
const RETRIES: usize = 2;
/// After a look that took so long, there is none for so many times as long: on a machine whose cores are all busy, what the profiler
/// takes the target lacks.
const REST: u32 = 9;

/// Reads the stacks of all threads at once.
pub struct Spy {
    spy: PythonSpy,
    thread_ids: ThreadIds,
    stacks: HashMap<u32, Vec<PythonFrame>>,
    rests_until: Instant,
}

impl Spy {
    /// Finds the interpreter of process `pid`, in so many tries 20 ms apart.
    ///
    /// # Errors
    /// py-spy's message when the process has no interpreter that it knows or its memory can't be read.
    pub fn new(pid: u32, tries: u64) -> Result<Spy, String> {
        let config = Config {
            blocking: LockingStrategy::NonBlocking,
            collect_thread_names: false,
            include_idle: true,
            ..Config::default()
        };
        let spy = PythonSpy::retry_new(pid.cast_signed(), &config, tries)
            .map_err(|error| format!("{error:#}"))?;
        Ok(Spy {
            spy,
            thread_ids: ThreadIds::default(),
            stacks: HashMap::new(),
            rests_until: Instant::now(),
        })
    }

    /// The minor version of CPython 3; `None` for what is older.
    pub fn minor_version(&self) -> Option<u64> {
        (self.spy.version.major == 3).then_some(self.spy.version.minor)
    }

    /// Where the interpreter's state lies.
    pub fn interpreter(&self) -> u64 {
        self.spy.addresses.interpreter_address as u64
    }

    /// The stacks of all threads by the kernel's id, from root to leaf: as they are now, or as they were a short while ago.
    pub fn stacks(&mut self) -> &HashMap<u32, Vec<PythonFrame>> {
        let begun = Instant::now();
        if begun >= self.rests_until {
            self.stacks = self.read().unwrap_or_default();
            self.rests_until = Instant::now() + begun.elapsed().min(Duration::from_secs(1)) * REST;
        }
        &self.stacks
    }

    /// The stacks as they are now; `None` where the interpreter was changing them at every try.
    fn read(&mut self) -> Option<HashMap<u32, Vec<PythonFrame>>> {
        let traces = (0..=RETRIES).find_map(|_| self.spy.get_stack_traces().ok())?;
        let pid = self.spy.pid.cast_unsigned();
        let pthreads: Vec<u64> = traces.iter().map(|trace| trace.thread_id).collect();
        let told = traces.iter().all(|trace| trace.os_thread_id.is_some());
        let ids = (!told).then(|| self.thread_ids.of(pid, &pthreads));
        // Where the interpreter keeps no thread ids, a single thread is the main one.
        let single = (traces.len() == 1).then_some(pid);
        let tid = |trace: &StackTrace| {
            let native = trace.os_thread_id.and_then(|tid| u32::try_from(tid).ok());
            let found = || ids?.get(&trace.thread_id).copied();
            native.or_else(found).or(single)
        };
        let stack = |trace: &StackTrace| trace.frames.iter().rev().map(frame).collect();
        Some(
            traces
                .iter()
                .filter_map(|trace| Some((tid(trace)?, stack(trace))))
                .collect(),
        )
    }
}

fn frame(frame: &py_spy::Frame) -> PythonFrame {
    PythonFrame {
        entry: frame.is_entry || frame.is_shim_entry,
        ..python_frame(&frame.name, &frame.filename.as_str().into(), frame.line)
    }
}
