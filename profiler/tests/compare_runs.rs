//! `raptors-prof compare`: what changed between two runs or suites, and what can't be compared.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{
    assert_done, assert_fails, assert_valid_as, raptors_prof, stderr, stdout, summary, temporary,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Both methods sleep and then burn time, the candidate as much as a file says. Who sleeps is let go on at once by a busy machine too.
const OPS: &str = r#"
import os, time

DELAY = float(open(os.path.join(os.path.dirname(__file__), "delay")).read())

def spend(seconds):
    time.sleep(seconds * 0.75)
    until = time.monotonic() + seconds * 0.25
    while time.monotonic() < until:
        sum(range(100))

class Work:
    def baseline(self):
        spend(0.008)

    def candidate(self):
        spend(DELAY)

class Other(Work):
    pass
"#;

/// Measures into `out`, with a candidate that takes `delay` seconds.
fn measure(home: &Path, out: &str, delay: f64, arguments: &[&str]) {
    std::fs::write(home.join("ops.py"), OPS).unwrap();
    std::fs::write(home.join("delay"), delay.to_string()).unwrap();
    let mut command = raptors_prof(home);
    command.args(arguments).args(["--out", out, "--quiet"]);
    command.args(["--max-time", "6", "--precision", "50"]);
    assert_done(&command.output().unwrap());
}

fn compare(home: &Path, arguments: &[&str]) -> Command {
    let mut command = raptors_prof(home);
    command.arg("compare").args(arguments);
    command
}

const SUITE: [&str; 6] = ["suite", "--profile", "all", "--min-samples", "20", "--op"];

const RUN: [&str; 4] = ["--min-samples", "0", "--op", "ops.py:Work"];

/// Two suites: in the second the candidate takes twice as long.
fn suites() -> TempDir {
    let home = temporary();
    let work = [&SUITE[..], &["ops.py:Work"]].concat();
    measure(
        home.path(),
        "old",
        0.004,
        &[&work[..], &["--op", "ops.py:Other"]].concat(),
    );
    measure(home.path(), "new", 0.008, &work);
    home
}

