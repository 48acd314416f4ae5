//! Judges leave to watch processes, and the interpreter. Pure.

use super::facts::{Access, CodeFile, Interpreter, Problem, Refusal, Sampling, System};
use super::{Check, Group, RATE_HZ};
use crate::counters::Status;
use crate::sampling::events;

/// Bits of the capability sets (capabilities(7), linux/capability.h).
const CAPABILITIES: [(&str, u32); 4] = [
    ("CAP_PERFMON", 38),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_SYS_PTRACE", 19),
    ("CAP_SYSLOG", 34),
];
/// Rings have to hold the samples of so many seconds: one reader in a hundred was later on a busy machine of two CPUs.
const LATE_S: f64 = 0.045;
const FILTER: u32 = 2;
const FILTER_MEND: &str = "in a container: docker run --security-opt seccomp=container/seccomp.json …; elsewhere allow the call in the filter \
     (systemd: SystemCallFilter=)";
const KERNEL_MEND: &str = "sudo sysctl kernel.perf_event_paranoid=1, or run as root; in a container: the same sysctl on its host, or \
     docker run --user 0:0 --cap-add PERFMON --cap-add SYSLOG … (old engines: SYS_ADMIN for PERFMON)";
const OWN_OPS: &str = "the built-in ops; record, attach and --op FILE.py:CLASS do without";

/// The checks of leave to watch processes.
pub(super) fn access(system: &System, access: &Access) -> Vec<Check> {
    vec![
        check("kernel", or_unknown(system.kernel.clone())),
        check("container", system.container),
        paranoid(system),
        seccomp(system, access),
        check("capabilities", capabilities(system)),
        ptrace_scope(system),
        counters(system, access),
        pmu(access),
        sampling(system, access),
        kernel_frames(system, access),
        rings(system, access),
        sample_rate(system),
        memory(system, access),
    ]
}

fn check(name: &'static str, found: impl Into<String>) -> Check {
    Check::ok(Group::Access, name, found)
}

fn or_unknown<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| value.to_string())
}

fn has(system: &System, capability: &str) -> bool {
    let held = system.capabilities.unwrap_or(0);
    CAPABILITIES
        .iter()
        .any(|(name, bit)| *name == capability && held & 1 << bit != 0)
}

fn may_watch_kernel(system: &System) -> bool {
    has(system, "CAP_PERFMON") || has(system, "CAP_SYS_ADMIN")
}

fn capabilities(system: &System) -> String {
    let held: Vec<&str> = CAPABILITIES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| has(system, name))
        .collect();
    match held.is_empty() {
        true => "none, and none is needed".to_owned(),
        false => held.join(", "),
    }
}

fn paranoid(system: &System) -> Check {
    let check = check("perf_event_paranoid", or_unknown(system.paranoid));
    match system.paranoid {
        None => check.limited(
            "perf events, if the kernel has none",
            "use a kernel with CONFIG_PERF_EVENTS, and mount /proc",
        ),
        Some(..=1) => check,
        Some(_) if may_watch_kernel(system) => check,
        Some(2) => check.limited("kernel frames, --off-cpu, context-switches", KERNEL_MEND),
        Some(_) => check.limited(
            "samples and counters of ordinary users, on the kernels of some distributions",
            "sudo sysctl kernel.perf_event_paranoid=2",
        ),
    }
}

fn seccomp(system: &System, access: &Access) -> Check {
    let check = check(
        "seccomp",
        match system.seccomp {
            Some(0) => "no filter",
            Some(FILTER) => "a filter",
            Some(_) => "strict",
            None => "unknown",
        },
    );
    let refusals = [
        ("perf_event_open", access.sampling.as_ref().err()),
        ("process_vm_readv", access.memory.as_ref().err()),
    ];
    let denied: Vec<&str> = refusals
        .iter()
        .filter(|(_, refusal)| refusal.is_some_and(|refusal| by_filter(system, refusal)))
        .map(|(call, _)| *call)
        .collect();
    match denied.is_empty() {
        true => check,
        false => check.limited(format!("it denies {}", denied.join(", ")), FILTER_MEND),
    }
}

/// Filters answer EPERM or ENOSYS; the kernel itself refuses perf events with EACCES.
fn by_filter(system: &System, refusal: &Refusal) -> bool {
    system.seccomp == Some(FILTER) && matches!(refusal.errno, Some(libc::EPERM | libc::ENOSYS))
}

