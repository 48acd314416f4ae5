//! Opens the sampling events: one a CPU, on every thread of a process and all that it starts later.
//!
//! Events on a thread that follow its children can't have a ring buffer unless they are bound to a CPU, so
//! there is one ring a CPU, and for each thread that is there already one event a CPU.
//!
//! Samples that come by rate have an event for each [`Mode`], which all write to the same ring. One of them is on at a time.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use linux_perf_event_reader::RecordParseInfo;
use perf_event::{Builder, Counter};
use perf_event_open_sys::ioctls;

use super::request::{DEEP_STACK_BYTES, Request, STACK_BYTES, Subject};
use super::ring::Ring;
use super::weight::Unit;

/// All rings together take no more, however many CPUs there are.
const ALL_RINGS_BYTES: usize = 256 << 20;
/// On a busy machine the sampling thread may get to a ring so late.
const LATEST_LOOK: Duration = Duration::from_millis(50);
/// Room that a sample takes in a ring beside its stack copy, at most: a kernel callchain, the rest.
const HEAD_BYTES: usize = 2048;
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
    /// Only the kernel could be sampled for it, and that is denied.
    #[error(
        "{event} happens in the kernel, which may not be sampled here ({source}): set kernel.perf_event_paranoid to 1 or \
         lower (sysctl), or grant CAP_PERFMON, or run as root; in a container allow perf_event_open in its seccomp profile"
    )]
    KernelDenied {
        /// The event.
        event: String,
        /// What the system said.
        source: io::Error,
    },
    /// The machine has no such event, or none that can be sampled for a process.
    #[error("{event} can't be sampled on this machine: {}", reason(source))]
    NoEvent {
        /// The event.
        event: String,
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

/// Why `perf_event_open` can't sample an event.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV) => {
            "it has no PMU that counts it, as is usual for virtual machines; software \
            events such as cpu-clock, page-faults and context-switches are always there"
                .to_owned()
        }
        _ => format!("its PMU may count it, but takes no samples of it for a process ({error})"),
    }
}

/// Whether an error of `perf_event_open` means that it is denied rather than impossible.
pub fn is_denial(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EACCES | libc::EPERM | libc::ENOSYS)
    )
}

/// How samples come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// They wake who waits for them.
    Waking,
    /// They wake nobody: each wake-up is an interrupt of its own in the target's time.
    Silent,
    /// They wake who waits for them, and have more of the stack.
    Deep,
}

impl Mode {
    /// Bytes of stack that a sample has.
    fn stack_bytes(self) -> usize {
        let bytes = match self {
            Mode::Waking | Mode::Silent => STACK_BYTES,
            Mode::Deep => DEEP_STACK_BYTES,
        };
        bytes as usize
    }
}

/// Sampling events of one process with their rings.
pub struct SamplingEvents {
    request: Request,
    cpus: Vec<usize>,
    /// The first thread's waking events, which own the rings.
    per_cpu: Vec<(Counter, Ring)>,
    /// The other threads' waking events, which write to the same rings.
    others: Vec<Counter>,
    /// The silent events of all threads; none where samples don't come by rate, or where they would be too many open files.
    silent: Vec<Counter>,
    /// The deep events of all threads, as far as the same allows and the rings have room.
    deep: Vec<Counter>,
    mode: Mode,
}

