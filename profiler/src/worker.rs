//! The worker: `worker.py` in the user's interpreter, and the line protocol that drives it.
//!
//! In: a [`Setup`], then one command at a time. Out: replies, with the time of each window on CLOCK_MONOTONIC.
//! The worker has a process group of its own, so that Ctrl-C reaches only the profiler, which ends the whole group.

mod output;

use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::interrupt;
use crate::plan::{Backend, Cell, Plan};
use output::Output;

const SOURCE: &str = include_str!("worker.py");
/// How often a wait looks at the interrupt flag and at the worker's life.
const TICK: Duration = Duration::from_millis(50);
/// An interpreter that has not said hello after this long is none.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// The oldest Python that the worker's source is written for.
const OLDEST_PYTHON: (u32, u32) = (3, 8);

/// A stretch of time in nanoseconds of CLOCK_MONOTONIC, in which the worker ran nothing but the op.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Window {
    /// When the first call began.
    pub start_ns: u64,
    /// When the last call had ended.
    pub end_ns: u64,
}

impl Window {
    /// Its length in nanoseconds.
    pub fn length_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

/// A window that was run, and the CPU time of the whole worker in it (getrusage).
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Done {
    /// When.
    #[serde(flatten)]
    pub window: Window,
    /// CPU time in user mode, in nanoseconds.
    pub user_ns: u64,
    /// CPU time in the kernel, in nanoseconds.
    pub kernel_ns: u64,
}

/// What the interpreter says before it imports anything.
#[derive(Debug, Clone, Deserialize)]
pub struct Hello {
    /// Process id, as the worker sees it.
    pub pid: u32,
    /// Version of Python.
    pub python: String,
    /// Path of the interpreter.
    pub executable: String,
}

/// What the worker says when the inputs are made and every backend has run once.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// Version of NumPy.
    pub numpy: String,
    /// `raptors.config()`; None without that backend.
    pub config: Option<RaptorsConfig>,
}

/// `raptors.config()`: what was requested through the environment, and what is used.
#[derive(Debug, Clone, Deserialize)]
pub struct RaptorsConfig {
    /// Version of the package.
    pub version: String,
    /// Threads.
    pub threads: Choice<u32>,
    /// Instruction set.
    pub simd: Choice<String>,
}

/// What was requested (None: nothing) and what is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice<T> {
    /// As it was written, if it was.
    pub requested: Option<String>,
    /// What came of it; None where no backend that it concerns ran.
    pub used: Option<T>,
}

/// Why the worker did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The worker's source can't be written to the temporary directory.
    #[error("can't write the worker's source: {0}; TMPDIR chooses another directory")]
    Source(#[source] io::Error),
    /// The interpreter can't be started.
    #[error(
        "can't start the Python interpreter {python}: {source}; --python takes the path of one"
    )]
    Spawn {
        /// The interpreter.
        python: String,
        /// Why not.
        source: io::Error,
    },
    /// What was started does not behave like a Python interpreter.
    #[error("{python} isn't a Python interpreter: {how}{output}")]
    NotPython {
        /// What was started.
        python: String,
        /// What it did instead.
        how: String,
        /// What it printed.
        output: Printed,
    },
    /// The interpreter is too old.
    #[error("{python} is Python {version}; the worker needs 3.8 or newer")]
    TooOld {
        /// The interpreter.
        python: String,
        /// Its version.
        version: String,
    },
    /// A module is missing.
    #[error("{python} has no module {module}; {mend}")]
    Missing {
        /// The interpreter.
        python: String,
        /// The module.
        module: String,
        /// The command that installs it.
        mend: String,
    },
    /// The backends compute different things.
    #[error("numpy and raptors disagree on {cell}: {message}")]
    Disagree {
        /// The cell.
        cell: String,
        /// How far they are apart.
        message: String,
    },
    /// The worker ended by itself.
    #[error("the worker ended {during}: {how}{output}")]
    Died {
        /// In which step.
        during: String,
        /// Exit code or signal.
        how: String,
        /// What it printed.
        output: Printed,
    },
    /// The worker said something that the protocol does not have.
    #[error("the worker gave no valid answer {during}: {line}")]
    Protocol {
        /// In which step.
        during: String,
        /// What it said.
        line: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What a process wrote to stdout and stderr, for the end of an error message.
#[derive(Debug)]
pub struct Printed(String);

impl std::fmt::Display for Printed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.trim_end() {
            "" => f.write_str("; it printed nothing"),
            text => write!(f, "; it printed:\n{text}"),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Ask<'a> {
    Setup {
        #[serde(flatten)]
        cell: &'a Cell,
        backends: &'a [Backend],
        seed: u64,
    },
    Run {
        backend: Backend,
        calls: u64,
    },
}

#[derive(Deserialize)]
#[serde(tag = "reply", rename_all = "lowercase")]
enum Reply {
    Hello(Hello),
    Ready(Ready),
    Missing { module: String },
    Disagree { message: String },
    Done(Done),
}

/// A running worker. Dropping it ends its whole process group.
pub struct Worker {
    child: Child,
    commands: ChildStdin,
    replies: Receiver<String>,
    output: Output,
    python: String,
    /// Holds the source; frames read `broadcast_add (worker.py:41)`.
    _directory: TempDir,
}

impl Worker {
    /// Starts the plan's interpreter and waits for its hello: it has one thread then and has imported nothing of note.
    ///
    /// # Errors
    /// [`WorkerError`] when it is no interpreter, or one that is too old.
    pub fn start(plan: &Plan) -> Result<(Worker, Hello), WorkerError> {
        let directory = tempfile::Builder::new()
            .prefix("raptors-prof-")
            .tempdir()
            .map_err(WorkerError::Source)?;
        let source = directory.path().join("worker.py");
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
            child,
            commands,
            replies: output::lines(stdout),
            output: Output::drain(stderr),
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
                let how = self.ended();
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
        let output = self.printed();
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
                let how = self.ended();
                Err(WorkerError::Died {
                    during: during.to_owned(),
                    how,
                    output: self.printed(),
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
            // A child of a dead worker may hold its end of the pipe.
            if matches!(self.child.try_wait(), Ok(Some(_))) && self.replies.try_recv().is_err() {
                return Err(Silence::Ended);
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(Silence::TimedOut);
            }
        }
    }

    /// Waits for the end of a worker that has closed its pipe, and says how it ended.
    fn ended(&mut self) -> String {
        for _ in 0..20 {
            match self.child.try_wait() {
                Ok(Some(status)) => return describe(status),
                Ok(None) => std::thread::sleep(TICK),
                Err(error) => return format!("its end is unknown: {error}"),
            }
        }
        "it closed its output and ran on".to_owned()
    }

    /// What the worker has printed, once nothing is left that could print more.
    fn printed(&mut self) -> Printed {
        self.end_group();
        Printed(self.output.text())
    }

    fn end_group(&mut self) {
        // The worker leads its group and is not waited for before this: the id can't be another's. ESRCH: all are gone.
        let _ = killpg(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGKILL,
        );
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end_group();
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
    command.arg("-u").arg(source).process_group(0);
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

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(Ok(signal))) => format!("killed by {signal}"),
        (None, _) => status.to_string(),
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

    #[test]
    fn ends_are_named() {
        assert_eq!(describe(ExitStatus::from_raw(3 << 8)), "exit code 3");
        assert_eq!(describe(ExitStatus::from_raw(9)), "killed by SIGKILL");
    }
}
