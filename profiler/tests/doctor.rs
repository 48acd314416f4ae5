//! `raptors-prof doctor` on the machine as it is, under a real seccomp filter, and with what is no Python.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::process::{Command, Output};

use common::seccomp::without_system_call;
use common::{
    assert_valid_as, bare_python, python, raptors_prof, skip_denied, stderr, stdout, temporary,
    with_fake_numpy,
};
use serde_json::Value;

/// What `doctor --json` prints, which is nothing else, and its exit code.
fn examined(command: &mut Command) -> (Value, Option<i32>) {
    let output = command.args(["doctor", "--json"]).output().unwrap();
    let doctor: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_valid_as("doctor.schema.json", &doctor);
    assert_eq!(stderr(&output), "");
    (doctor, output.status.code())
}

fn check<'a>(doctor: &'a Value, name: &str) -> &'a Value {
    let checks = doctor["checks"].as_array().unwrap();
    let mut named = checks.iter().filter(|check| check["name"] == name);
    let check = named.next().unwrap_or_else(|| panic!("no row {name}"));
    assert!(named.next().is_none(), "two rows {name}");
    check
}

fn mend<'a>(doctor: &'a Value, name: &str) -> &'a str {
    check(doctor, name)["mend"].as_str().unwrap()
}

fn table(output: &Output) -> String {
    let text = stdout(output);
    assert!(!text.contains('\x1b'), "colours in a pipe: {text:?}");
    text
}

#[test]
fn with_numpy_and_raptors_the_main_job_can_run() {
    let Some(python) = python() else { return };
    let home = temporary();
    let (doctor, code) = examined(raptors_prof(home.path()).env("VIRTUAL_ENV", {
        python.parent().unwrap().parent().unwrap()
    }));
    for name in ["Python", "numpy", "raptors"] {
        assert_eq!(check(&doctor, name)["status"], "ok", "{name}");
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(check(&doctor, "kernel")["found"], release.trim());
    for name in ["Python's code", "numpy's code", "raptors' code"] {
        let found = check(&doctor, name)["found"].as_str().unwrap();
        assert!(found.contains(", unwind tables"), "{name}: {found}");
    }
    if code != Some(0) {
        assert_eq!(code, Some(3));
        return skip_denied(&doctor["checks"].to_string());
    }
    assert_eq!(doctor["main_job"], true);
    for name in ["sampling", "process_vm_readv", "Python stacks"] {
        assert_eq!(check(&doctor, name)["status"], "ok", "{name}");
    }
    let events = doctor["events"].as_array().unwrap();
    let clock = events.iter().find(|event| event["event"] == "task-clock");
    assert_eq!(clock.unwrap()["status"], "counted");
}

#[test]
fn without_perf_event_open_the_main_job_can_not_run_and_the_mend_is_told() {
    let home = temporary();
    let mut command = with_fake_numpy(home.path());
    without_system_call(&mut command, libc::SYS_perf_event_open);
    let (doctor, code) = examined(&mut command);
    assert_eq!((code, &doctor["main_job"]), (Some(3), &Value::Bool(false)));
    for name in ["sampling", "counters"] {
        assert_eq!(check(&doctor, name)["status"], "missing");
        assert!(mend(&doctor, name).contains("seccomp=container/seccomp.json"));
    }
    assert_eq!(check(&doctor, "seccomp")["status"], "limited");
    assert_eq!(
        check(&doctor, "seccomp")["lost"],
        "it denies perf_event_open"
    );
    for event in doctor["events"].as_array().unwrap() {
        assert_eq!(event["status"], "denied", "{event}");
    }
}

#[test]
fn without_process_vm_readv_py_spy_reads_the_stacks() {
    let home = temporary();
    let mut command = with_fake_numpy(home.path());
    without_system_call(&mut command, libc::SYS_process_vm_readv);
    let (doctor, _) = examined(&mut command);
    assert_eq!(check(&doctor, "process_vm_readv")["status"], "missing");
    assert!(mend(&doctor, "process_vm_readv").contains("seccomp=container/seccomp.json"));
    assert_eq!(check(&doctor, "Python stacks")["status"], "limited");
    assert_eq!(
        mend(&doctor, "Python stacks"),
        "mend the row process_vm_readv"
    );
}

#[test]
fn the_doctor_says_what_the_main_job_does() {
    let Some(python) = python() else { return };
    let home = temporary();
    let denied = [
        None,
        Some(libc::SYS_perf_event_open),
        Some(libc::SYS_process_vm_readv),
    ];
    for denied in denied {
        let run = |arguments: &[&str]| {
            let mut command = raptors_prof(home.path());
            command.args(arguments).arg("--python").arg(&python);
            if let Some(number) = denied {
                without_system_call(&mut command, number);
            }
            command.output().unwrap()
        };
        let job = run(&[
            "--op",
            "sum",
            "--shape",
            "64",
            "--dtype",
            "float64",
            "--max-time",
            "2",
            "--min-samples",
            "100",
            "--quiet",
        ]);
        let doctor = run(&["doctor"]);
        let told = (stderr(&job), stdout(&doctor));
        assert_eq!(job.status.code(), doctor.status.code(), "{told:?}");
    }
}

#[test]
fn what_is_no_python_and_what_lacks_modules_says_so() {
    let home = temporary();
    let mut command = raptors_prof(home.path());
    let output = command
        .args(["doctor", "--python", "/bin/true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let text = table(&output);
    assert!(
        text.contains("/bin/true isn't a Python interpreter"),
        "{text}"
    );
    assert!(text.contains("--python PATH"), "{text}");

    let bare = bare_python(home.path());
    let (doctor, code) = examined(raptors_prof(home.path()).env("PYTHONPATH", "").env(
        "VIRTUAL_ENV",
        {
            std::fs::create_dir_all(home.path().join("v/bin")).unwrap();
            std::os::unix::fs::symlink(bare, home.path().join("v/bin/python")).unwrap();
            home.path().join("v")
        },
    ));
    assert_eq!(code, Some(3));
    assert_eq!(check(&doctor, "Python")["status"], "ok");
    assert_eq!(check(&doctor, "numpy")["status"], "missing");
    assert!(mend(&doctor, "numpy").contains("-m pip install numpy"));
    let raptors = check(&doctor, "raptors");
    assert_eq!(raptors["found"], "needs numpy, which is not installed");
}

#[test]
fn a_variable_that_is_not_allowed_is_bad_input() {
    let home = temporary();
    let mut command = raptors_prof(home.path());
    let output = command
        .arg("doctor")
        .env("RAPTORS_THREADS", "many")
        .output()
        .unwrap();
    common::assert_fails(&output, 2, "RAPTORS_THREADS");
}
