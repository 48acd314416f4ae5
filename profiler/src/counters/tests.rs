//! The counters against a kernel played by perf-event's hooks: this is how what the machine lacks is tested.

use std::ffi::{c_int, c_uint, c_ulong};
use std::io::Write;
use std::os::fd::IntoRawFd;

use perf_event::hooks::{Hooks, clear_thread_hooks, set_thread_hooks, sys::bindings};

use super::*;

/// What the played kernel answers to `perf_event_open` and to the reads after it.
#[derive(Clone, Copy)]
enum Answer {
    Errno(c_int),
    /// Successive reads: count, time enabled, time running.
    Reads([[u64; 3]; 2]),
}

struct PlayedKernel(fn(type_: u32, config: u64, exclude_kernel: bool) -> Answer);

impl Hooks for PlayedKernel {
    unsafe fn perf_event_open(
        &mut self,
        attrs: *mut bindings::perf_event_attr,
        _pid: libc::pid_t,
        _cpu: c_int,
        _group: c_int,
        _flags: c_ulong,
    ) -> c_int {
        // SAFETY: the caller passes a valid attribute structure, as the real system call demands.
        let attrs = unsafe { &*attrs };
        assert_eq!(
            attrs.inherit(),
            1,
            "threads that start later must be counted"
        );
        match (self.0)(attrs.type_, attrs.config, attrs.exclude_kernel() == 1) {
            Answer::Errno(errno) => {
                // SAFETY: errno of this thread.
                unsafe { *libc::__errno_location() = errno };
                -1
            }
            Answer::Reads(reads) => {
                let (reader, mut writer) = std::io::pipe().unwrap();
                reads
                    .iter()
                    .flatten()
                    .for_each(|number| writer.write_all(&number.to_ne_bytes()).unwrap());
                reader.into_raw_fd()
            }
        }
    }
    unsafe fn ENABLE(&mut self, _fd: c_int, _arg: c_uint) -> c_int {
        0
    }
    unsafe fn DISABLE(&mut self, _fd: c_int, _arg: c_uint) -> c_int {
        0
    }
    unsafe fn ID(&mut self, _fd: c_int, id: *mut u64) -> c_int {
        // SAFETY: the caller passes a valid place for the id.
        unsafe { *id = 1 };
        0
    }
}

fn readings_on(
    kernel: fn(u32, u64, bool) -> Answer,
    calls: u64,
) -> (Option<String>, Vec<CounterReading>) {
    // SAFETY: no counter of this thread exists before or outlives the hooks.
    unsafe { set_thread_hooks(Box::new(PlayedKernel(kernel))) };
    let mut counters = Counters::open(1);
    let start = counters.start();
    let readings = counters.stop(&start, calls);
    let denied = counters.denied().map(str::to_owned);
    drop(counters);
    // SAFETY: as above.
    unsafe { clear_thread_hooks() };
    (denied, readings)
}

fn of<'a>(readings: &'a [CounterReading], event: &str) -> &'a CounterReading {
    readings
        .iter()
        .find(|reading| reading.event == event)
        .unwrap()
}

const HARDWARE: u32 = bindings::PERF_TYPE_HARDWARE;
const CYCLES: u64 = bindings::PERF_COUNT_HW_CPU_CYCLES as u64;

#[test]
fn a_whole_pmu_is_counted() {
    let (denied, readings) =
        readings_on(|_, _, _| Answer::Reads([[100, 10, 10], [1100, 60, 60]]), 4);
    assert_eq!(denied, None);
    for reading in readings {
        assert_eq!(
            (reading.status, reading.value, reading.per_call),
            (Status::Counted, Some(1000), Some(250.0))
        );
        assert_eq!(
            (
                reading.time_enabled_ns,
                reading.time_running_ns,
                reading.reason
            ),
            (50, 50, None)
        );
    }
}

#[test]
fn a_shared_counter_is_scaled_and_said() {
    let kernel = |kind, _, _| match kind {
        HARDWARE => Answer::Reads([[0, 0, 0], [300, 1000, 250]]),
        _ => Answer::Reads([[0, 0, 0], [7, 1000, 1000]]),
    };
    let (_, readings) = readings_on(kernel, 10);
    let cycles = of(&readings, "cycles");
    assert_eq!(
        (cycles.status, cycles.value, cycles.per_call),
        (Status::Multiplexed, Some(1200), Some(120.0))
    );
    assert_eq!(of(&readings, "page-faults").status, Status::Counted);
}

#[test]
fn a_counter_that_never_ran_has_no_value() {
    let (_, readings) = readings_on(|_, _, _| Answer::Reads([[0, 0, 0], [0, 1000, 0]]), 10);
    let cycles = of(&readings, "cycles");
    assert_eq!(
        (cycles.status, cycles.value, cycles.per_call),
        (Status::Multiplexed, None, None)
    );
    assert!(
        cycles
            .reason
            .as_ref()
            .unwrap()
            .contains("never got its turn")
    );
}

#[test]
fn scaling_counts_from_the_start_of_the_window() {
    // It had shared the counter before: only what came since matters.
    let (_, readings) = readings_on(
        |_, _, _| Answer::Reads([[5_000, 9_000, 100], [5_030, 9_300, 200]]),
        1,
    );
    let cycles = of(&readings, "cycles");
    assert_eq!(
        (cycles.status, cycles.value),
        (Status::Multiplexed, Some(90))
    );
    assert_eq!((cycles.time_enabled_ns, cycles.time_running_ns), (300, 100));
}