fn ptrace_scope(system: &System) -> Check {
    let check = check(
        "ptrace scope",
        match system.ptrace_scope {
            None => "no yama".to_owned(),
            Some(scope) => scope.to_string(),
        },
    );
    match system.ptrace_scope {
        Some(3) => check.limited(
            "Python stacks",
            "take kernel.yama.ptrace_scope=3 out of /etc/sysctl.d and reboot",
        ),
        Some(2) if !has(system, "CAP_SYS_PTRACE") => {
            check.limited("Python stacks", "sudo sysctl kernel.yama.ptrace_scope=1")
        }
        Some(1) if !has(system, "CAP_SYS_PTRACE") => check.limited(
            "Python stacks of processes that raptors-prof did not start (attach)",
            "sudo sysctl kernel.yama.ptrace_scope=0",
        ),
        _ => check,
    }
}

fn counters(system: &System, access: &Access) -> Check {
    let with = |status| {
        let events = access
            .counters
            .iter()
            .filter(move |fact| fact.status == status);
        events.map(|fact| fact.event).collect::<Vec<_>>()
    };
    let (open, denied) = (with(Status::Counted), with(Status::Denied));
    let names = match open.len() {
        0 => String::new(),
        count if count == access.counters.len() => String::new(),
        _ => format!(": {}", open.join(", ")),
    };
    let found = format!(
        "{} of {} open on {}{names}",
        open.len(),
        access.counters.len(),
        access.on
    );
    let check = check("counters", found).needed();
    match (open.is_empty(), denied.is_empty()) {
        (true, false) => check.missing("every count but getrusage's", denied_mend(system, access)),
        (_, false) => check.limited(denied.join(", "), KERNEL_MEND),
        (_, true) => check,
    }
}

/// What to do where `perf_event_open` is denied altogether.
fn denied_mend(system: &System, access: &Access) -> String {
    let Err(refusal) = &access.sampling else {
        return KERNEL_MEND.to_owned();
    };
    if by_filter(system, refusal) {
        return FILTER_MEND.to_owned();
    }
    match (system.paranoid, refusal.errno) {
        (Some(3..), Some(libc::EACCES | libc::EPERM)) => {
            "sudo sysctl kernel.perf_event_paranoid=2".to_owned()
        }
        (_, Some(errno)) => events::mend(&std::io::Error::from_raw_os_error(errno)).to_owned(),
        (_, None) => refusal.message.clone(),
    }
}

/// Cycles are what every core PMU counts.
fn pmu(access: &Access) -> Check {
    let cycles = access.counters.iter().find(|fact| fact.event == "cycles");
    let opened = access
        .counters
        .iter()
        .any(|fact| fact.status == Status::Counted);
    match cycles.map(|fact| fact.status) {
        Some(Status::Counted | Status::Multiplexed) => check("PMU", "counts cycles"),
        Some(Status::Unsupported) if opened => check("PMU", "none").missing(
            "cycles, instructions, cache misses and branches; cpu-clock is sampled instead",
            "run on the machine itself, or give the virtual machine a PMU (KVM: -cpu host,pmu=on)",
        ),
        _ => check("PMU", "unknown").limited(
            "cycles, instructions, cache misses and branches",
            "mend the row counters first",
        ),
    }
}

fn sampling(system: &System, access: &Access) -> Check {
    match &access.sampling {
        Ok(sampling) => check("sampling", format!("{} on {}", sampling.event, access.on)),
        Err(refusal) => check("sampling", refusal.message.clone())
            .missing("flame graphs", sampling_mend(system, access, refusal)),
    }
    .needed()
}

fn sampling_mend(system: &System, access: &Access, refusal: &Refusal) -> String {
    match refusal.errno {
        Some(libc::EACCES | libc::ENOSYS | libc::EPERM)
            if access
                .counters
                .iter()
                .all(|fact| fact.status != Status::Counted) =>
        {
            denied_mend(system, access)
        }
        Some(libc::EPERM | libc::ENOMEM) => {
            "sudo sysctl kernel.perf_event_mlock_kb=8196, or ulimit -l 65536".to_owned()
        }
        _ => denied_mend(system, access),
    }
}

fn kernel_frames(system: &System, access: &Access) -> Check {
    let name = "kernel frames";
    match (&access.sampling, system.kernel_symbols) {
        (Ok(Sampling { kernel: true, .. }), true) => check(name, "sampled, with names"),
        (Ok(Sampling { kernel: true, .. }), false) => {
            check(name, "sampled, without names").limited(
                "which function of the kernel takes the time",
                "sudo sysctl kernel.kptr_restrict=0 kernel.perf_event_paranoid=1; in a container: --cap-add SYSLOG",
            )
        }
        (Ok(_), _) => check(name, "not sampled").limited(
            "what the kernel does for the op, such as page faults, and --off-cpu",
            KERNEL_MEND,
        ),
        (Err(_), _) => check(name, "not sampled")
            .limited("what the kernel does for the op", "mend the row sampling first"),
    }
}

