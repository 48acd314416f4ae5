//! Ctrl-C, SIGTERM and the death of the profiler: nothing runs on, and what was gathered is written.

mod common;

use common::{
    assert_valid, fake_numpy, reported, runs, signal, spawn, stderr, summary, temporary, wait_for,
};

/// When the fake numpy hangs, and whether timing must be over by then.
const PHASES: [(&str, &str, bool); 4] = [
    // On import; at the first call, which checks the result; while warming up; and while profiling (see `MAX_TIME`).
    ("import", "0", false),
    ("call", "0", false),
    ("late", "0.05", false),
    ("late", "2", true),
];

/// Warm-up and counting take half a second, timing a tenth of this, profiling the rest.
const MAX_TIME: [&str; 4] = ["--max-time", "10", "--min-samples", "1000000"];

#[test]
fn an_interruption_in_any_phase_ends_everything_and_writes_what_there_is() {
    for (signal_name, (when, after, timed)) in ["INT", "TERM", "INT", "INT"].into_iter().zip(PHASES)
    {
        let home = temporary();
        let mut command = fake_numpy(home.path(), when, "hang()");
        let profiler = spawn(command.args(MAX_TIME).env("FAKE_AFTER", after));
        let (worker, child) = (
            reported(home.path(), "reached"),
            reported(home.path(), "child"),
        );
        signal(&profiler, signal_name);
        let output = profiler.wait_with_output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(130),
            "{when} {after}: {}",
            stderr(&output)
        );
        wait_for("the worker and its child to end", || {
            !runs(worker) && !runs(child)
        });
        let summary = summary(&home.path().join("run"));
        assert_valid(&summary);
        assert_eq!(summary["interrupted"], true);
        assert_eq!(
            summary["backends"]["numpy"]["timing"].is_object(),
            timed,
            "{when} {after}"
        );
        let names = std::fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert!(
            !names
                .into_iter()
                .any(|name| name.to_string_lossy().starts_with(".raptors-prof")),
            "a temporary name is left"
        );
    }
}

#[test]
fn the_worker_does_not_outlive_the_profiler() {
    let home = temporary();
    let act = "os.path.exists(os.environ['FAKE_DIR'] + '/reached') or report('reached')";
    let mut command = fake_numpy(home.path(), "late", act);
    let mut profiler = spawn(command.env("FAKE_AFTER", "0.1"));
    let worker = reported(home.path(), "reached");
    signal(&profiler, "KILL");
    profiler.wait().unwrap();
    wait_for("the worker to end", || !runs(worker));
    assert!(!home.path().join("run").exists());
}
