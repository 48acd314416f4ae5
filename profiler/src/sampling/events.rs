//! Opens the sampling events: one a CPU, on every thread of a process and all that it starts later.
//!
//! Events on a thread that follow its children can't have a ring buffer unless they are bound to a CPU, so
//! there is one ring a CPU, and one event a CPU and thread that is there already.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use linux_perf_event_reader::{
    BranchSampleFormat, Endianness, ReadFormat, RecordIdParseInfo, RecordParseInfo, SampleFormat,
};
use perf_event::events::{Hardware, Software};
use perf_event::{Builder, Counter};
use perf_event_open_sys::{bindings, ioctls};

use super::record::{GENERAL_REGISTERS, REG_IP, REG_SP};
use super::ring::Ring;

/// Bytes of user stack copied with each sample. Measured in docs/performance.md.
pub const STACK_BYTES: u32 = 32 * 1024;
/// All rings together take no more, however many CPUs there are.
const ALL_RINGS_BYTES: usize = 256 << 20;
/// Room that a sample takes in a ring, at most: the stack copy, a kernel callchain, the rest.
const SAMPLE_BYTES: usize = STACK_BYTES as usize + 2048;
const USER_REGISTERS: u64 = 1 << REG_SP | 1 << REG_IP | general_registers();
/// Ring sizes to try, in bytes; the kernel grants what the user's memory-lock limits allow.
const RING_BYTES: [usize; 7] = [
    8 << 20,
    4 << 20,
    2 << 20,
    1 << 20,
    512 << 10,
    256 << 10,
    128 << 10,
];

const fn general_registers() -> u64 {
    let mut mask = 0;
    let mut at = 0;
    while at < GENERAL_REGISTERS.len() {
        mask |= 1 << GENERAL_REGISTERS[at];
        at += 1;
    }
    mask
}

/// Why sampling can't be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel or a filter refuses.
    #[error("sampling was denied ({source}): {}", mend(source))]
    Denied {
        /// What the system said.
        source: io::Error,
    },
    /// No memory for the samples.
    #[error(
        "no memory for samples was granted ({source}): raise kernel.perf_event_mlock_kb (sysctl) or the limit of \
         locked memory (ulimit -l)"
    )]
    Ring {
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("can't sample process {pid}: {source}")]
    Other {
        /// The target.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
}

/// What a user can do when `perf_event_open` is denied.
pub fn mend(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "the kernel or a seccomp filter has no perf_event_open; in a container allow it in the seccomp profile"
        }
        _ => {
            "set kernel.perf_event_paranoid to 2 or lower (sysctl), or allow perf_event_open in the container's seccomp profile, or grant CAP_PERFMON"
        }
    }
}

/// Whether an error of `perf_event_open` means that it is denied rather than impossible.
pub fn is_denial(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EACCES | libc::EPERM | libc::ENOSYS)
    )
}

/// Sampling events of one process with their rings.
pub struct SamplingEvents {
    /// Name of the sampled event.
    pub event: &'static str,
    /// Whether kernel frames are sampled.
    pub kernel: bool,
    rate_hz: u32,
    cpus: Vec<usize>,
    /// The first thread's events, which own the rings.
    per_cpu: Vec<(Counter, Ring)>,
    /// The other threads' events, which write to the same rings.
    others: Vec<Counter>,
}

impl SamplingEvents {
    /// Opens events on all threads of process `pid`, not yet enabled: `cycles` where there is a PMU, else `cpu-clock`;
    /// with kernel frames where they are allowed.
    ///
    /// # Errors
    /// [`OpenError`] says why not and what can be done.
    pub fn open(pid: u32, rate_hz: u32) -> Result<SamplingEvents, OpenError> {
        let mut refusal = io::Error::from(io::ErrorKind::Unsupported);
        for (event, hardware) in [("cycles", true), ("cpu-clock", false)] {
            for kernel in [true, false] {
                match open_on_each_cpu(pid, rate_hz, hardware, kernel) {
                    Ok(events) => {
                        let mut events =
                            SamplingEvents::with_rings(event, kernel, rate_hz, events)?;
                        let other = |source| OpenError::Other { pid, source };
                        events.add_threads(pid, hardware).map_err(other)?;
                        return Ok(events);
                    }
                    Err(error) => refusal = error,
                }
            }
        }
        match is_denial(&refusal) {
            true => Err(OpenError::Denied { source: refusal }),
            false => Err(OpenError::Other {
                pid,
                source: refusal,
            }),
        }
    }

    fn with_rings(
        event: &'static str,
        kernel: bool,
        rate_hz: u32,
        events: Vec<Counter>,
    ) -> Result<SamplingEvents, OpenError> {
        let rings = map_rings(&events).map_err(|source| OpenError::Ring { source })?;
        let cpus = online_cpus().map_err(|source| OpenError::Ring { source })?;
        Ok(SamplingEvents {
            event,
            kernel,
            rate_hz,
            cpus,
            per_cpu: events.into_iter().zip(rings).collect(),
            others: Vec::new(),
        })
    }

    /// Opens events on the threads that the process has beside its first; those that end meanwhile are no loss.
    fn add_threads(&mut self, pid: u32, hardware: bool) -> io::Result<()> {
        for thread in threads(pid).into_iter().filter(|thread| *thread != pid) {
            let events = match open_on_each_cpu(thread, self.rate_hz, hardware, self.kernel) {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => continue,
                events => events?,
            };
            for (event, (first, _)) in events.iter().zip(&self.per_cpu) {
                // SAFETY: a system call on two descriptors that are open.
                let refused =
                    unsafe { ioctls::SET_OUTPUT(event.as_raw_fd(), first.as_raw_fd()) } != 0;
                if refused {
                    return Err(io::Error::last_os_error());
                }
            }
            self.others.extend(events);
        }
        Ok(())
    }

