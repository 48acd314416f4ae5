//! A run that succeeds: what it leaves, prints and says of itself.

mod common;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use common::{
    FAKE_CELL, assert_done, assert_valid, fake_numpy, python, raptors_prof, stderr, stdout,
    summary, temporary, validate, with_fake_numpy,
};
use serde_json::Value;

/// A small cell that is soon done.
fn cell(home: &Path, python: &Path, op: &str) -> Command {
    let mut command = raptors_prof(home);
    command.args([
        "--op",
        op,
        "--shape",
        "64x48",
        "--dtype",
        "float32",
        "--out",
        "run",
        "--max-time",
        "4",
    ]);
    command
        .args(["--min-samples", "20", "--python"])
        .arg(python);
    command
}

#[test]
fn a_run_leaves_a_summary_that_its_schema_knows() {
    let Some(python) = python() else { return };
    let home = temporary();
    let output = cell(home.path(), &python, "broadcast_add")
        .args(["--threads", "1"])
        .output()
        .unwrap();
    assert_done(&output);
    let summary = summary(&home.path().join("run"));
    assert_valid(&summary);
    assert_eq!(summary["interrupted"], false);
    assert_eq!(summary["cell"]["shape"], serde_json::json!([64, 48]));
    assert_eq!(
        summary["environment"]["threads"],
        serde_json::json!({"requested": "1", "used": 1})
    );
    assert_eq!(summary["environment"]["simd"]["requested"], Value::Null);
    let medians = ["numpy", "raptors"].map(|backend| {
        let timing = &summary["backends"][backend]["timing"];
        let samples = timing["samples_ns"].as_array().unwrap();
        assert!(timing["calls"].as_u64().unwrap() >= samples.len() as u64);
        timing["median_ns"].as_f64().unwrap()
    });
    let blocked = summary["comparison"]["blocked_ratio"].as_f64().unwrap();
    assert!((medians[0] / medians[1] / blocked - 1.0).abs() < 1e-9);
    for backend in ["numpy", "raptors"] {
        for (_, file) in summary["backends"][backend]["outputs"].as_object().unwrap() {
            assert!(
                home.path()
                    .join("run")
                    .join(file.as_str().unwrap())
                    .metadata()
                    .unwrap()
                    .len()
                    > 0
            );
        }
    }
    let sampled = |backend: &str| &summary["backends"][backend]["outputs"]["folded"];
    if sampled("numpy").is_string() && sampled("raptors").is_string() {
        assert_eq!(summary["outputs"]["diff"], "diff.svg");
        let diff = std::fs::read_to_string(home.path().join("run/diff.svg")).unwrap();
        for drawn in ["_multiarray_umath", "raptors_kernels"] {
            assert!(diff.contains(drawn), "{drawn} is not in diff.svg");
        }
    }
    let table = stdout(&output);
    for text in [
        "broadcast_add 64x48 float32",
        "ratio ",
        "threads up to 1 (requested: 1)",
        "result: ",
    ] {
        assert!(table.contains(text), "{text:?} is not in: {table}");
    }
}

#[test]
fn the_schema_refuses_what_was_not_measured() {
    let Some(python) = python() else { return };
    let home = temporary();
    assert_done(&cell(home.path(), &python, "sum").output().unwrap());
    let spoil = |pointer: &str, value: Value| {
        let mut summary = summary(&home.path().join("run"));
        *summary.pointer_mut(pointer).unwrap() = value;
        validate(&summary).is_err()
    };
    assert!(spoil("/schema", "raptors-prof/summary/2".into()));
    assert!(spoil("/backends/numpy/timing", Value::Null));
    assert!(spoil("/comparison/verdict", "better".into()));
    assert!(spoil("/backends/numpy/sampling/status", "imagined".into()));
    assert!(!spoil("/interrupted", true.into()));
}

#[test]
fn json_is_all_that_is_on_stdout() {
    let Some(python) = python() else { return };
    let home = temporary();
    let output = cell(home.path(), &python, "mean")
        .arg("--json")
        .output()
        .unwrap();
    assert_done(&output);
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, summary(&home.path().join("run")));
}

#[test]
fn quiet_prints_nothing() {
    let home = temporary();
    let mut command = fake_numpy(home.path(), "", "");
    let output = command
        .args(["--max-time", "1", "--min-samples", "1", "--quiet"])
        .output()
        .unwrap();
    assert_done(&output);
    assert_eq!(stdout(&output), "");
}

#[test]
fn one_backend_has_no_comparison() {
    let home = temporary();
    let mut command = fake_numpy(home.path(), "", "");
    let output = command
        .args(["--max-time", "1", "--min-samples", "1"])
        .output()
        .unwrap();
    assert_done(&output);
    let summary = summary(&home.path().join("run"));
    assert_valid(&summary);
    assert_eq!(summary["comparison"], Value::Null);
    assert_eq!(summary["environment"]["raptors"], Value::Null);
    assert!(
        summary["backends"]["numpy"]["timing"]["median_ns"]
            .as_f64()
            .unwrap()
            >= 1e6,
        "a call burns a millisecond"
    );
}

