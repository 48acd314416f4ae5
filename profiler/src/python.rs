//! Python stacks of a running process, read from its memory by py-spy without stopping it.

mod thread_ids;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use py_spy::config::LockingStrategy;
use py_spy::{Config, PythonSpy, StackTrace};

use crate::merge::PythonFrame;
use thread_ids::ThreadIds;

/// How often a read that met the interpreter in the middle of a change is tried again.
const RETRIES: usize = 2;

/// The Python stacks of all threads at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonSnapshot {
    /// One entry a thread that has Python state.
    pub threads: Vec<PythonThread>,
}

/// The Python stack of one thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonThread {
    /// The kernel's thread id; `None` where it can't be told.
    pub tid: Option<u32>,
    /// The frames, from root to leaf.
    pub frames: Arc<[PythonFrame]>,
}

/// Reads Python stacks of one process.
pub struct PythonReader {
    spy: PythonSpy,
    known: HashMap<Vec<py_spy::Frame>, Arc<[PythonFrame]>>,
    thread_ids: ThreadIds,
}

impl PythonReader {
    /// Finds the interpreter of process `pid`, in so many tries 20 ms apart.
    ///
    /// # Errors
    /// py-spy's message when the process has no interpreter that it knows or its memory can't be read.
    pub fn new(pid: u32, tries: u64) -> Result<PythonReader, String> {
        let config = Config {
            blocking: LockingStrategy::NonBlocking,
            collect_thread_names: false,
            include_idle: true,
            ..Config::default()
        };
        let spy = PythonSpy::retry_new(pid.cast_signed(), &config, tries)
            .map_err(|error| format!("{error:#}"))?;
        Ok(PythonReader {
            spy,
            known: HashMap::new(),
            thread_ids: ThreadIds::default(),
        })
    }

    /// The stacks of all threads now; `None` where the interpreter was changing them at every try.
    pub fn snapshot(&mut self) -> Option<PythonSnapshot> {
        let mut traces = (0..=RETRIES).find_map(|_| self.spy.get_stack_traces().ok())?;
        if traces.iter().any(|trace| trace.os_thread_id.is_none()) {
            self.add_thread_ids(&mut traces);
        }
        let threads = traces.into_iter().map(|trace| self.thread(trace)).collect();
        Some(PythonSnapshot { threads })
    }

    fn add_thread_ids(&mut self, traces: &mut [StackTrace]) {
        let pthreads: Vec<u64> = traces.iter().map(|trace| trace.thread_id).collect();
        let ids = self.thread_ids.of(self.spy.pid.cast_unsigned(), &pthreads);
        for trace in traces {
            trace.os_thread_id = ids.get(&trace.thread_id).map(|id| u64::from(*id));
        }
    }

    fn thread(&mut self, trace: StackTrace) -> PythonThread {
        let tid = trace.os_thread_id.and_then(|tid| u32::try_from(tid).ok());
        let frames = match self.known.get(&trace.frames) {
            Some(frames) => Arc::clone(frames),
            None => {
                let frames: Arc<[PythonFrame]> =
                    trace.frames.iter().rev().map(python_frame).collect();
                self.known.insert(trace.frames, Arc::clone(&frames));
                frames
            }
        };
        PythonThread { tid, frames }
    }
}

impl PythonSnapshot {
    /// Whether any thread runs a function called `function`.
    pub fn runs(&self, function: &str) -> bool {
        let mut frames = self.threads.iter().flat_map(|thread| thread.frames.iter());
        frames.any(|frame| &*frame.function == function)
    }

    /// The stack of thread `tid`. Where the interpreter keeps no thread ids, a single Python thread is the main one.
    pub fn thread(&self, tid: u32, pid: u32) -> Option<&PythonThread> {
        self.threads
            .iter()
            .find(|thread| thread.tid == Some(tid))
            .or_else(|| {
                let [only] = self.threads.as_slice() else {
                    return None;
                };
                (only.tid.is_none() && tid == pid).then_some(only)
            })
    }
}

fn python_frame(frame: &py_spy::Frame) -> PythonFrame {
    let file = Path::new(&frame.filename).file_name();
    let file = file.map_or(frame.filename.as_str().into(), |name| {
        name.to_string_lossy()
    });
    let name = without_enclosing_functions(&frame.name);
    PythonFrame {
        label: format!("{name} ({file}:{})", frame.line).into(),
        function: name.rsplit('.').next().unwrap_or(name).into(),
        entry: frame.is_entry || frame.is_shim_entry,
    }
}

/// From 3.11 on a name is qualified: `make.<locals>.op`, `Thread.run`. The class says something, the function
/// around it does not.
fn without_enclosing_functions(qualified: &str) -> &str {
    qualified.rsplit("<locals>.").next().unwrap_or(qualified)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        let frame = |name: &str| {
            let frame = python_frame(&py_spy::Frame {
                name: name.to_owned(),
                filename: "/srv/app/worker.py".to_owned(),
                module: None,
                short_filename: None,
                line: 7,
                locals: None,
                is_entry: false,
                is_shim_entry: true,
            });
            assert!(frame.entry);
            (frame.label.to_string(), frame.function.to_string())
        };
        let named = |label: &str, function: &str| (label.to_owned(), function.to_owned());
        assert_eq!(
            frame("<module>"),
            named("<module> (worker.py:7)", "<module>")
        );
        assert_eq!(
            frame("numpy_ops.<locals>.add"),
            named("add (worker.py:7)", "add")
        );
        assert_eq!(
            frame("Thread.run"),
            named("Thread.run (worker.py:7)", "run")
        );
        assert_eq!(
            frame("f.<locals>.<lambda>"),
            named("<lambda> (worker.py:7)", "<lambda>")
        );
    }
}
