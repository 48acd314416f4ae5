//! The worker: `worker.py` (which is in `python/raptors_prof`, as the Python package has it too) in the user's interpreter, and the line protocol that drives it.
//!
//! In: a [`Setup`], then one command at a time. Out: replies, with the time of each window on CLOCK_MONOTONIC.
//! The worker has a process group of its own, so that Ctrl-C reaches only the profiler, which ends the whole group.

mod error;
mod output;
mod process;
pub(crate) mod protocol;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::interrupt;
use crate::plan::{Backend, Cell, Plan};
use crate::scratch::{self, Scratch};
pub use error::{Printed, WorkerError};
use process::Process;
use protocol::{Ask, Reply};
pub use protocol::{Choice, Done, Hello, RaptorsConfig, Ready, Usage, Window};

/// What the worker runs.
pub(crate) const SOURCE: &str = include_str!("../python/raptors_prof/worker.py");
/// The name of its file.
pub(crate) const SOURCE_NAME: &str = "worker.py";
/// How often a wait looks at the interrupt flag and at the worker's life.
const TICK: Duration = Duration::from_millis(50);
/// An interpreter that has not said hello after this long is none.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// The oldest Python that the worker's source is written for.
const OLDEST_PYTHON: (u32, u32) = (3, 8);

/// Whether a file at `path` was the worker's source in some run.
pub(crate) fn is_source(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == SOURCE_NAME)
        && path.parent().is_some_and(scratch::is_name)
}

/// A running worker. Dropping it ends its whole process group.
pub struct Worker {
    process: Process,
    commands: ChildStdin,
    replies: Receiver<String>,
    python: String,
    /// Holds the source; frames read `broadcast_add (worker.py:41)`.
    _directory: Scratch,
}

impl Worker {
    /// Starts the plan's interpreter and waits for its hello: it has one thread then and has imported nothing of note.
    ///
    /// # Errors
    /// [`WorkerError`] when it is no interpreter, or one that is too old.
    pub fn start(plan: &Plan) -> Result<(Worker, Hello), WorkerError> {
        let directory =
            Scratch::create(&std::env::temp_dir(), 0o700).map_err(WorkerError::Source)?;
        let source = directory.path().join(SOURCE_NAME);
        std::fs::write(&source, SOURCE).map_err(WorkerError::Source)?;
        let python = plan.python.display().to_string();
        let mut child = command(plan, &source)
            .spawn()
            .map_err(|source| WorkerError::Spawn {
                python: python.clone(),
                source,
            })?;
        let (Some(commands), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            unreachable!("all three are piped");
        };
        let mut worker = Worker {
            process: Process::new(child, stderr),
            commands,
            replies: output::lines(stdout),
            python,
            _directory: directory,
        };
        let hello = worker.hello()?;
        Ok((worker, hello))
    }

    fn hello(&mut self) -> Result<Hello, WorkerError> {
        let line = match self.line(Some(Instant::now() + HELLO_TIMEOUT)) {
            Ok(line) => line,
            Err(Silence::Interrupted) => return Err(WorkerError::Interrupted),
            Err(Silence::TimedOut) => return Err(self.not_python("it said nothing in 30 s")),
            Err(Silence::Ended) => {
                let how = self.process.how_it_ended();
                return Err(self.not_python(&how));
            }
        };
        let Ok(Reply::Hello(hello)) = serde_json::from_str(&line) else {
            return Err(self.not_python("it does not run Python source"));
        };
        if python_version(&hello.python).is_none_or(|version| version < OLDEST_PYTHON) {
            return Err(WorkerError::TooOld {
                python: self.python.clone(),
                version: hello.python,
            });
        }
        Ok(hello)
    }

    fn not_python(&mut self, how: &str) -> WorkerError {
        let output = self.process.printed();
        WorkerError::NotPython {
            python: self.python.clone(),
            how: how.to_owned(),
            output,
        }
    }

