//! Event counters over all threads of a process, through perf-event.
//!
//! In: a process that has one thread as yet (what it starts later is counted too). Out: one reading an event,
//! which says whether the event was counted, and never a number for one that was not.

use std::io;

use perf_event::events::{Cache, CacheOp, CacheResult, Event, Hardware, Software, WhichCache};
use perf_event::{Builder, Counter};
use serde::{Deserialize, Serialize};

use crate::sampling::events::{self, is_denial, mend};
use crate::worker::Usage;

/// Whether an event was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All the time.
    Counted,
    /// Part of the time; the value is scaled to the whole.
    Multiplexed,
    /// This machine can't count it.
    Unsupported,
    /// This user may not count it here.
    Denied,
}

/// What one event came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CounterReading {
    /// The event's name, as perf calls it.
    pub event: String,
    /// Whether it was counted.
    pub status: Status,
    /// The count; times are in ns.
    pub value: Option<u64>,
    /// `value` divided by the calls of the op.
    pub per_call: Option<f64>,
    /// How long the event was to be counted, summed over threads.
    pub time_enabled_ns: u64,
    /// How long it was counted.
    pub time_running_ns: u64,
    /// Why the event was not counted, or what was left out of the count, or where it is from if not from perf.
    pub reason: Option<String>,
}

/// The events, in the order in which they are reported.
const EVENTS: [(&str, Kind); 18] = [
    ("task-clock", Kind::Software(Software::TASK_CLOCK)),
    ("page-faults", Kind::Software(Software::PAGE_FAULTS)),
    ("minor-faults", Kind::Software(Software::PAGE_FAULTS_MIN)),
    ("major-faults", Kind::Software(Software::PAGE_FAULTS_MAJ)),
    (
        "context-switches",
        Kind::KernelSoftware(Software::CONTEXT_SWITCHES),
    ),
    (
        "cpu-migrations",
        Kind::KernelSoftware(Software::CPU_MIGRATIONS),
    ),
    ("cycles", Kind::Hardware(Hardware::CPU_CYCLES)),
    ("instructions", Kind::Hardware(Hardware::INSTRUCTIONS)),
    ("branches", Kind::Hardware(Hardware::BRANCH_INSTRUCTIONS)),
    ("branch-misses", Kind::Hardware(Hardware::BRANCH_MISSES)),
    (
        "cache-references",
        Kind::Hardware(Hardware::CACHE_REFERENCES),
    ),
    ("cache-misses", Kind::Hardware(Hardware::CACHE_MISSES)),
    (
        "L1-dcache-loads",
        Kind::Cache(WhichCache::L1D, CacheResult::ACCESS),
    ),
    (
        "L1-dcache-load-misses",
        Kind::Cache(WhichCache::L1D, CacheResult::MISS),
    ),
    (
        "dTLB-loads",
        Kind::Cache(WhichCache::DTLB, CacheResult::ACCESS),
    ),
    (
        "dTLB-load-misses",
        Kind::Cache(WhichCache::DTLB, CacheResult::MISS),
    ),
    (
        "stalled-cycles-frontend",
        Kind::Hardware(Hardware::STALLED_CYCLES_FRONTEND),
    ),
    (
        "stalled-cycles-backend",
        Kind::Hardware(Hardware::STALLED_CYCLES_BACKEND),
    ),
];

#[derive(Clone, Copy)]
enum Kind {
    Software(Software),
    /// Happens in the kernel only: without leave to count there it would read 0.
    KernelSoftware(Software),
    Hardware(Hardware),
    Cache(WhichCache, CacheResult),
}

impl Kind {
    fn event(self) -> Event {
        match self {
            Kind::Software(event) | Kind::KernelSoftware(event) => event.into(),
            Kind::Hardware(event) => event.into(),
            Kind::Cache(which, result) => Cache {
                which,
                operation: CacheOp::READ,
                result,
            }
            .into(),
        }
    }
}

enum Slot {
    Open { counter: Counter, user_only: bool },
    Closed { status: Status, reason: String },
}

