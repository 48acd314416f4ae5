//! `--event` and `--off-cpu` against programs that know what they did.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{
    assert_fails, assert_valid_recording, raptors_prof, samples, stderr, stdout, summary, temporary,
};
use serde_json::Value;

const PAGES: f64 = 40_000.0;

/// Spins until the interpreter must have been found, on however busy a machine.
const START: &str = "
import time
while time.process_time() < 0.7:
    pass
";

/// Touches fresh pages, one now and then, and tells how many faults the kernel counted for it.
const TOUCH: &str = "
import mmap, resource
def touch(pages):
    memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for start in range(0, len(memory), mmap.PAGESIZE): memory[start] = sum(range(300)) & 1
touch(40000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
";

/// Sleeps in f, waits for a lock in g and for a pipe in h, spins in between, and tells how long it was in each.
const WAIT: &str = "
import json, os, threading
spent = {}
def timed(function):
    start = time.monotonic()
    function()
    name = function.__name__
    spent[name] = spent.get(name, 0) + time.monotonic() - start
def f():
    time.sleep(0.1)
def g():
    lock.acquire()
def h():
    os.read(reader, 1)
def spin():
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        pass
def later(act):
    time.sleep(0.2)
    act()
def meanwhile(act, function):
    thread = threading.Thread(target=later, args=(act,))
    thread.start()
    timed(function)
    thread.join()
for _ in range(3):
    timed(f)
    timed(spin)
lock = threading.Lock()
lock.acquire()
meanwhile(lock.release, g)
reader, writer = os.pipe()
meanwhile(lambda: os.write(writer, b'x'), h)
print(json.dumps(spent))
";

fn record(home: &Path, options: &[&str], program: &str) -> Command {
    let mut command = raptors_prof(home);
    command.args(["record", "-o", "run"]).args(options);
    command.args(["--", "python3", "-c", &format!("{START}{program}")]);
    command
}

/// How the program was sampled, and the folded stacks; `None` where sampling is denied here.
fn result(home: &Path, output: &Output) -> Option<(Value, String)> {
    if output.status.code() == Some(3) {
        eprintln!("skipped: {}", stderr(output));
        return None;
    }
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    let summary = summary(&home.join("run"));
    assert_valid_recording(&summary);
    let folded = std::fs::read_to_string(home.join("run/profile.folded")).unwrap();
    Some((summary["sampling"].clone(), folded))
}

#[track_caller]
fn assert_near(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found / expected - 1.0).abs() <= tolerance,
        "{what}: {found} instead of {expected}"
    );
}

#[test]
fn page_faults_are_counted_where_they_happen() {
    let home = temporary();
    let output = record(home.path(), &["--event", "page-faults"], TOUCH)
        .output()
        .unwrap();
    let Some((sampling, folded)) = result(home.path(), &output) else {
        return;
    };
    assert_eq!(
        (&sampling["event"], &sampling["unit"], &sampling["rate_hz"]),
        (&"page-faults".into(), &"events".into(), &Value::Null)
    );
    let counted: f64 = stdout(&output).trim().parse().unwrap();
    // python3 may be a shim that starts other programs first.
    let own = match samples(&folded, &["[process "]) {
        0 => samples(&folded, &[""]),
        _ => samples(&folded, &["[process python"]) + samples(&folded, &["[lost samples]"]),
    };
    assert_near("all faults", own as f64, counted, 0.05);
    let touched = samples(&folded, &[";touch ("]) + samples(&folded, &["[lost samples]"]);
    assert_near("faults of touch", touched as f64, PAGES, 0.05);
    let all = samples(&folded, &[""]);
    assert_eq!(sampling["total"], all);
    let graph = std::fs::read_to_string(home.path().join("run/profile.svg")).unwrap();
    assert!(graph.contains(&format!(">{all} page-faults (")));
    assert!(stderr(&output).contains(&format!("{all} page-faults (")));
}

#[test]
fn clocks_count_time() {
    let program = "
print(time.process_time())
";
    let home = temporary();
    let output = record(home.path(), &["--event", "task-clock"], program)
        .output()
        .unwrap();
    let Some((sampling, folded)) = result(home.path(), &output) else {
        return;
    };
    assert_eq!(sampling["unit"], "microseconds");
    let used: f64 = stdout(&output).trim().parse().unwrap();
    let own = match samples(&folded, &["[process "]) {
        0 => samples(&folded, &[""]),
        _ => samples(&folded, &["[process python"]),
    };
    // What a virtual machine does not get of its host's time has no timer interrupts, but counts as used.
    assert_near("CPU time", own as f64, used * 1e6, 0.3);
}

