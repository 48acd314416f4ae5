//! What is left of a run when the kernel refuses perf events: denied for real, by a seccomp filter.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::{assert_fails, assert_valid, fake_numpy, stderr, stdout, summary, temporary};

/// Makes `command` and what it starts run without a system call: the kernel answers `EPERM`.
fn without_system_call(command: &mut Command, number: libc::c_long) {
    let load_number = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let jump_if_equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut program = [
        step(load_number, 0, 0, 0),
        step(jump_if_equal, 0, 1, number as u32),
        step(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let filter = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: plain system calls on a filter that lives until they return.
        let refused = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const filter,
                ) != 0
        };
        if refused {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(install) };
}

/// What the worker knows of itself.
const BY_GETRUSAGE: [&str; 6] = [
    "page-faults",
    "minor-faults",
    "major-faults",
    "context-switches",
    "user-time",
    "kernel-time",
];

#[test]
fn without_perf_events_the_timings_are_still_there() {
    let directory = temporary();
    let mut command = fake_numpy(directory.path(), "never", "");
    without_system_call(&mut command, libc::SYS_perf_event_open);
    let output = command.output().unwrap();
    assert_fails(&output, 3, "perf_event_paranoid");
    let told = stderr(&output) + &stdout(&output);
    assert_eq!(told.matches("perf_event_paranoid").count(), 1, "{told}");
    assert!(stdout(&output).contains("time/call"), "{}", stdout(&output));
    let summary = summary(&directory.path().join("run"));
    assert_valid(&summary);
    let numpy = &summary["backends"]["numpy"];
    assert!(numpy["timing"]["median_ns"].as_f64().unwrap() > 0.0);
    assert_eq!(numpy["sampling"]["status"], "denied");
    assert!(
        numpy["sampling"]["reason"]
            .as_str()
            .unwrap()
            .contains("CAP_PERFMON")
    );
    for counter in numpy["counters"].as_array().unwrap() {
        if BY_GETRUSAGE.contains(&counter["event"].as_str().unwrap()) {
            assert_eq!(counter["status"], "counted");
        } else {
            assert_eq!(counter["status"], "denied");
            assert_eq!(counter["value"], serde_json::Value::Null);
        }
    }
    assert!(!directory.path().join("run/numpy.svg").exists());
}
