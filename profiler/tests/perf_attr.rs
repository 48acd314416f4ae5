//! What the kernel is asked for, field by field beside what perf asks for, as strace sees both.
//!
//! Fields that differ on purpose are in [`SAMPLING`] and [`COUNTING`], with the value that is ours and the reason. All others must be
//! equal. An event that this machine lacks is compared too: strace shows the attempt.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{FAKE_CELL, raptors_prof, temporary, with_fake_numpy};

/// Field, our value, and why it is not perf's.
type Difference = (&'static str, &'static str, &'static str);

const SIZE: Difference = (
    "size",
    "0x88",
    "the structure is that of newer kernel headers; what is new in it is 0, which old kernels take",
);
const HYPERVISOR: Difference = (
    "exclude_hv",
    "1",
    "a hypervisor's work is not the program's; x86 counts none in either case",
);
const GUEST: Difference = (
    "exclude_guest",
    "0",
    "the program is no virtual machine with a guest to leave out",
);
const ENABLE: Difference = (
    "enable_on_exec",
    "0",
    "the profiler switches events on itself: for windows, or before it lets the program go",
);
const TIMES: Difference = (
    "read_format",
    "PERF_FORMAT_TOTAL_TIME_ENABLED|PERF_FORMAT_TOTAL_TIME_RUNNING",
    "perf-event reads both times of every event; perf record asks for ids, as it has several events in a file",
);

const COUNTING: [Difference; 5] = [
    SIZE,
    HYPERVISOR,
    GUEST,
    ENABLE,
    (
        "sample_type",
        "0",
        "a counter has no samples that an id could tell apart",
    ),
];

const SAMPLING: [Difference; 14] = [
    SIZE,
    HYPERVISOR,
    GUEST,
    ENABLE,
    TIMES,
    (
        "sample_type",
        "PERF_SAMPLE_TID|PERF_SAMPLE_TIME|PERF_SAMPLE_CALLCHAIN|PERF_SAMPLE_PERIOD|PERF_SAMPLE_REGS_USER|PERF_SAMPLE_STACK_USER",
        "the instruction pointer is among the registers; data addresses are not shown",
    ),
    (
        "sample_regs_user",
        "0xff01ff",
        "the general registers and ip: flags and segments tell nothing of a stack",
    ),
    (
        "use_clockid",
        "1",
        "times must be comparable with those of the Python stacks",
    ),
    (
        "clockid",
        "CLOCK_MONOTONIC",
        "the clock of the Python stacks and of the worker's windows",
    ),
    (
        "wakeup_events",
        "1",
        "the reader wakes as samples come; perf waits for half a ring",
    ),
    ("mmap_data", "0", "code alone is mapped to names"),
    (
        "ksymbol",
        "0",
        "kernel symbols are read from /proc/kallsyms",
    ),
    (
        "bpf_event",
        "0",
        "kernel symbols are read from /proc/kallsyms",
    ),
    (
        "build_id",
        "0",
        "files are read where they are mapped, and their build ids with them",
    ),
];

/// The fields of one `perf_event_attr`.
type Attr = BTreeMap<String, String>;

/// The attributes that `command` hands to the kernel; `None`, said, where it can't be traced or is not there.
fn traced(directory: &Path, command: &Command) -> Option<Vec<Attr>> {
    let program = command.get_program();
    let output = directory.join("trace");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-v", "-e", "trace=perf_event_open", "-o"])
        .arg(&output)
        .arg(program)
        .args(command.get_args())
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    let Ok(_) = strace.status() else {
        eprintln!("skipped: there is no strace");
        return None;
    };
    let attributes: Vec<Attr> = std::fs::read_to_string(output)
        .unwrap_or_default()
        .lines()
        .filter_map(attribute)
        .collect();
    if attributes.is_empty() {
        eprintln!("skipped: {program:?} is not there, or strace may not watch it");
        return None;
    }
    Some(attributes)
}

/// `perf_event_open({type=…, config=…, …}, …`
fn attribute(line: &str) -> Option<Attr> {
    let (_, rest) = line.split_once("perf_event_open({")?;
    let (fields, _) = rest.split_once('}')?;
    let field = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let value = value.split(" /*").next()?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    Some(fields.split(", ").filter_map(field).collect())
}

/// The first attribute of an event that `wanted` holds for.
fn first<'a>(
    attributes: &'a [Attr],
    event: &str,
    wanted: impl Fn(&Attr) -> bool,
) -> Option<&'a Attr> {
    attributes
        .iter()
        .find(|attribute| attribute["config"] == event && wanted(attribute))
}

