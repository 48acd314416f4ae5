//! What is left of a run when the kernel refuses perf events or hides itself: denied for real, by a seccomp filter and by taking
//! capabilities away.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::seccomp::without_system_call;
use common::{
    assert_fails, assert_valid, assert_valid_recording, fake_numpy, raptors_prof, stderr, stdout,
    summary, temporary,
};

/// What the worker knows of itself.
const BY_GETRUSAGE: [&str; 6] = [
    "page-faults",
    "minor-faults",
    "major-faults",
    "context-switches",
    "user-time",
    "kernel-time",
];

/// Makes `command` and what it starts run without capabilities that root has.
fn without_capabilities(command: &mut Command, capabilities: &'static [libc::c_ulong]) {
    // SAFETY: plain system calls.
    let drop = |capability: libc::c_ulong| unsafe {
        libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0)
    };
    let drop_all = move || match capabilities.iter().all(|&capability| drop(capability) == 0) {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    };
    // SAFETY: between fork and exec the closure makes system calls and allocates nothing.
    unsafe { command.pre_exec(drop_all) };
}

const CAP_SYS_ADMIN: libc::c_ulong = 21;
const CAP_SYSLOG: libc::c_ulong = 34;
const CAP_PERFMON: libc::c_ulong = 38;

/// Whether this process has capabilities that could be taken away.
fn has_capabilities(capabilities: &[libc::c_ulong]) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = u64::from_str_radix(effective.unwrap().trim(), 16).unwrap();
    capabilities
        .iter()
        .all(|capability| effective & 1 << capability != 0)
}

#[test]
fn what_of_the_kernel_is_hidden_is_told_with_its_mend() {
    let setting = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap();
        text.trim().parse::<i32>().unwrap()
    };
    let all = [CAP_SYSLOG, CAP_SYS_ADMIN, CAP_PERFMON];
    if !has_capabilities(&all) || setting("perf_event_paranoid") < 2 {
        eprintln!(
            "skipped: needs root, so that there is what to take away, and perf_event_paranoid 2"
        );
        return;
    }
    let cases: [(&[libc::c_ulong], bool, &str); 2] = [
        (&[CAP_SYSLOG], true, "kernel frames have no names"),
        (
            &[CAP_SYSLOG, CAP_SYS_ADMIN, CAP_PERFMON],
            false,
            "kernel frames are missing",
        ),
    ];
    for (taken, kernel_frames, text) in cases {
        let home = temporary();
        let mut command = raptors_prof(home.path());
        let program =
            "import time\nwhile time.process_time() < 0.3: open('/dev/zero', 'rb').read(1 << 20)";
        command.args(["record", "-o", "run", "--", "python3", "-c", program]);
        without_capabilities(&mut command, taken);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(
            stderr(&output).matches(text).count(),
            1,
            "{}",
            stderr(&output)
        );
        let summary = summary(&home.path().join("run"));
        assert_valid_recording(&summary);
        let sampling = &summary["sampling"];
        assert_eq!(sampling["kernel_frames"], kernel_frames);
        assert!(sampling["kernel_reason"].as_str().unwrap().contains(text));
        let folded = std::fs::read_to_string(home.path().join("run/profile.folded")).unwrap();
        assert_eq!(folded.contains("[unknown] [kernel]"), kernel_frames);
    }
}

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
