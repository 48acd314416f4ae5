//! What is known of the machine before anything is judged. What could not be found out is None.

use std::path::PathBuf;

use serde::Serialize;

use crate::counters;

/// All of it.
#[derive(Debug)]
pub struct Facts {
    /// Settings of the kernel and of this process.
    pub system: System,
    /// What was tried on a process.
    pub access: Access,
    /// The interpreter, or why there is none.
    pub interpreter: Result<Interpreter, String>,
    /// What makes timings unsteady.
    pub machine: Machine,
}

/// Settings of the kernel and of this process.
#[derive(Debug, Clone, Default)]
pub struct System {
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// `none`, or which kind of container.
    pub container: &'static str,
    /// `kernel.perf_event_paranoid`.
    pub paranoid: Option<i32>,
    /// `Seccomp` in `/proc/self/status`: 0 for none, 2 for a filter.
    pub seccomp: Option<u32>,
    /// `CapEff` in `/proc/self/status`.
    pub capabilities: Option<u64>,
    /// `kernel.yama.ptrace_scope`; None where there is no yama.
    pub ptrace_scope: Option<u32>,
    /// `kernel.perf_event_max_sample_rate`, in Hz.
    pub max_sample_rate: Option<u32>,
    /// `kernel.perf_event_mlock_kb`.
    pub mlock_kb: Option<u64>,
    /// `RLIMIT_MEMLOCK` in bytes; None for no limit.
    pub memlock: Option<u64>,
    /// Whether the kernel shows the addresses of its functions.
    pub kernel_symbols: bool,
}

/// What was tried on a process.
#[derive(Debug, Clone)]
pub struct Access {
    /// On which one.
    pub on: &'static str,
    /// The counters of the main job.
    pub counters: Vec<EventFact>,
    /// The sampling event of the main job, with its rings.
    pub sampling: Result<Sampling, Refusal>,
    /// `process_vm_readv`.
    pub memory: Result<(), Refusal>,
}

/// A counter, as it was opened.
#[derive(Debug, Clone, Serialize)]
pub struct EventFact {
    /// Its name, as perf calls it.
    pub event: &'static str,
    /// `counted` where it opened.
    pub status: counters::Status,
    /// Why it did not open, or what is left out of the count.
    pub reason: Option<String>,
}

/// An open sampling event.
#[derive(Debug, Clone)]
pub struct Sampling {
    /// Its name.
    pub event: String,
    /// Whether kernel frames are sampled.
    pub kernel: bool,
    /// Size of the ring buffer of each CPU, bytes.
    pub ring_bytes: usize,
    /// How long half of one lasts at the full rate, seconds.
    pub patience_s: f64,
}

/// Why the system refused.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The error number.
    pub errno: Option<i32>,
    /// The whole message.
    pub message: String,
}

/// A Python interpreter that ran the worker.
#[derive(Debug, Clone)]
pub struct Interpreter {
    /// Its path.
    pub path: String,
    /// Its version.
    pub version: String,
    /// NumPy's version.
    pub numpy: Result<String, Problem>,
    /// The version of `raptors`.
    pub raptors: Result<String, Problem>,
    /// Whether its stacks were read by our own layout (else by py-spy), or why they were not.
    pub stacks: Result<bool, String>,
    /// The files whose functions are met most.
    pub files: Vec<CodeFile>,
}

/// Why a module can't be used, and the mend.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Why.
    pub what: String,
    /// What to do.
    pub mend: String,
}

/// A file of machine code.
#[derive(Debug, Clone)]
pub struct CodeFile {
    /// Whose it is.
    pub owner: &'static str,
    /// Where it lies.
    pub path: PathBuf,
    /// Whether names of local functions are known, from it or a debug file.
    pub symbols: bool,
    /// Whether there is DWARF, in it or a debug file.
    pub lines: bool,
    /// Whether it has unwind tables.
    pub unwind: bool,
}

/// What makes timings unsteady.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// CPUs that the machine has.
    pub online: Option<usize>,
    /// CPUs that this process may use, by affinity and quota.
    pub usable: Option<usize>,
    /// CPUs' worth of time that the cgroup grants.
    pub quota: Option<f64>,
    /// The cgroup's memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// Memory that can still be had, bytes.
    pub memory_left: Option<u64>,
    /// Load of the last minute.
    pub load: Option<f64>,
    /// The frequency governors in use; none where the machine shows no frequency scaling.
    pub governors: Vec<String>,
    /// Whether several threads share a core.
    pub smt: Option<bool>,
    /// Whether this is a virtual machine.
    pub virtual_machine: bool,
}
