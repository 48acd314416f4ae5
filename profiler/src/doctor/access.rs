//! Tries on a process what the main job does to its worker: counters, the sampling event with its rings, reading its memory.

use std::io::{self, IoSliceMut};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use super::RATE_HZ;
use super::facts::{Access, EventFact, Refusal, Sampling};
use crate::counters::Counters;
use crate::native::maps::Maps;
use crate::sampling::events::{OpenError, SamplingEvents};
use crate::sampling::request::Subject;

/// Tries all on process `pid`, which messages call `on`.
pub(super) fn attempt(pid: u32, on: &'static str) -> Access {
    Access {
        on,
        counters: counters(pid),
        sampling: sampling(pid),
        memory: read_memory(pid).map_err(|error| refusal(&error, error.to_string())),
    }
}

fn counters(pid: u32) -> Vec<EventFact> {
    let states = Counters::open(pid).states();
    states
        .into_iter()
        .map(|(event, status, reason)| EventFact {
            event,
            status,
            reason,
        })
        .collect()
}

fn sampling(pid: u32) -> Result<Sampling, Refusal> {
    match SamplingEvents::open(pid, &Subject::CpuTime { rate_hz: RATE_HZ }) {
        Ok(events) => Ok(Sampling {
            event: events.event().to_owned(),
            kernel: events.kernel(),
            ring_bytes: events.ring_bytes(),
            patience_s: events.patience().as_secs_f64(),
        }),
        // What to do is for the judge to say, who knows more than the error does.
        Err(error) => Err(match error {
            OpenError::Denied { source } => refusal(&source, format!("denied: {source}")),
            OpenError::Ring { source } => refusal(&source, format!("no ring buffers: {source}")),
            OpenError::KernelDenied { ref source, .. }
            | OpenError::NoEvent { ref source, .. }
            | OpenError::Other { ref source, .. } => refusal(source, error.to_string()),
        }),
    }
}

/// Reads the first bytes of the process's code.
fn read_memory(pid: u32) -> io::Result<()> {
    let maps = Maps::read(pid)?;
    let code = maps.iter().next().ok_or(io::ErrorKind::NotFound)?;
    let mut bytes = [0; 8];
    let place = RemoteIoVec {
        base: usize::try_from(code.start).map_err(io::Error::other)?,
        len: bytes.len(),
    };
    let process = Pid::from_raw(pid.cast_signed());
    match process_vm_readv(process, &mut [IoSliceMut::new(&mut bytes)], &[place])? {
        8 => Ok(()),
        read => Err(io::Error::other(format!("{read} of 8 bytes were read"))),
    }
}

fn refusal(error: &io::Error, message: String) -> Refusal {
    Refusal {
        errno: error.raw_os_error(),
        message,
    }
}