fn compare(ours: &Attr, perf: &Attr, intended: &[Difference]) {
    for (field, value, reason) in intended {
        if let Some(our_value) = ours.get(*field) {
            assert_eq!(our_value, value, "{field} is to be {value}: {reason}");
        }
    }
    let known = |field: &str| intended.iter().any(|(name, ..)| *name == field);
    let fields = ours.keys().chain(perf.keys());
    let differing: Vec<_> = fields
        .filter(|field| !known(field) && ours.get(*field) != perf.get(*field))
        .map(|field| (field, ours.get(field), perf.get(field)))
        .collect();
    assert!(differing.is_empty(), "field, ours, perf's: {differing:?}");
}

fn samples(attribute: &Attr) -> bool {
    attribute.contains_key("sample_freq")
}

fn counts(attribute: &Attr) -> bool {
    attribute
        .get("sample_period")
        .is_some_and(|period| period == "0")
        && attribute["disabled"] == "1"
}

#[test]
fn counters_are_opened_as_perf_stat_opens_them() {
    let home = temporary();
    let mut ours = with_fake_numpy(home.path());
    ours.args(FAKE_CELL).args([
        "--backend",
        "numpy",
        "--max-time",
        "1",
        "--min-samples",
        "1",
        "--out",
        "run",
    ]);
    let events = "page-faults,task-clock,context-switches,cycles,instructions,cache-misses";
    let mut perf = Command::new("perf");
    perf.args(["stat", "-e", events, "true"]);
    let both =
        traced(home.path(), &perf).and_then(|perf| Some((traced(home.path(), &ours)?, perf)));
    let Some((ours, perf)) = both else { return };
    for event in [
        "PERF_COUNT_SW_PAGE_FAULTS",
        "PERF_COUNT_SW_TASK_CLOCK",
        "PERF_COUNT_SW_CONTEXT_SWITCHES",
        "PERF_COUNT_HW_CPU_CYCLES",
        "PERF_COUNT_HW_INSTRUCTIONS",
        "PERF_COUNT_HW_CACHE_MISSES",
    ] {
        let [ours, perf] =
            [&ours, &perf].map(|attributes| first(attributes, event, counts).unwrap());
        compare(ours, perf, &COUNTING);
    }
}

#[test]
fn samples_are_asked_for_as_perf_record_asks() {
    let home = temporary();
    let mut command = raptors_prof(home.path());
    command.args(["record", "-o", "run", "--rate", "997", "--", "true"]);
    let Some(ours) = traced(home.path(), &command) else {
        return;
    };
    let mut compared = 0;
    for (name, event) in [
        ("cycles:pp", "PERF_COUNT_HW_CPU_CYCLES"),
        ("cpu-clock", "PERF_COUNT_SW_CPU_CLOCK"),
    ] {
        // Where cycles can be sampled, the clock is not tried.
        let Some(ours) = first(&ours, event, samples) else {
            continue;
        };
        let mut perf = Command::new("perf");
        perf.args(["record", "-o", "perf.data", "-e", name, "-F", "997"])
            .args(["--call-graph", "dwarf,16384", "true"]);
        let Some(perf) = traced(home.path(), &perf) else {
            return;
        };
        compare(ours, first(&perf, event, samples).unwrap(), &SAMPLING);
        compared += 1;
    }
    assert!(compared > 0);
}