/// Counters of one process and all threads that it starts later.
pub struct Counters {
    slots: Vec<(&'static str, Slot)>,
    denied: Option<String>,
}

/// What the counters read at one time.
pub struct Snapshot {
    totals: Vec<Total>,
}

struct Total {
    event: &'static str,
    outcome: Result<Raw, (Status, String)>,
}

#[derive(Clone, Copy)]
struct Raw {
    count: u64,
    enabled_ns: u64,
    running_ns: u64,
    user_only: bool,
}

impl Counters {
    /// Opens every event for process `pid`. Never fails: an event that can't be counted says so.
    pub fn open(pid: u32) -> Counters {
        let slots: Vec<(&str, Slot)> = EVENTS
            .iter()
            .map(|(name, kind)| (*name, open(*kind, pid)))
            .collect();
        let open = slots
            .iter()
            .any(|(_, slot)| matches!(slot, Slot::Open { .. }));
        let denied = slots.iter().find_map(|(_, slot)| match slot {
            Slot::Closed {
                status: Status::Denied,
                reason,
            } if !open => Some(reason.clone()),
            _ => None,
        });
        Counters { slots, denied }
    }

    /// `None` when at least one event can be counted, else why counting is denied and how to mend it.
    pub fn denied(&self) -> Option<&str> {
        self.denied.as_deref()
    }

    /// Each event with whether it opened, and why not or what is left out of its count.
    pub fn states(&self) -> Vec<(&'static str, Status, Option<String>)> {
        let state = |slot: &Slot| match slot {
            Slot::Open { user_only, .. } => (Status::Counted, user_only.then(user_only_reason)),
            Slot::Closed { status, reason } => (*status, Some(reason.clone())),
        };
        let slots = self.slots.iter();
        slots
            .map(|(event, slot)| {
                let (status, reason) = state(slot);
                (*event, status, reason)
            })
            .collect()
    }

    /// Starts to count.
    pub fn start(&mut self) -> Snapshot {
        for (_, slot) in &mut self.slots {
            if let Slot::Open { counter, .. } = slot
                && let Err(error) = counter.enable()
            {
                *slot = closed(&error);
            }
        }
        self.read()
    }

    /// Ceases to count and gives what came since `start`; `calls` is how often the op ran.
    pub fn stop(&mut self, start: &Snapshot, calls: u64) -> Vec<CounterReading> {
        let end = self.read();
        for (_, slot) in &mut self.slots {
            if let Slot::Open { counter, .. } = slot
                && let Err(error) = counter.disable()
            {
                *slot = closed(&error);
            }
        }
        start
            .totals
            .iter()
            .zip(&end.totals)
            .map(|(start, end)| reading(start, end, calls))
            .collect()
    }

    fn read(&mut self) -> Snapshot {
        let totals = self
            .slots
            .iter_mut()
            .map(|(event, slot)| Total {
                event,
                outcome: slot.read(),
            })
            .collect();
        Snapshot { totals }
    }
}

impl Slot {
    fn read(&mut self) -> Result<Raw, (Status, String)> {
        match self {
            Slot::Closed { status, reason } => Err((*status, reason.clone())),
            Slot::Open { counter, user_only } => counter
                .read_count_and_time()
                .map(|read| Raw {
                    count: read.count,
                    enabled_ns: read.time_enabled,
                    running_ns: read.time_running,
                    user_only: *user_only,
                })
                .map_err(|error| (Status::Unsupported, format!("can't be read: {error}"))),
        }
    }
}

fn open(kind: Kind, pid: u32) -> Slot {
    let build = |kernel: bool| {
        let mut builder = Builder::new()
            .kind(kind.event())
            .observe_pid(pid.cast_signed())
            .any_cpu();
        builder.inherit(true).exclude_kernel(!kernel);
        events::open(builder)
    };
    match build(true) {
        Ok(counter) => Slot::Open {
            counter,
            user_only: false,
        },
        Err(error) if is_denial(&error) => match (kind, build(false)) {
            (Kind::KernelSoftware(_), Ok(_)) => Slot::Closed {
                status: Status::Denied,
                reason: format!(
                    "happens in the kernel, which may not be watched here: {}",
                    mend_kernel()
                ),
            },
            (_, Ok(counter)) => Slot::Open {
                counter,
                // A task's time is told whole, whatever was asked for.
                user_only: !matches!(kind, Kind::Software(Software::TASK_CLOCK)),
            },
            (_, Err(error)) => closed(&error),
        },
        Err(error) => closed(&error),
    }
}

fn mend_kernel() -> &'static str {
    "set kernel.perf_event_paranoid to 1 or lower (sysctl), or grant CAP_PERFMON"
}