impl SamplingEvents {
    /// Opens events on all threads of process `pid`, not yet enabled: the first way to ask for the subject that the kernel
    /// grants.
    ///
    /// # Errors
    /// [`OpenError`] says why not and what can be done.
    pub fn open(pid: u32, subject: &Subject) -> Result<SamplingEvents, OpenError> {
        let mut refused = None;
        for request in subject.requests() {
            match open_on_each_cpu(pid, || request.builder()) {
                Ok(events) => {
                    let rings = map_rings(&events).map_err(|source| OpenError::Ring { source })?;
                    let cpus = online_cpus().map_err(|source| OpenError::Ring { source })?;
                    let mut events = SamplingEvents {
                        request,
                        cpus,
                        per_cpu: events.into_iter().zip(rings).collect(),
                        others: Vec::new(),
                        silent: Vec::new(),
                        deep: Vec::new(),
                        mode: Mode::Waking,
                    };
                    let other = |source| OpenError::Other { pid, source };
                    let all = threads(pid);
                    let begun: Vec<u32> = all.iter().copied().filter(|tid| *tid != pid).collect();
                    events.others = events.add(&begun, Request::builder).map_err(other)?;
                    if events.rate_hz().is_some() {
                        let silent = events.add(&all, Request::silent_builder);
                        events.silent = silent.unwrap_or_default();
                        if events.lasts(Mode::Deep) >= LATEST_LOOK {
                            let deep = events.add(&all, Request::deep_builder);
                            events.deep = deep.unwrap_or_default();
                        }
                        // A thread that began meanwhile may have the waking event alone.
                        if threads(pid).iter().any(|thread| !all.contains(thread)) {
                            events.silent.clear();
                            events.deep.clear();
                        }
                    }
                    return Ok(events);
                }
                Err(error) => refused = Some((request, error)),
            }
        }
        Err(match refused {
            Some((request, source)) => refusal(pid, request, source),
            None => OpenError::Other {
                pid,
                source: io::ErrorKind::Unsupported.into(),
            },
        })
    }

    /// Opens more events on these threads, which write to the rings that are there; those that end meanwhile are no loss.
    fn add(
        &self,
        threads: &[u32],
        builder: impl Fn(&Request) -> Builder<'static>,
    ) -> io::Result<Vec<Counter>> {
        let mut added = Vec::new();
        for &thread in threads {
            let events = match open_on_each_cpu(thread, || builder(&self.request)) {
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
            added.extend(events);
        }
        Ok(added)
    }

    /// Does something to all events of a mode.
    fn each(
        &mut self,
        mode: Mode,
        act: impl FnMut(&mut Counter) -> io::Result<()>,
    ) -> io::Result<()> {
        match mode {
            Mode::Waking => {
                let first = self.per_cpu.iter_mut().map(|(event, _)| event);
                first.chain(&mut self.others).try_for_each(act)
            }
            Mode::Silent => self.silent.iter_mut().try_for_each(act),
            Mode::Deep => self.deep.iter_mut().try_for_each(act),
        }
    }

    /// Starts to sample; samples wake who waits for them.
    ///
    /// # Errors
    /// What the system says.
    pub fn enable(&mut self) -> io::Result<()> {
        self.mode = Mode::Waking;
        self.each(self.mode, Counter::enable)
    }

    /// Ceases to sample; what was sampled stays in the rings.
    ///
    /// # Errors
    /// What the system says.
    pub fn disable(&mut self) -> io::Result<()> {
        self.each(self.mode, Counter::disable)
    }

    /// How samples come.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether samples can come so.
    pub(super) fn offers(&self, mode: Mode) -> bool {
        match mode {
            Mode::Waking => true,
            Mode::Silent => !self.silent.is_empty(),
            Mode::Deep => !self.deep.is_empty(),
        }
    }

    /// Has samples come so from now on; where that can't be, they wake. What samples is on before what did is off, so that a
    /// thread that begins meanwhile has one of the two.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn set_mode(&mut self, mode: Mode) -> io::Result<()> {
        let mode = if self.offers(mode) {
            mode
        } else {
            Mode::Waking
        };
        if mode == self.mode {
            return Ok(());
        }
        self.each(mode, Counter::enable)?;
        let before = std::mem::replace(&mut self.mode, mode);
        self.each(before, Counter::disable)
    }

    /// How to read the records of these events.
    pub fn parse_info(&self) -> RecordParseInfo {
        self.request.parse_info()
    }

    /// Name of the sampled event.
    pub fn event(&self) -> &str {
        &self.request.name
    }