fn rings(system: &System, access: &Access) -> Check {
    let limits = format!(
        "perf_event_mlock_kb {}, memlock {}",
        or_unknown(system.mlock_kb),
        system.memlock.map_or_else(
            || "unlimited".to_owned(),
            |bytes| format!("{} KiB", bytes >> 10)
        ),
    );
    let name = "ring buffers";
    match &access.sampling {
        Ok(sampling) => {
            let found = format!("{} KiB a CPU ({limits})", sampling.ring_bytes >> 10);
            match sampling.patience_s < LATE_S {
                true => check(name, found).limited(
                    "samples, while the machine is busy",
                    "sudo sysctl kernel.perf_event_mlock_kb=8196, or ulimit -l 65536",
                ),
                false => check(name, found),
            }
        }
        Err(_) => check(name, format!("not granted ({limits})"))
            .limited("samples", "mend the row sampling first"),
    }
}

fn sample_rate(system: &System) -> Check {
    let check = check(
        "sample rate",
        system
            .max_sample_rate
            .map_or_else(|| "unknown".to_owned(), |rate| format!("up to {rate} Hz")),
    );
    match system.max_sample_rate {
        Some(rate) if rate < RATE_HZ => check.missing(
            format!("the {RATE_HZ} Hz of the main job; --rate {rate} works"),
            "sudo sysctl kernel.perf_event_max_sample_rate=100000",
        ),
        _ => check,
    }
    .needed()
}

/// Without it, py-spy reads `/proc/PID/mem`, and the main job runs: the row of the stacks says whether that worked.
fn memory(system: &System, access: &Access) -> Check {
    let name = "process_vm_readv";
    match &access.memory {
        Ok(()) => check(name, format!("reads {}", access.on)),
        Err(refusal) => check(name, refusal.message.clone()).missing(
            "the quick way to read Python stacks",
            match by_filter(system, refusal) {
                true => FILTER_MEND,
                false => {
                    "mend the row ptrace scope, or run as the user whom the process belongs to; in a container: --cap-add SYS_PTRACE"
                }
            },
        ),
    }
}

/// The checks of the interpreter and its modules.
pub(super) fn python(interpreter: &Result<Interpreter, String>, access: &Access) -> Vec<Check> {
    let check = |name, found: String| Check::ok(Group::Python, name, found);
    let interpreter = match interpreter {
        Ok(interpreter) => interpreter,
        Err(reason) => {
            return vec![check("Python", reason.clone()).needed().missing(
                "everything but record and attach",
                "name one with --python PATH; apt-get install python3",
            )];
        }
    };
    let mut checks = vec![
        check(
            "Python",
            format!("{}, {}", interpreter.version, interpreter.path),
        )
        .needed(),
        stacks(&interpreter.stacks, access),
        module("numpy", &interpreter.numpy),
        module("raptors", &interpreter.raptors),
    ];
    checks.extend(interpreter.files.iter().map(code));
    checks
}

fn stacks(stacks: &Result<bool, String>, access: &Access) -> Check {
    let check = |found: String| Check::ok(Group::Python, "Python stacks", found).needed();
    let mend = match access.memory {
        Ok(()) => "use CPython 3.8 to 3.13",
        Err(_) => "mend the row process_vm_readv",
    };
    match stacks {
        Ok(true) => check("read at each sample".to_owned()),
        Ok(false) => check("read by py-spy".to_owned()).limited(
            "functions that last less than some milliseconds: all threads are read at once, and less often",
            mend,
        ),
        Err(reason) => check(reason.clone()).missing("Python frames", mend),
    }
}

fn module(name: &'static str, version: &Result<String, Problem>) -> Check {
    match version {
        Ok(version) => Check::ok(Group::Python, name, version.clone()),
        Err(problem) => Check::ok(Group::Python, name, problem.what.clone())
            .missing(OWN_OPS, problem.mend.clone()),
    }
    .needed()
}

fn code(file: &CodeFile) -> Check {
    let known = [
        ("symbols", file.symbols),
        ("unwind tables", file.unwind),
        ("lines", file.lines),
    ];
    let words: Vec<String> = known
        .iter()
        .map(|(what, there)| format!("{}{what}", if *there { "" } else { "no " }))
        .collect();
    let found = format!("{}: {}", words.join(", "), file.path.display());
    let check = Check::ok(Group::Python, file.owner, found);
    match (file.unwind, file.symbols) {
        (false, _) => check.limited(
            "the callers of its functions, where it keeps no frame pointer either",
            "build it without -fno-asynchronous-unwind-tables",
        ),
        (true, false) => check.limited(
            "names of functions that it does not export",
            "install its debug symbols (Debian, Ubuntu: the -dbg or -dbgsym package), or a build that is not stripped",
        ),
        _ => check,
    }
}

#[cfg(test)]
mod tests;