fn user_only_reason() -> String {
    format!("user space only: {}", mend_kernel())
}

fn closed(error: &io::Error) -> Slot {
    if is_denial(error) {
        Slot::Closed {
            status: Status::Denied,
            reason: format!("{error}: {}", mend(error)),
        }
    } else {
        Slot::Closed {
            status: Status::Unsupported,
            reason: format!("not on this machine: {error}"),
        }
    }
}

/// The change between two reads. A count that ran part of the time is scaled by enabled / running time, as perf
/// stat does.
fn reading(start: &Total, end: &Total, calls: u64) -> CounterReading {
    let (first, last) = match (&start.outcome, &end.outcome) {
        (Ok(first), Ok(last)) => (first, last),
        (Err((status, reason)), _) | (_, Err((status, reason))) => {
            return absent(end.event, *status, reason.clone(), 0, 0);
        }
    };
    let enabled = last.enabled_ns.saturating_sub(first.enabled_ns);
    let running = last.running_ns.saturating_sub(first.running_ns);
    if running == 0 && enabled > 0 {
        let reason = "never got its turn on the counter hardware".to_owned();
        return absent(end.event, Status::Multiplexed, reason, enabled, running);
    }
    let raw = last.count.saturating_sub(first.count);
    let (status, value) = if running < enabled {
        let scaled = u128::from(raw) * u128::from(enabled) / u128::from(running);
        (
            Status::Multiplexed,
            u64::try_from(scaled).unwrap_or(u64::MAX),
        )
    } else {
        (Status::Counted, raw)
    };
    CounterReading {
        event: end.event.to_owned(),
        status,
        value: Some(value),
        per_call: (calls > 0).then(|| value as f64 / calls as f64),
        time_enabled_ns: enabled,
        time_running_ns: running,
        reason: last.user_only.then(user_only_reason),
    }
}

fn absent(
    event: &str,
    status: Status,
    reason: String,
    enabled: u64,
    running: u64,
) -> CounterReading {
    CounterReading {
        event: event.to_owned(),
        status,
        value: None,
        per_call: None,
        time_enabled_ns: enabled,
        time_running_ns: running,
        reason: Some(reason),
    }
}

/// Adds what getrusage(2) told the worker itself: `user-time` and `kernel-time` (ns), and the events that it knows of those
/// that are denied. `wall_ns` is the length of the window.
pub fn add_usage(readings: &mut Vec<CounterReading>, usage: &Usage, wall_ns: u64, calls: u64) {
    let counted = |event: &str, value: u64, reason: Option<String>| CounterReading {
        event: event.to_owned(),
        status: Status::Counted,
        value: Some(value),
        per_call: (calls > 0).then(|| value as f64 / calls as f64),
        time_enabled_ns: wall_ns,
        time_running_ns: wall_ns,
        reason,
    };
    let denied = readings.iter_mut();
    for reading in denied.filter(|reading| reading.status == Status::Denied) {
        let value = match reading.event.as_str() {
            "page-faults" => usage.minor_faults + usage.major_faults,
            "minor-faults" => usage.minor_faults,
            "major-faults" => usage.major_faults,
            "context-switches" => usage.context_switches,
            _ => continue,
        };
        let reason = "by getrusage(2) of the worker: perf may not count it here".to_owned();
        *reading = counted(&reading.event, value, Some(reason));
    }
    readings.push(counted("user-time", usage.user_ns, None));
    readings.push(counted("kernel-time", usage.kernel_ns, None));
}

#[cfg(test)]
mod tests;