#[test]
fn a_candidate_that_got_slower_is_found_and_drawn() {
    let home = suites();
    let output = compare(home.path(), &["old", "new", "-o", "out"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let table = stdout(&output);
    for text in [
        "Work",
        "worse",
        "control: the time of baseline itself",
        "only in OLD: Other",
    ] {
        assert!(table.contains(text), "{text:?} is not in: {table}");
    }
    let text = std::fs::read_to_string(home.path().join("out/changes.json")).unwrap();
    let changes: Value = serde_json::from_str(&text).unwrap();
    assert_valid_as("changes.schema.json", &changes);
    let cell = &changes["cells"][0];
    let change = |pointer: &str| cell.pointer(pointer).unwrap().as_f64().unwrap();
    assert!((0.3..0.7).contains(&change("/ratio/value")), "{cell}");
    assert!(
        (1.5..3.0).contains(&change("/times/candidate/value")),
        "{cell}"
    );
    let profiled = ["old", "new"].map(|suite| {
        let summary = summary(&home.path().join(suite).join("Work"));
        summary["backends"]["candidate"]["outputs"]["folded"].is_string()
    });
    if profiled == [true, true] {
        let svg = std::fs::read_to_string(home.path().join("out/Work.svg")).unwrap();
        assert!(svg.contains("candidate (ops.py)"), "{svg}");
    }
    let back = compare(home.path(), &["new", "old", "--json"])
        .output()
        .unwrap();
    assert_done(&back);
    let changes: Value = serde_json::from_slice(&back.stdout).unwrap();
    assert_valid_as("changes.schema.json", &changes);
    assert_eq!(changes["cells"][0]["judgement"], "better");
    assert_eq!(changes["only_new"], json!(["Other"]));
    // A run directory is the same as a suite of one cell.
    let runs = compare(home.path(), &["old/Work", "new"]).output().unwrap();
    assert_eq!(runs.status.code(), Some(1), "{}", stderr(&runs));
    // Half of the windows of one backend were held up: nothing is concluded.
    let fastest = "/backends/candidate/timing/min_ns";
    spoil(&home.path().join("old/Work"), fastest, 1000.into());
    let disturbed = compare(home.path(), &["old/Work", "new"]).output().unwrap();
    assert_done(&disturbed);
    let told = stdout(&disturbed);
    assert!(told.contains("1 of 1 cells were disturbed"), "{told}");
}

/// Puts `value` in the place of another in a run's summary.json.
fn spoil(run: &Path, pointer: &str, value: Value) {
    let mut document = summary(run);
    *document.pointer_mut(pointer).unwrap() = value;
    std::fs::write(run.join("summary.json"), document.to_string()).unwrap();
}

#[test]
fn what_can_not_be_compared_is_named() {
    let home = temporary();
    measure(home.path(), "run", 0.004, &RUN);
    measure(
        home.path(),
        "other",
        0.001,
        &[&RUN[..3], &["ops.py:Other"]].concat(),
    );
    let run = home.path().join("run");
    let text = std::fs::read_to_string(run.join("summary.json")).unwrap();
    let fails = |old: &str, expected: &str| {
        let output = compare(home.path(), &[old, "run"]).output().unwrap();
        assert_fails(&output, 2, expected);
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    };
    fails("no-such", "no-such has neither suite.json nor summary.json");
    fails(
        "other",
        "no cell was measured in both: OLD has Other, NEW has Work",
    );
    let old = home.path().join("old");
    std::fs::create_dir(&old).unwrap();
    let cases: [(&str, Value, &str); 6] = [
        (
            "/schema",
            "raptors-prof/summary/2".into(),
            "old/summary.json has the schema raptors-prof/summary/2",
        ),
        (
            "/schema",
            "raptors-prof/record/1".into(),
            "old/summary.json is no raptors-prof/summary/1",
        ),
        (
            "/backends/baseline/timing/samples_ns/3",
            0.into(),
            "old/summary.json: backends.baseline.timing.samples_ns[3]: 0 is no time",
        ),
        (
            "/comparison/ci95/0",
            (-1).into(),
            "old/summary.json: comparison.ci95[0]: -1 is no time or ratio",
        ),
        (
            "/comparison/ratio",
            Value::Null,
            "old/summary.json: comparison.ratio: invalid type: null",
        ),
        (
            "/environment/cores",
            1000.into(),
            "OLD and NEW were not measured alike (cores 1000 -> ",
        ),
    ];
    for (pointer, value, expected) in cases {
        std::fs::write(old.join("summary.json"), &text).unwrap();
        spoil(&old, pointer, value);
        fails("old", expected);
    }
    let output = compare(home.path(), &["old", "run", "--allow-different-machine"])
        .output()
        .unwrap();
    assert_done(&output);
    assert!(
        stdout(&output).contains("not measured alike: cores 1000 -> "),
        "{}",
        stdout(&output)
    );
    let nan = text.replacen("\"median_ns\": ", "\"median_ns\": NaN, \"was\": ", 1);
    std::fs::write(old.join("summary.json"), nan).unwrap();
    fails(
        "old",
        "old/summary.json: backends.baseline.timing.median_ns: expected value",
    );
    std::fs::write(old.join("summary.json"), &text[..text.len() / 2]).unwrap();
    fails("old", "old/summary.json is cut short after ");
}

#[test]
fn a_run_is_the_same_as_itself() {
    let home = temporary();
    measure(home.path(), "run", 0.004, &RUN);
    let output = compare(home.path(), &["run", "run", "--json"])
        .output()
        .unwrap();
    assert_done(&output);
    let changes: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(changes["cells"][0]["ratio"]["value"], 1.0);
    assert_eq!(changes["control"]["range"], json!([1.0, 1.0]));
    assert_eq!(changes["differences"], json!([]));
}