    fn events(&mut self) -> impl Iterator<Item = &mut Counter> {
        self.per_cpu
            .iter_mut()
            .map(|(event, _)| event)
            .chain(&mut self.others)
    }

    /// Starts to sample.
    ///
    /// # Errors
    /// What the system says.
    pub fn enable(&mut self) -> io::Result<()> {
        self.events().try_for_each(Counter::enable)
    }

    /// Ceases to sample; what was sampled stays in the rings.
    ///
    /// # Errors
    /// What the system says.
    pub fn disable(&mut self) -> io::Result<()> {
        self.events().try_for_each(Counter::disable)
    }

    /// How to read the records of these events.
    pub fn parse_info(&self) -> RecordParseInfo {
        parse_info(self.kernel)
    }

    /// The rings to drain, each with its CPU.
    pub(super) fn rings(&mut self) -> impl Iterator<Item = (usize, &mut Ring)> {
        let rings = self.per_cpu.iter_mut().map(|(_, ring)| ring);
        self.cpus.iter().copied().zip(rings)
    }

    /// How long samples may come at full rate until half of a ring is full.
    pub(super) fn patience(&self) -> Duration {
        let smallest = self
            .per_cpu
            .iter()
            .map(|(_, ring)| ring.bytes())
            .min()
            .unwrap_or(0);
        let samples = smallest / 2 / SAMPLE_BYTES;
        Duration::from_secs_f64(samples as f64 / f64::from(self.rate_hz))
    }

    /// The descriptors that become readable when samples wait.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.per_cpu
            .iter()
            // SAFETY: the counter owns the descriptor, keeps it open and outlives the borrow of `self`.
            .map(|(event, _)| unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) })
            .collect()
    }
}

fn threads(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn open_on_each_cpu(
    thread: u32,
    rate_hz: u32,
    hardware: bool,
    kernel: bool,
) -> io::Result<Vec<Counter>> {
    online_cpus()?
        .into_iter()
        .map(|cpu| {
            builder(rate_hz, hardware, kernel)
                .observe_pid(thread.cast_signed())
                .one_cpu(cpu)
                .build()
        })
        .collect()
}

fn builder(rate_hz: u32, hardware: bool, kernel: bool) -> Builder<'static> {
    let mut builder = Builder::new();
    builder = if hardware {
        builder.kind(Hardware::CPU_CYCLES)
    } else {
        builder.kind(Software::CPU_CLOCK)
    };
    builder
        .inherit(true)
        .exclude_kernel(!kernel)
        .sample_frequency(rate_hz.into())
        .sample_regs_user(USER_REGISTERS)
        .sample_stack_user(STACK_BYTES)
        .exclude_callchain_user(true)
        .mmap(true)
        .mmap2(true)
        .comm(true)
        .comm_exec(true)
        .task(true)
        .sample_id_all(true)
        .clockid(perf_event::Clock::MONOTONIC)
        .wakeup_events(1);
    builder.attrs_mut().sample_type |= sample_type(kernel);
    builder
}

/// How the reader finds the fields of the records that [`builder`] asks for: samples begin with process and thread (8 bytes) and
/// time (8 bytes), all others end with them.
pub fn parse_info(kernel: bool) -> RecordParseInfo {
    RecordParseInfo {
        endian: Endianness::NATIVE,
        sample_format: SampleFormat::from_bits_truncate(sample_type(kernel)),
        branch_sample_format: BranchSampleFormat::empty(),
        read_format: ReadFormat::empty(),
        common_data_offset_from_end: Some(16),
        sample_regs_user: USER_REGISTERS,
        user_regs_count: USER_REGISTERS.count_ones() as u8,
        sample_regs_intr: 0,
        intr_regs_count: 0,
        id_parse_info: RecordIdParseInfo {
            nonsample_record_id_offset_from_end: None,
            sample_record_id_offset_from_start: None,
        },
        nonsample_record_time_offset_from_end: Some(8),
        sample_record_time_offset_from_start: Some(8),
    }
}

fn sample_type(kernel: bool) -> u64 {
    let callchain = if kernel {
        bindings::PERF_SAMPLE_CALLCHAIN
    } else {
        0
    };
    let fields = callchain
        | bindings::PERF_SAMPLE_TID
        | bindings::PERF_SAMPLE_TIME
        | bindings::PERF_SAMPLE_REGS_USER
        | bindings::PERF_SAMPLE_STACK_USER;
    fields.into()
}

/// Rings of one size for all events: the largest that the limits grant to all of them.
fn map_rings(events: &[Counter]) -> io::Result<Vec<Ring>> {
    let mut last = io::Error::from(io::ErrorKind::OutOfMemory);
    let affordable = |bytes: &usize| bytes * events.len() <= ALL_RINGS_BYTES;
    for bytes in RING_BYTES.into_iter().filter(affordable) {
        match events.iter().map(|event| Ring::map(event, bytes)).collect() {
            Ok(rings) => return Ok(rings),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// CPUs from a list such as `0-3,5` in `/sys/devices/system/cpu/online`.
fn online_cpus() -> io::Result<Vec<usize>> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    parse_cpu_list(text.trim())
        .ok_or_else(|| io::Error::other(format!("unreadable CPU list {text:?}")))
}

fn parse_cpu_list(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_cpu_list("0"), Some(vec![0]));
        assert_eq!(parse_cpu_list("x"), None);
    }
}
