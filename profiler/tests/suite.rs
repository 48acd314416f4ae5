//! `raptors-prof suite`: what it leaves, and that no end of it loses or repeats a cell.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{
    assert_done, assert_fails, assert_valid, assert_valid_as, python, raptors_prof, signal, spawn,
    stderr, stdout, temporary, wait_for,
};
use serde_json::Value;

const CELLS: [&str; 4] = [
    "mean-64x48-float32",
    "mean-8-float32",
    "sum-64x48-float32",
    "sum-8-float32",
];

/// A suite of [`CELLS`], soon done, in the directory `suite`.
fn suite(home: &Path, python: &Path) -> Command {
    let mut command = raptors_prof(home);
    command.args(["suite", "--op", "sum", "--op", "mean", "--shape", "64x48"]);
    command.args(["--shape", "8", "--dtype", "float32", "--out", "suite"]);
    command.args(["--max-time", "2", "--min-samples", "1", "--seed", "7"]);
    command.args(["--precision", "50", "--python"]).arg(python);
    command
}

fn resume(home: &Path) -> Command {
    let mut command = raptors_prof(home);
    command.args(["suite", "--resume", "suite"]);
    command
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn suite_json(home: &Path) -> Value {
    read(&home.join("suite/suite.json"))
}

fn names(suite: &Value) -> Vec<String> {
    let cells = suite["cells"].as_array().unwrap().iter();
    cells
        .map(|cell| cell["name"].as_str().unwrap().to_owned())
        .collect()
}

fn states(suite: &Value, state: &str) -> usize {
    let cells = suite["cells"].as_array().unwrap().iter();
    cells.filter(|cell| cell["state"] == state).count()
}

/// The summaries of the cells that are complete, as they are on disk.
fn complete(home: &Path) -> BTreeMap<PathBuf, String> {
    let entries = std::fs::read_dir(home.join("suite")).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path().join("summary.json"));
    paths
        .filter(|path| {
            let parent = path.parent().and_then(Path::file_name).unwrap();
            !parent.to_string_lossy().starts_with('.') && path.exists()
        })
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn assert_whole(home: &Path) {
    let suite = suite_json(home);
    assert_valid_as("suite.schema.json", &suite);
    assert_eq!(states(&suite, "done"), 4, "{suite}");
    let mut sorted = names(&suite);
    sorted.sort_unstable();
    assert_eq!(sorted, CELLS);
    let mut left: Vec<String> = std::fs::read_dir(home.join("suite"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort_unstable_by_key(|name| (name.ends_with(".json"), name.clone()));
    assert_eq!(left[..4], CELLS);
    assert_eq!(left[4..], ["suite.json"]);
}

#[test]
fn a_suite_leaves_a_run_a_cell_and_a_table_with_the_laggards_on_top() {
    let Some(python) = python() else { return };
    let home = temporary();
    let output = suite(home.path(), &python)
        .args(["--save-baseline", "made/base.json"])
        .output()
        .unwrap();
    assert_done(&output);
    assert_whole(home.path());
    let suite = suite_json(home.path());
    assert_eq!(suite["seed"], 7);
    for cell in suite["cells"].as_array().unwrap() {
        let run = home
            .path()
            .join("suite")
            .join(cell["name"].as_str().unwrap());
        let mut summary = read(&run.join("summary.json"));
        assert_valid(&summary);
        let slower = summary["comparison"]["verdict"] == "slower";
        let sampling = &summary["backends"]["raptors"]["sampling"]["status"];
        assert_eq!(sampling == "skipped", !slower, "{sampling}");
        let repeat = summary["command"].as_array().unwrap();
        assert!(repeat.contains(&cell["cell"]["op"]), "{repeat:?}");
        for backend in ["numpy", "raptors"] {
            let timing = &mut summary["backends"][backend]["timing"];
            timing
                .as_object_mut()
                .unwrap()
                .remove("samples_ns")
                .unwrap();
        }
        assert_eq!(cell["summary"], summary, "all but the raw samples");
    }
    let ratios: Vec<f64> = stdout(&output)
        .lines()
        .filter(|line| CELLS.iter().any(|cell| line.starts_with(cell)))
        .map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
        .collect();
    assert_eq!(ratios.len(), 4, "{}", stdout(&output));
    assert!(ratios.is_sorted(), "{ratios:?}");
    let baseline = read(&home.path().join("made/base.json"));
    assert_valid_as("baseline.schema.json", &baseline);
    let cells = baseline["cells"].as_object().unwrap();
    assert!(cells.keys().eq(CELLS));
    let again = resume(home.path()).arg("--json").output().unwrap();
    assert_done(&again);
    let printed: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(printed, suite, "nothing was measured again");
}

/// How long either method takes is all that matters.
const OWN_OPS: &str = "
import time

def burn(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(100))

class Slow:
    baseline = staticmethod(lambda: burn(0.001))
    candidate = staticmethod(lambda: burn(0.006))

class Fast:
    baseline = staticmethod(lambda: burn(0.006))
    candidate = staticmethod(lambda: burn(0.001))
";

#[test]
fn laggards_alone_are_profiled() {
    let home = temporary();
    std::fs::write(home.path().join("ops.py"), OWN_OPS).unwrap();
    let mut command = raptors_prof(home.path());
    command.args([
        "suite",
        "--op",
        "ops.py:Slow",
        "--op",
        "ops.py:Fast",
        "--max-time",
        "4",
    ]);
    command.args(["--precision", "50", "--min-samples", "1"]);
    command.args(["--out", "suite", "--json"]);
    let output = command.output().unwrap();
    assert_done(&output);
    let suite: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_valid_as("suite.schema.json", &suite);
    for cell in suite["cells"].as_array().unwrap() {
        let (verdict, skipped) = match cell["name"].as_str() {
            Some("Slow") => ("slower", false),
            _ => ("faster", true),
        };
        let summary = &cell["summary"];
        assert_eq!(summary["comparison"]["verdict"], verdict);
        for backend in ["baseline", "candidate"] {
            let status = &summary["backends"][backend]["sampling"]["status"];
            assert_eq!(status == "skipped", skipped, "{verdict}: {status}");
        }
    }
}

#[test]
fn a_killed_suite_goes_on_where_it_was() {
    let Some(python) = python() else { return };
    let home = temporary();
    let mut order = None;
    let mut seen = BTreeMap::new();
    for cells in 1..=3 {
        let mut command = match cells {
            1 => suite(home.path(), &python),
            _ => resume(home.path()),
        };
        let mut child = spawn(&mut command);
        wait_for("a cell to be complete", || {
            complete(home.path()).len() >= cells
        });
        signal(&child, "KILL");
        child.wait().unwrap();
        let suite = suite_json(home.path());
        assert_valid_as("suite.schema.json", &suite);
        assert_eq!(names(&suite), *order.get_or_insert(names(&suite)));
        seen.extend(complete(home.path()));
    }
    // Another environment than the one that it was begun in.
    let output = resume(home.path())
        .env("RAPTORS_THREADS", "1")
        .output()
        .unwrap();
    assert_done(&output);
    assert_whole(home.path());
    let suite = suite_json(home.path());
    assert_eq!(Some(names(&suite)), order);
    for (path, summary) in &seen {
        assert_eq!(
            *summary,
            std::fs::read_to_string(path).unwrap(),
            "measured twice"
        );
    }
    for summary in complete(home.path()).values() {
        let summary: Value = serde_json::from_str(summary).unwrap();
        assert_eq!(summary["environment"]["threads"]["requested"], Value::Null);
    }
}

#[test]
fn an_interrupted_suite_keeps_what_is_done() {
    let Some(python) = python() else { return };
    let home = temporary();
    let child = spawn(&mut suite(home.path(), &python));
    wait_for("a cell to be complete", || {
        !complete(home.path()).is_empty()
    });
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_fails(&output, 130, "interrupted; what is done is in");
    let done = states(&suite_json(home.path()), "done");
    assert!((1..4).contains(&done), "{done}");
    assert!(stdout(&output).contains("--resume"), "{}", stdout(&output));
    assert_done(&resume(home.path()).output().unwrap());
    assert_whole(home.path());
}

#[test]
fn a_cell_that_fails_is_reported_and_the_rest_goes_on() {
    let Some(python) = python() else { return };
    let home = temporary();
    let fault = "import os, raptors\nraptors.mean = lambda *a, **k: os._exit(7)\n";
    std::fs::write(home.path().join("sitecustomize.py"), fault).unwrap();
    let output = suite(home.path(), &python)
        .env("PYTHONPATH", home.path())
        .args(["--save-baseline", "base.json"])
        .output()
        .unwrap();
    assert_fails(&output, 4, "mean-8-float32 failed: the worker ended");
    assert_fails(&output, 4, "2 of 4 cells are not measured");
    assert!(!home.path().join("base.json").exists());
    let suite = suite_json(home.path());
    assert_valid_as("suite.schema.json", &suite);
    assert_eq!((states(&suite, "done"), states(&suite, "failed")), (2, 2));
    assert_done(&resume(home.path()).output().unwrap());
    assert_whole(home.path());
}

#[test]
fn what_ends_every_cell_ends_the_suite() {
    let home = temporary();
    let output = suite(home.path(), Path::new("/no/such/python"))
        .output()
        .unwrap();
    assert_fails(
        &output,
        2,
        "can't start the Python interpreter /no/such/python",
    );
    assert_fails(&output, 2, "/suite goes on");
    assert_eq!(states(&suite_json(home.path()), "pending"), 4);
}

/// Puts a value in the place of another, or cuts the file where there is none.
fn spoil(path: &Path, pointer: &str, value: Value) {
    let mut document = read(path);
    *document.pointer_mut(pointer).unwrap() = value;
    std::fs::write(path, document.to_string()).unwrap();
}

#[test]
fn what_is_no_suite_is_named() {
    let Some(python) = python() else { return };
    let home = temporary();
    assert_done(&suite(home.path(), &python).output().unwrap());
    let file = home.path().join("suite/suite.json");
    let run = home.path().join("suite/sum-8-float32/summary.json");
    let originals = [&file, &run].map(|path| std::fs::read_to_string(path).unwrap());
    let fails = |text: &str| {
        let output = resume(home.path()).output().unwrap();
        assert_fails(&output, 2, text);
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        for (path, original) in [&file, &run].iter().zip(&originals) {
            std::fs::write(path, original).unwrap();
        }
    };
    std::fs::write(&file, &originals[0][..originals[0].len() / 2]).unwrap();
    fails("suite/suite.json is cut short after ");
    spoil(&file, "/schema", "raptors-prof/suite/2".into());
    fails("suite/suite.json has the schema raptors-prof/suite/2, and raptors-prof");
    spoil(&file, "/measuring/max_time_s", 1e300.into());
    fails("suite/suite.json: measuring.max_time_s: ");
    spoil(&file, "/cells/0/name", "../elsewhere".into());
    fails("suite/suite.json: cells[0].name: ");
    spoil(&file, "/cells/1/summary/comparison/ratio", 0.into());
    fails("suite/suite.json: cells[1].summary.comparison.ratio: 0 is no time or ratio");
    spoil(&file, "/fingerprint/cpu", "Z80".into());
    fails("was begun elsewhere (CPU Z80 -> ");
    std::fs::write(&run, originals[1].replace("\"min_ns\": ", "\"min_ns\": -")).unwrap();
    fails("suite/sum-8-float32/summary.json: backends.numpy.timing.min_ns: -");
    spoil(&run, "/cell/op", "scale".into());
    fails("sum-8-float32 is no run of this suite's cell (it measured scale 8 float32");
    std::fs::remove_file(&run).unwrap();
    fails("can't read suite/sum-8-float32/summary.json");
    std::fs::remove_file(&file).unwrap();
    fails("can't read suite/suite.json");
}

#[test]
fn two_do_not_work_in_the_same_suite() {
    let Some(python) = python() else { return };
    let home = temporary();
    let mut child = spawn(&mut suite(home.path(), &python));
    wait_for("the suite to begin", || {
        home.path().join("suite/suite.json").exists()
    });
    // It may be locked a moment later.
    let busy =
        |output: &Output| stderr(output).contains("another raptors-prof is at work in suite");
    let output = resume(home.path()).output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(busy(&output), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn usage_is_checked_before_anything_is_measured() {
    let home = temporary();
    for (arguments, texts) in [
        (
            &["suite"][..],
            &["--preset <PRESET>|--op <OP>|--resume <DIR>"][..],
        ),
        (&["suite", "--preset", "3d"], &["'3d'", "2d, mixed, smoke"]),
        (
            &["suite", "--preset", "2d", "--op", "sum"],
            &["--preset", "--op"],
        ),
        (
            &["suite", "--op", "sum", "--shape", "8"],
            &["--op sum needs --dtype"],
        ),
        (
            &["suite", "--resume", "x", "--seed", "1"],
            &["--resume", "--seed"],
        ),
        (&["suite", "--resume", "no-such"], &["no-such/suite.json"]),
        (
            &[
                "suite",
                "--op",
                "sum",
                "--op",
                "sum_axis1",
                "--shape",
                "8",
                "--dtype",
                "int32",
            ],
            &["sum_axis1", "two axes"],
        ),
        (
            &[
                "suite",
                "--preset",
                "smoke",
                "--save-baseline",
                "/proc/base.json",
            ],
            &["can't write the baseline /proc/base.json"],
        ),
    ] {
        let output = raptors_prof(home.path()).args(arguments).output().unwrap();
        for text in texts {
            assert_fails(&output, 2, text);
        }
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}