    /// What is counted.
    pub fn unit(&self) -> Unit {
        self.request.unit
    }

    /// Samples a second; `None` where they are taken by number.
    pub fn rate_hz(&self) -> Option<u32> {
        self.request.rate_hz
    }

    /// Of how many events one is sampled; `None` where the rate decides.
    pub fn period(&self) -> Option<u64> {
        self.request.period
    }

    /// Whether kernel frames are sampled.
    pub fn kernel(&self) -> bool {
        self.request.kernel
    }

    /// Whether the switches of threads are recorded, for their waits.
    pub fn switches(&self) -> bool {
        self.request.switches
    }

    /// The rings to drain, each with its CPU.
    pub(super) fn rings(&mut self) -> impl Iterator<Item = (usize, &mut Ring)> {
        let rings = self.per_cpu.iter_mut().map(|(_, ring)| ring);
        self.cpus.iter().copied().zip(rings)
    }

    /// Size of the smallest ring, bytes.
    pub fn ring_bytes(&self) -> usize {
        let rings = self.per_cpu.iter().map(|(_, ring)| ring.bytes());
        rings.min().unwrap_or(0)
    }

    /// How long samples may come at full rate until half of a ring is full; no time where they come as the events do.
    pub fn patience(&self) -> Duration {
        self.lasts(self.mode) / 2
    }

    /// How long a ring has room for samples of a mode.
    fn lasts(&self, mode: Mode) -> Duration {
        let Some(rate_hz) = self.request.rate_hz else {
            return Duration::ZERO;
        };
        let samples = self.ring_bytes() / (mode.stack_bytes() + HEAD_BYTES);
        Duration::from_secs_f64(samples as f64 / f64::from(rate_hz))
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
    builder: impl Fn() -> Builder<'static>,
) -> io::Result<Vec<Counter>> {
    let on = |cpu| open(builder().observe_pid(thread.cast_signed()).one_cpu(cpu));
    online_cpus()?.into_iter().map(on).collect()
}

/// Opens an event whose descriptor stays here when a program is started: perf-event does not pass `PERF_FLAG_FD_CLOEXEC`.
pub(crate) fn open(builder: Builder<'_>) -> io::Result<Counter> {
    let event = builder.build()?;
    // SAFETY: a system call on a descriptor that is open.
    match unsafe { libc::fcntl(event.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(event),
    }
}

/// What the refusal of the last way to ask means.
fn refusal(pid: u32, request: Request, source: io::Error) -> OpenError {
    let event = request.name;
    match source.raw_os_error() {
        _ if is_denial(&source) && request.needs_kernel => {
            OpenError::KernelDenied { event, source }
        }
        _ if is_denial(&source) => OpenError::Denied { source },
        Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP | libc::EINVAL) => {
            OpenError::NoEvent { event, source }
        }
        _ => OpenError::Other { pid, source },
    }
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
pub(crate) fn online_cpus() -> io::Result<Vec<usize>> {
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

    #[test]
    fn a_refusal_says_what_it_means() {
        let refused = |subject: &Subject, errno| {
            let request = subject.requests().pop().unwrap();
            refusal(1, request, io::Error::from_raw_os_error(errno))
        };
        let cpu_time = Subject::CpuTime { rate_hz: 997 };
        for errno in [libc::EACCES, libc::EPERM, libc::ENOSYS] {
            let error = refused(&cpu_time, errno);
            assert!(matches!(error, OpenError::Denied { .. }), "{error}");
            let error = refused(&Subject::OffCpu, errno);
            assert!(matches!(error, OpenError::KernelDenied { .. }), "{error}");
        }
        for errno in [libc::ENOENT, libc::EOPNOTSUPP, libc::EINVAL] {
            let error = refused(&cpu_time, errno);
            assert!(matches!(error, OpenError::NoEvent { .. }), "{error}");
        }
        let error = refused(&cpu_time, libc::EMFILE);
        assert!(matches!(error, OpenError::Other { .. }), "{error}");
    }
}