    /// Imports the backends, makes the inputs, and checks that all backends compute the same.
    ///
    /// # Errors
    /// [`WorkerError`] when a module is missing, the results differ or the worker dies.
    pub fn set_up(
        &mut self,
        cell: &Cell,
        backends: &[Backend],
        seed: u64,
    ) -> Result<Ready, WorkerError> {
        let during = "while it prepared the op";
        match self.ask(
            &Ask::Setup {
                cell,
                backends,
                seed,
            },
            during,
        )? {
            Reply::Ready(ready) => Ok(ready),
            Reply::Disagree { message } => Err(WorkerError::Disagree {
                cell: cell.to_string(),
                message,
            }),
            Reply::Refused { message } => Err(WorkerError::Refused { message }),
            Reply::Unfit { message } => Err(WorkerError::Unfit { message }),
            Reply::Missing { module } => Err(WorkerError::Missing {
                mend: mend(&self.python, &module),
                python: self.python.clone(),
                module,
            }),
            Reply::Hello(_) | Reply::Done(_) => Err(out_of_turn(during)),
        }
    }

    /// Runs `calls` calls of the op by `backend`.
    ///
    /// # Errors
    /// [`WorkerError`] when the worker dies or the user interrupts.
    pub fn run(&mut self, backend: Backend, calls: u64) -> Result<Done, WorkerError> {
        let during = format!("while it ran {}'s op", backend.name());
        match self.ask(&Ask::Run { backend, calls }, &during)? {
            Reply::Done(done) => Ok(done),
            _ => Err(out_of_turn(&during)),
        }
    }

    fn ask(&mut self, command: &Ask, during: &str) -> Result<Reply, WorkerError> {
        let protocol = |line: String| WorkerError::Protocol {
            during: during.to_owned(),
            line,
        };
        let mut line = serde_json::to_vec(command).map_err(|error| protocol(error.to_string()))?;
        line.push(b'\n');
        // A worker that is gone says why through its end, which the wait for the answer sees.
        let _ = self.commands.write_all(&line);
        match self.line(None) {
            Ok(line) => serde_json::from_str(&line).map_err(|_| protocol(line)),
            Err(Silence::Interrupted) => Err(WorkerError::Interrupted),
            Err(Silence::Ended | Silence::TimedOut) => {
                let how = self.process.how_it_ended();
                Err(WorkerError::Died {
                    during: during.to_owned(),
                    how,
                    output: self.process.printed(),
                })
            }
        }
    }

    /// Waits for the next line of the worker.
    fn line(&mut self, deadline: Option<Instant>) -> Result<String, Silence> {
        loop {
            if interrupt::requested() {
                return Err(Silence::Interrupted);
            }
            match self.replies.recv_timeout(TICK) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => return Err(Silence::Ended),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // A child of a dead worker may hold its end of the pipe open.
            if self.process.has_ended() {
                return self.replies.try_recv().map_err(|_| Silence::Ended);
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(Silence::TimedOut);
            }
        }
    }
}

/// Why no line came.
enum Silence {
    Interrupted,
    Ended,
    TimedOut,
}

fn command(plan: &Plan, source: &Path) -> Command {
    let mut command = Command::new(&plan.python);
    // Pythons take an -X of any name. Other interpreters refuse it, and so never run the source as their own.
    command.args(["-X", "raptors-prof", "-u"]);
    command.arg(source).process_group(0);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    set(&mut command, "RAPTORS_THREADS", plan.threads);
    set(&mut command, "RAPTORS_SIMD", plan.simd);
    command
}

fn set(command: &mut Command, variable: &str, value: Option<impl ToString>) {
    match value {
        Some(value) => command.env(variable, value.to_string()),
        None => command.env_remove(variable),
    };
}

fn out_of_turn(during: &str) -> WorkerError {
    WorkerError::Protocol {
        during: during.to_owned(),
        line: "an answer to another command".to_owned(),
    }
}

fn mend(python: &str, module: &str) -> String {
    match module {
        "raptors" => {
            format!("install it from the project's folder: {python} -m pip install ./pyext")
        }
        _ => format!("install it: {python} -m pip install {module}"),
    }
}

/// Major and minor number of `3.11.7` or `3.13.0rc1`.
fn python_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(python_version("3.11.7") > Some(OLDEST_PYTHON));
        assert!(python_version("3.13.0rc1") > Some(OLDEST_PYTHON));
        assert!(python_version("3.7.16") < Some(OLDEST_PYTHON));
        assert_eq!(python_version("pypy"), None);
    }
}