#[test]
fn no_number_is_too_large() {
    const HUGE: u64 = u64::MAX;
    type Case = (fn(u32, u64, bool) -> Answer, Status, u64);
    let cases: [Case; 4] = [
        (
            |_, _, _| Answer::Reads([[HUGE - 5, 0, 0], [HUGE, HUGE, HUGE]]),
            Status::Counted,
            5,
        ),
        (
            |_, _, _| Answer::Reads([[0, 0, 0], [HUGE - 1, HUGE, HUGE - 1]]),
            Status::Multiplexed,
            HUGE,
        ),
        (
            |_, _, _| Answer::Reads([[0, 0, 0], [HUGE, HUGE, 1]]),
            Status::Multiplexed,
            HUGE,
        ),
        (
            |_, _, _| Answer::Reads([[0, 0, 0], [1 << 63, 3 << 61, 1 << 62]]),
            Status::Multiplexed,
            3 << 62,
        ),
    ];
    for (kernel, status, value) in cases {
        let (_, readings) = readings_on(kernel, 1);
        let cycles = of(&readings, "cycles");
        assert_eq!((cycles.status, cycles.value), (status, Some(value)));
        assert!(cycles.per_call.unwrap().is_finite());
    }
}

#[test]
fn a_counter_that_seems_to_go_back_counts_nothing() {
    let (_, readings) = readings_on(|_, _, _| Answer::Reads([[9, 50, 50], [4, 40, 40]]), 1);
    let cycles = of(&readings, "cycles");
    assert_eq!((cycles.status, cycles.value), (Status::Counted, Some(0)));
}

#[test]
fn no_pmu_is_unsupported_and_never_a_number() {
    let kernel = |kind, _, _| match kind {
        bindings::PERF_TYPE_SOFTWARE => Answer::Reads([[0, 0, 0], [8, 1, 1]]),
        _ => Answer::Errno(libc::ENOENT),
    };
    let (denied, readings) = readings_on(kernel, 1);
    assert_eq!(denied, None);
    let (soft, hard): (Vec<_>, Vec<_>) =
        readings.iter().partition(|reading| reading.value.is_some());
    assert_eq!((soft.len(), hard.len()), (6, 12));
    assert!(
        hard.iter()
            .all(|reading| reading.status == Status::Unsupported && reading.per_call.is_none())
    );
}

#[test]
fn one_event_may_be_missing() {
    let kernel = |kind, config, _| match (kind, config) {
        (HARDWARE, CYCLES) => Answer::Reads([[0, 0, 0], [5, 1, 1]]),
        (HARDWARE, _) => Answer::Errno(libc::EOPNOTSUPP),
        _ => Answer::Reads([[0, 0, 0], [8, 1, 1]]),
    };
    let (_, readings) = readings_on(kernel, 1);
    assert_eq!(of(&readings, "cycles").value, Some(5));
    assert_eq!(
        of(&readings, "stalled-cycles-backend").status,
        Status::Unsupported
    );
}

#[test]
fn denial_names_the_mend() {
    let (denied, readings) = readings_on(|_, _, _| Answer::Errno(libc::EPERM), 1);
    assert!(denied.unwrap().contains("perf_event_paranoid"));
    assert!(
        readings
            .iter()
            .all(|reading| reading.status == Status::Denied && reading.value.is_none())
    );
    let (denied, _) = readings_on(|_, _, _| Answer::Errno(libc::ENOSYS), 1);
    assert!(denied.unwrap().contains("seccomp"));
}

#[test]
fn user_space_only_is_said_and_kernel_events_are_denied() {
    let kernel = |_, _, exclude_kernel| match exclude_kernel {
        true => Answer::Reads([[0, 0, 0], [8, 1, 1]]),
        false => Answer::Errno(libc::EACCES),
    };
    let (denied, readings) = readings_on(kernel, 1);
    assert_eq!(denied, None);
    let faults = of(&readings, "page-faults");
    assert_eq!((faults.status, faults.value), (Status::Counted, Some(8)));
    assert!(
        faults
            .reason
            .as_ref()
            .unwrap()
            .starts_with("user space only")
    );
    let switches = of(&readings, "context-switches");
    assert_eq!((switches.status, switches.value), (Status::Denied, None));
}

#[test]
fn getrusage_stands_in_for_what_is_denied_and_for_nothing_else() {
    let usage = Usage {
        user_ns: 30,
        kernel_ns: 10,
        minor_faults: 6,
        major_faults: 2,
        context_switches: 4,
    };
    let kernel = |_, config, _| match u64::from(bindings::PERF_COUNT_SW_PAGE_FAULTS) == config {
        true => Answer::Reads([[0, 0, 0], [100, 1, 1]]),
        false => Answer::Errno(libc::EPERM),
    };
    let (_, mut readings) = readings_on(kernel, 2);
    add_usage(&mut readings, &usage, 50, 2);
    let value = |event: &str| of(&readings, event).value;
    assert_eq!(value("page-faults"), Some(100));
    assert_eq!(value("minor-faults"), Some(6));
    assert_eq!(value("major-faults"), Some(2));
    assert_eq!(
        (value("user-time"), value("kernel-time")),
        (Some(30), Some(10))
    );
    let switches = of(&readings, "context-switches");
    assert_eq!(
        (switches.status, switches.value, switches.per_call),
        (Status::Counted, Some(4), Some(2.0))
    );
    assert!(switches.reason.as_ref().unwrap().contains("getrusage"));
    assert_eq!(of(&readings, "cpu-migrations").status, Status::Denied);
}