#[test]
fn waits_are_as_long_as_the_program_says() {
    let home = temporary();
    let output = record(home.path(), &["--off-cpu"], WAIT).output().unwrap();
    let Some((sampling, folded)) = result(home.path(), &output) else {
        return;
    };
    assert_eq!(
        (&sampling["event"], &sampling["unit"]),
        (&"off-cpu".into(), &"microseconds".into())
    );
    let spent: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let spent = |function: &str| spent[function].as_f64().unwrap() * 1e6;
    let waited = |function: &str| samples(&folded, &[&format!(";{function} (")]) as f64;
    // The program's own times have in them how long it took to run on, which is long where others want the CPU too.
    for function in ["f", "g", "h"] {
        assert_near(function, waited(function), spent(function), 0.2);
        assert!(waited(function) < 1.02 * spent(function), "{function}");
    }
    let share = |of: &dyn Fn(&str) -> f64| of("f") / (of("f") + of("g") + of("h"));
    assert_near("share of f", share(&waited), share(&spent), 0.05);
    // Who is preempted does not wait. Short waits elsewhere may have got the stack that was read before them.
    assert!(waited("spin") < 0.25 * spent("spin"), "{folded}");
    // The scheduler, where every wait ends, tells nothing.
    assert_eq!(samples(&folded, &[";schedule [kernel] "]), 0, "{folded}");
    assert!(stderr(&output).contains(" ms off CPU ("));
}

#[test]
fn waits_of_a_process_that_runs_already_are_seen() {
    let program = "
import time
def nap():
    time.sleep(0.05)
print('ready', flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    nap()
";
    let home = temporary();
    let mut target = Command::new("python3")
        .args(["-c", program])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(target.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let output = raptors_prof(home.path())
        .args([
            "attach",
            "-o",
            "run",
            "--off-cpu",
            "--duration",
            "1",
            "--pid",
        ])
        .arg(target.id().to_string())
        .output()
        .unwrap();
    target.kill().unwrap();
    target.wait().unwrap();
    let Some((_, folded)) = result(home.path(), &output) else {
        return;
    };
    let napped = samples(&folded, &["nap ("]) as f64 / 1e6;
    let duration = summary(&home.path().join("run"))["duration_s"].as_f64();
    assert!(napped > 0.3 && napped < duration.unwrap(), "{folded}");
}

/// Makes `command` run without the capabilities that let it sample the kernel.
fn as_ordinary_user(command: &mut Command) {
    const CAP_SYS_ADMIN: libc::c_ulong = 21;
    const CAP_PERFMON: libc::c_ulong = 38;
    let drop = || {
        for capability in [CAP_SYS_ADMIN, CAP_PERFMON] {
            // SAFETY: a plain system call. Who may not drop a capability from the bounding set is no root.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(drop) };
}

#[test]
fn what_happens_in_the_kernel_needs_leave_to_look_there() {
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    if paranoid.trim().parse::<i32>().unwrap() <= 1 {
        eprintln!("skipped: kernel.perf_event_paranoid lets everybody sample the kernel");
        return;
    }
    let home = temporary();
    for options in [
        &["--off-cpu"][..],
        &["--event", "cs"],
        &["--event", "cpu-migrations"],
    ] {
        let mut command = record(home.path(), options, "open('ran', 'w')");
        as_ordinary_user(&mut command);
        let output = command.output().unwrap();
        assert_fails(&output, 3, "kernel.perf_event_paranoid to 1");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}

#[test]
fn events_that_are_not_there_are_told_apart() {
    let home = temporary();
    let run = |options: &[&str]| record(home.path(), options, "pass").output().unwrap();
    let unknown = run(&["--event", "page-fault"]);
    assert_fails(&unknown, 2, "there is no event of that name");
    assert_fails(&unknown, 2, "page-faults");
    assert_fails(
        &run(&["--event", "no_such_pmu/reads/"]),
        3,
        "no PMU no_such_pmu",
    );
    assert_fails(&run(&["--event", "faults", "--rate", "99"]), 2, "--rate");
    assert_fails(&run(&["--event", "faults", "--off-cpu"]), 2, "--off-cpu");
    assert_fails(&run(&["--off-cpu", "--rate", "99"]), 2, "--rate");
    assert!(!home.path().join("run").exists());
    if Path::new("/sys/bus/event_source/devices/cpu").exists() {
        eprintln!("skipped: hardware events on a machine without a PMU: this one has one");
        return;
    }
    let absent = run(&["--event", "cache-misses"]);
    assert_eq!(absent.status.code(), Some(3));
    let told = stderr(&absent);
    assert!(
        told.contains("no PMU") || told.contains("perf_event_paranoid"),
        "{told}"
    );
}
