//! `record` and `attach` on real programs.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{
    assert_fails, assert_valid_recording, raptors_prof, samples, skip_denied, stderr, stdout,
    summary, temporary, wait_for,
};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

/// Work that shows on the stack as `work` in libz, for as much CPU time as samples are wanted of.
const WORK: &str = "
import os, sys, time, zlib
data = bytes(1 << 20)
def work(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        zlib.crc32(data)
";

fn record(home: &Path, program: &str) -> Command {
    let mut command = raptors_prof(home);
    command
        .args(["record", "-o", "run", "--", "python3", "-c"])
        .arg(format!("{WORK}\n{program}"));
    command
}

/// Works in two threads, which are there before anybody attaches.
const THREADS: &str = "
import threading
def other():
    work(3)
thread = threading.Thread(target=other)
thread.start()
print('ready', flush=True)
work(3)
thread.join()
print('unharmed')
";

/// The summary and the folded stacks; `None` where sampling is denied here.
fn result(home: &Path, output: &Output) -> Option<(Value, String)> {
    if output.status.code() == Some(3) {
        skip_denied(&stderr(output));
        return None;
    }
    let summary = summary(&home.join("run"));
    assert_valid_recording(&summary);
    let folded = std::fs::read_to_string(home.join("run/profile.folded")).unwrap();
    Some((summary, folded))
}

#[test]
fn a_program_keeps_its_output_and_exit_code() {
    let home = temporary();
    let output = record(home.path(), "work(0.5); print('done'); sys.exit(7)")
        .output()
        .unwrap();
    let Some((summary, folded)) = result(home.path(), &output) else {
        return;
    };
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(stdout(&output), "done\n");
    assert_eq!(summary["exit_code"], 7);
    assert!(
        samples(&folded, &["<module> (", ";work (", "crc32"]) > 100,
        "{folded}"
    );
}

#[test]
fn a_signal_that_ends_the_program_is_passed_on() {
    let home = temporary();
    let output = record(home.path(), "work(0.1); os.kill(os.getpid(), 15)")
        .output()
        .unwrap();
    let Some((summary, _)) = result(home.path(), &output) else {
        return;
    };
    assert_eq!(output.status.code(), Some(128 + 15), "{}", stderr(&output));
    assert_eq!(
        (&summary["exit_code"], &summary["signal"]),
        (&Value::Null, &15.into())
    );
}

#[test]
fn processes_that_it_starts_are_recorded_apart() {
    let program = "
def child():
    work(0.4)
def parent():
    work(0.4)
if os.fork() == 0:
    child()
    os._exit(0)
parent()
os.wait()
";
    let home = temporary();
    let output = record(home.path(), program).output().unwrap();
    let Some((summary, folded)) = result(home.path(), &output) else {
        return;
    };
    for function in [";child (", ";parent ("] {
        assert!(
            samples(&folded, &["[process ", function, ";work ("]) > 50,
            "{folded}"
        );
    }
    let graphs = summary["processes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|process| process["outputs"]["flamegraph"].as_str());
    assert!(
        graphs
            .map(|svg| home.path().join("run").join(svg))
            .filter(|svg| svg.is_file())
            .count()
            >= 2,
        "{summary:#}"
    );
}

#[test]
fn without_subprocesses_the_program_is_alone() {
    let home = temporary();
    let mut command = raptors_prof(home.path());
    let script =
        "python3 -c 'sum(range(10000000))'; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    command.args([
        "record",
        "-o",
        "run",
        "--subprocesses",
        "false",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let output = command.output().unwrap();
    let Some((summary, _)) = result(home.path(), &output) else {
        return;
    };
    for process in summary["processes"].as_array().unwrap() {
        assert_eq!(process["name"], "sh", "{summary:#}");
    }
}

#[test]
fn attach_leaves_the_process_as_it_was() {
    let home = temporary();
    let program = format!("{WORK}{THREADS}");
    let mut target = Command::new("python3")
        .args(["-c", &program])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(target.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let mut command = raptors_prof(home.path());
    // A shim of a version manager replaces itself: the process id stays.
    command
        .args(["attach", "-o", "run", "--duration", "2", "--pid"])
        .arg(target.id().to_string());
    let output = command.output().unwrap();
    let result = result(home.path(), &output);
    assert_eq!(lines.next().unwrap().unwrap(), "unharmed");
    assert!(target.wait().unwrap().success());
    let Some((_, folded)) = result else { return };
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for thread in ["<module> (", ";other ("] {
        assert!(samples(&folded, &[thread, ";work ("]) > 50, "{folded}");
    }
}

#[test]
fn what_a_process_that_was_attached_to_ended_with_is_not_known() {
    let home = temporary();
    let program = format!("{WORK}\nsys.stdin.read(); work(0.2); sys.exit(7)");
    let mut target = Command::new("python3")
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut attach = raptors_prof(home.path())
        .args(["attach", "--until-told", "-o", "run", "--pid"])
        .arg(target.id().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _told_by_nobody = attach.stdin.take();
    // "sampling", or the end where that is denied.
    BufReader::new(attach.stdout.as_mut().unwrap())
        .read_line(&mut String::new())
        .unwrap();
    drop(target.stdin.take());
    assert_eq!(target.wait().unwrap().code(), Some(7));
    let output = attach.wait_with_output().unwrap();
    let Some((summary, _)) = result(home.path(), &output) else {
        return;
    };
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let end = (
        &summary["exit_code"],
        &summary["signal"],
        &summary["interrupted"],
    );
    assert_eq!(end, (&Value::Null, &Value::Null, &Value::Bool(false)));
}

#[test]
fn ctrl_c_reaches_the_program_and_keeps_what_was_gathered() {
    let home = temporary();
    let mut command = record(
        home.path(),
        "work(1); open('started', 'w').close(); work(60)",
    );
    let child = command
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the program to start", || {
        home.path().join("started").exists()
    });
    killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    let Some((summary, folded)) = result(home.path(), &output) else {
        return;
    };
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(summary["interrupted"], true);
    assert!(samples(&folded, &[";work ("]) > 50, "{folded}");
}

#[test]
fn a_killed_profiler_leaves_the_program_alone_and_nothing_behind() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/kill_profiler.py");
    let output = Command::new("python3")
        .args([script, "--kills", "5", "--profiler"])
        .arg(env!("CARGO_BIN_EXE_raptors-prof"))
        .output()
        .unwrap();
    match output.status.code() {
        Some(3) => skip_denied(&stdout(&output)),
        _ => assert!(
            output.status.success(),
            "{}{}",
            stdout(&output),
            stderr(&output)
        ),
    }
}

#[test]
fn bad_input_is_one_clear_line() {
    let home = temporary();
    let run = |arguments: &[&str]| raptors_prof(home.path()).args(arguments).output().unwrap();
    let missing = run(&["record", "-o", "run", "--", "no-such-program"]);
    match missing.status.code() {
        Some(3) => skip_denied(&stderr(&missing)),
        _ => assert_fails(
            &missing,
            2,
            "can't run no-such-program: No such file or directory",
        ),
    }
    assert_fails(
        &run(&["attach", "--pid", "2147483647", "-o", "run"]),
        2,
        "--pid 2147483647",
    );
    assert_fails(&run(&["attach", "--pid", "0", "-o", "run"]), 2, "--pid");
    assert_fails(&run(&["record", "-o", "run"]), 2, "<CMD>");
    assert_fails(&run(&["record", "--rate", "0", "--", "true"]), 2, "--rate");
    for too_fast in [
        &["record", "--rate", "4000000000", "--", "true"][..],
        &["attach", "--rate", "4000000000", "--pid", "1"],
    ] {
        assert_fails(&run(too_fast), 2, "kernel.perf_event_max_sample_rate");
    }
    assert_fails(
        &run(&["attach", "--pid", "1", "--duration", "-1"]),
        2,
        "--duration",
    );
    assert_eq!(
        std::fs::read_dir(home.path()).unwrap().count(),
        0,
        "nothing is left"
    );
}