#[test]
fn a_profile_that_is_cut_short_says_what_gives_more() {
    let home = temporary();
    let mut command = fake_numpy(home.path(), "", "");
    let output = command
        .args(["--max-time", "0.5", "--min-samples", "1000000"])
        .output()
        .unwrap();
    assert_done(&output);
    let sampling = &summary(&home.path().join("run"))["backends"]["numpy"]["sampling"];
    if sampling["status"] == "recorded" {
        let text = "samples inside the op instead of 1000000: a longer --max-time";
        assert!(stderr(&output).contains(text), "{}", stderr(&output));
    }
}

#[test]
fn runs_without_a_name_get_one_each() {
    let home = temporary();
    for runs in 1..=2 {
        let mut command = with_fake_numpy(home.path());
        command.args(FAKE_CELL).args(["--backend", "numpy"]);
        assert_done(
            &command
                .args(["--max-time", "0.5", "--min-samples", "1"])
                .output()
                .unwrap(),
        );
        let names: Vec<String> = std::fs::read_dir(home.path().join("results/runs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), runs);
        assert!(
            names.iter().all(|name| name.contains("Z-sum-8-float64")),
            "{names:?}"
        );
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let home = temporary();
    let disk = home.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4k", "tmpfs"])
        .arg(&disk)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: only root may mount a small disk");
        return;
    }
    let mut command = with_fake_numpy(home.path());
    command
        .args(FAKE_CELL)
        .args(["--backend", "numpy", "--out", "disk/run"]);
    let output = command
        .args(["--max-time", "1", "--min-samples", "1"])
        .output()
        .unwrap();
    let left = std::fs::read_dir(&disk).unwrap().count();
    assert!(
        Command::new("umount")
            .arg(&disk)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("No space left on device"),
        "{}",
        stderr(&output)
    );
    assert_eq!(left, 0);
}

/// Faults per call as the process itself sees them in /proc/self/stat: an output that is too large for malloc to keep.
const FAULTS_BY_PROC: &str = r#"
import numpy, raptors, sys

def minor_faults():
    return int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[7])

a = numpy.random.default_rng(1).random((3000, 3000))
row = a[0].copy()
for op in (lambda: a + row, lambda: raptors.broadcast_add(a, row)):
    op(), op()
    before = minor_faults()
    for _ in range(10):
        op()
    print((minor_faults() - before) / 10)
"#;

/// Makes `command` use small pages only: how many huge ones fit depends on where the output happens to lie.
fn with_small_pages(command: &mut Command) -> &mut Command {
    // SAFETY: a plain system call.
    let disable = || match unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(disable) }
}

#[test]
fn page_faults_agree_with_proc_stat() {
    let Some(python) = python() else { return };
    let home = temporary();
    let mut command = raptors_prof(home.path());
    command.args([
        "--op",
        "broadcast_add",
        "--shape",
        "3000x3000",
        "--dtype",
        "float64",
        "--out",
        "run",
    ]);
    command
        .args(["--max-time", "4", "--min-samples", "20", "--python"])
        .arg(&python);
    // Else raptors has no page faults to count: it uses the memory of large results again.
    command.env("RAPTORS_POOL_BYTES", "0");
    assert_done(&with_small_pages(&mut command).output().unwrap());
    let mut by_proc = Command::new(&python);
    by_proc
        .args(["-c", FAULTS_BY_PROC])
        .env("RAPTORS_POOL_BYTES", "0");
    let by_proc = with_small_pages(&mut by_proc).output().unwrap();
    let by_proc: Vec<f64> = stdout(&by_proc)
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(by_proc.len(), 2);
    let summary = summary(&home.path().join("run"));
    for (backend, expected) in ["numpy", "raptors"].into_iter().zip(by_proc) {
        let counters = summary["backends"][backend]["counters"].as_array().unwrap();
        let faults = counters
            .iter()
            .find(|counter| counter["event"] == "minor-faults")
            .unwrap();
        assert_eq!(faults["status"], "counted", "{faults}");
        let counted = faults["per_call"].as_f64().unwrap();
        assert!(
            (counted / expected - 1.0).abs() < 0.05,
            "{backend}: {counted} against {expected}"
        );
    }
}

#[test]
fn a_result_that_can_not_be_printed_is_no_success() {
    let home = temporary();
    let full = std::fs::File::create("/dev/full").unwrap();
    let output = fake_numpy(home.path(), "never", "")
        .arg("--json")
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("can't write to stdout"),
        "{}",
        stderr(&output)
    );
    assert_valid(&summary(&home.path().join("run")));
}
