//! Records one backend's profile: sampling while it runs, naming and merging once it is over.
//!
//! In: a process and the windows in which the op ran. Out: a [`Profile`].

use std::io;

use crate::assemble::{Question, assemble};
use crate::native::maps::Maps;
use crate::native::symbol_store::SymbolStore;
use crate::profile::{Profile, Sampling};
use crate::python::PythonReader;
use crate::sampling::events::{OpenError, SamplingEvents};
use crate::sampling::request::Subject;
use crate::sampling::session::{Recording, Session};
use crate::sampling::target::Target;
use crate::worker::Window;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
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

impl ProfileError {
    /// Whether the environment denies what recording needs.
    pub fn is_denial(&self) -> bool {
        matches!(
            self,
            ProfileError::Open(OpenError::Denied { .. } | OpenError::Ring { .. })
                | ProfileError::Python { .. }
        )
    }
}

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
    op: String,
    symbols: SymbolStore,
    state: State,
}

impl Recorder {
    /// Opens the sampler on process `pid` and the threads that it will start.
    ///
    /// # Errors
    /// [`ProfileError::Open`].
    pub fn open(pid: u32, rate_hz: u32) -> Result<Recorder, ProfileError> {
        let state = State::Opened(SamplingEvents::open(pid, &Subject::CpuTime { rate_hz })?);
        Ok(Recorder {
            pid,
            op: String::new(),
            symbols: SymbolStore::default(),
            state,
        })
    }

    /// Starts to record; `op` is the Python function that marks samples inside the op.
    ///
    /// # Errors
    /// [`ProfileError::Python`] when the interpreter can't be read, [`ProfileError::Io`].
    pub fn start(&mut self, op: &str) -> Result<(), ProfileError> {
        let (events, python) = match std::mem::replace(&mut self.state, State::Broken) {
            State::Ready(events, python) => (events, python),
            State::Opened(events) => match self.python_reader() {
                Ok(python) => (events, python),
                Err(error) => {
                    self.state = State::Opened(events);
                    return Err(error);
                }
            },
            State::Recording(_) | State::Broken => return Err(ProfileError::NotReady),
        };
        op.clone_into(&mut self.op);
        let target = Target::new(self.pid, Maps::read(self.pid)?, Some(python));
        self.state = State::Recording(Session::start(events, target, Some(op))?);
        Ok(())
    }

    fn python_reader(&self) -> Result<Box<PythonReader>, ProfileError> {
        let reader = PythonReader::new(self.pid, 5).map(Box::new);
        reader.map_err(|reason| ProfileError::Python {
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
    /// [`ProfileError::Io`] when the sampling thread failed, [`ProfileError::NotReady`].
    pub fn finish(&mut self, windows: &[Window]) -> Result<Profile, ProfileError> {
        let State::Recording(session) = std::mem::replace(&mut self.state, State::Broken) else {
            return Err(ProfileError::NotReady);
        };
        let Recording {
            events,
            targets,
            lost,
            epoch,
        } = session.stop()?;
        // Processes that the worker started are not the op.
        let mut target = targets
            .into_iter()
            .find(|target| target.pid() == self.pid)
            .ok_or(ProfileError::NotReady)?;
        let python = target.take_python();
        let question = Question {
            op: Some(&self.op),
            waits: false,
            root: None,
        };
        let mut assembled = assemble(target, &mut self.symbols, question, |time| {
            within(time, windows)
        });
        let windows = windows.iter();
        assembled.samples.windows = windows
            .map(|window| (window.start_ns, window.end_ns))
            .collect();
        assembled.samples.epoch = epoch;
        let sampling = Sampling::new(&events, lost, &assembled.counts, assembled.stacks.total());
        if let Some(python) = python {
            self.state = State::Ready(events, python);
        }
        Ok(Profile {
            stacks: assembled.stacks,
            samples: assembled.samples,
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
