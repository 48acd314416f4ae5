//! The process of a worker and its group: how it ended, what it printed, and its end with all that it started.

use std::process::{Child, ChildStderr};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::Printed;
use super::output::Output;

/// The leader of a process group. It is not reaped before its group is killed: until then no other process has its id.
pub(super) struct Process {
    child: Child,
    output: Output,
    reaped: bool,
}

impl Process {
    /// Takes over a child that leads its own group.
    pub(super) fn new(child: Child, stderr: ChildStderr) -> Process {
        Process {
            child,
            output: Output::drain(stderr),
            reaped: false,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.reaped || self.end().is_some()
    }

    /// Waits a moment for the end of a process that has closed its output, and says how it ended.
    pub(super) fn how_it_ended(&self) -> String {
        for _ in 0..100 {
            if let Some(end) = self.end() {
                return describe(end);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        "it closed its output and ran on".to_owned()
    }

    /// Ends the group, so that nothing is left that could print more, and gives what was printed.
    pub(super) fn printed(&mut self) -> Printed {
        self.kill();
        Printed(self.output.text())
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn end(&self) -> Option<WaitStatus> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.id()), flags) {
            Ok(WaitStatus::StillAlive) | Err(_) => None,
            Ok(status) => Some(status),
        }
    }

    fn kill(&mut self) {
        if !self.reaped {
            // The only error that can be is that nobody is left.
            let _ = killpg(self.id(), Signal::SIGKILL);
            let _ = self.child.wait();
            self.reaped = true;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn describe(end: WaitStatus) -> String {
    match end {
        WaitStatus::Exited(_, code) => format!("exit code {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("killed by {signal}"),
        other => format!("{other:?}"),
    }
}
