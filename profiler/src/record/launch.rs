//! Starts a program, held before its first instruction until the sampler is open.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::thread::JoinHandle;

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is none of that name, or it can't be run.
    #[error("can't run {program}: {source}")]
    Run {
        /// What was to be run.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no means left to start it.
    #[error("can't start a process: {0}")]
    System(#[from] io::Error),
}

/// A process that waits for leave to become the program.
pub struct Held {
    pid: u32,
    name: String,
    go: io::PipeWriter,
    spawning: JoinHandle<io::Result<Child>>,
}

impl Held {
    /// Starts a process that will become `command` (program and arguments) with this one's input and output.
    ///
    /// # Errors
    /// [`LaunchError::System`].
    pub fn launch(command: &[OsString]) -> Result<Held, LaunchError> {
        let (program, arguments) = command
            .split_first()
            .ok_or(io::ErrorKind::InvalidInput)
            .map_err(io::Error::from)?;
        let name = program.to_string_lossy().into_owned();
        let (mut told, tell) = io::pipe()?;
        let (wait, go) = io::pipe()?;
        let mut command = Command::new(program);
        command.args(arguments);
        let (tell_fd, wait_fd, go_fd) = (tell.as_raw_fd(), wait.as_raw_fd(), go.as_raw_fd());
        let hold = move || hold(tell_fd, wait_fd, go_fd);
        // SAFETY: between fork and exec the closure makes system calls on descriptors that are open in the child, and
        // allocates nothing.
        unsafe { command.pre_exec(hold) };
        // `spawn` comes back when the program runs; its own ends of the pipes stay open until then.
        let spawning = std::thread::spawn(move || {
            let _open_until_then = (tell, wait);
            command.spawn()
        });
        let mut pid = [0; 4];
        match told.read_exact(&mut pid) {
            Ok(()) => Ok(Held {
                pid: u32::from_ne_bytes(pid),
                name,
                go,
                spawning,
            }),
            Err(_) => Err(started(spawning, &name)
                .err()
                .unwrap_or_else(|| io::Error::other("it did not start").into())),
        }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the process become the program.
    ///
    /// # Errors
    /// [`LaunchError::Run`] when there is no such program.
    pub fn release(mut self) -> Result<Program, LaunchError> {
        self.go.write_all(&[1])?;
        started(self.spawning, &self.name).map(Program)
    }
}

fn started(spawning: JoinHandle<io::Result<Child>>, program: &str) -> Result<Child, LaunchError> {
    let child = spawning
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the starting thread panicked")));
    child.map_err(|source| LaunchError::Run {
        program: program.to_owned(),
        source,
    })
}

/// In the child: tells its process id and waits for leave. Without the profiler there is no leave, and no program.
fn hold(tell: i32, wait: i32, go: i32) -> io::Result<()> {
    // SAFETY: plain system calls on open descriptors and on buffers of this function.
    unsafe {
        // The child's own copy would keep the pipe open when the profiler is gone.
        libc::close(go);
        let pid = libc::getpid().to_ne_bytes();
        let mut leave = [0_u8; 1];
        let told = libc::write(tell, pid.as_ptr().cast(), pid.len());
        if told != 4 || libc::read(wait, leave.as_mut_ptr().cast(), 1) != 1 {
            return Err(io::Error::from_raw_os_error(libc::ECANCELED));
        }
    }
    Ok(())
}

/// A program that runs.
pub struct Program(Child);

impl Program {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }
}
