//! Ops of the user's own: a class in a Python file, from its inputs to the files of the run, and what is wrong with it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{
    assert_done, assert_fails, assert_valid, bare_python, python, raptors_prof, stderr, stdout,
    summary, temporary,
};
use serde_json::{Value, json};

/// Burns a third more time in the candidate than in the baseline, with nothing but the standard library.
const SPIN: &str = r#"
import time

def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass

class Spin:
    def baseline(self):
        spin(0.0003)

    def candidate(self):
        spin(0.0004)
"#;

/// `raptors-prof` on `op` in the file `ops.py` with this source, soon done.
fn own(home: &Path, source: &str, op: &str, samples: &str) -> Command {
    std::fs::write(home.join("ops.py"), source).unwrap();
    let mut command = raptors_prof(home);
    command
        .args(["--op", op, "--out", "run"])
        .args(["--max-time", "4", "--min-samples", samples]);
    command
}

/// The output of a run without a profile, of one class called `Op`, by an interpreter without packages.
fn bare(home: &Path, source: &str, arguments: &[&str]) -> Output {
    let python = bare_python(home);
    let mut command = own(home, source, "ops.py:Op", "0");
    command.arg("--python").arg(python);
    command.args(arguments).output().unwrap()
}

#[test]
fn it_is_compared_and_profiled_without_numpy_and_raptors() {
    let home = temporary();
    let python = bare_python(home.path());
    let output = own(home.path(), SPIN, "ops.py:Spin", "20")
        .arg("--python")
        .arg(python)
        .output()
        .unwrap();
    assert_done(&output);
    let summary = summary(&home.path().join("run"));
    assert_valid(&summary);
    assert_eq!(
        summary["cell"],
        json!({"op": "ops.py:Spin", "shape": null, "dtype": null, "layout": null})
    );
    assert_eq!(summary["environment"]["numpy"], Value::Null);
    assert_eq!(summary["environment"]["raptors"], Value::Null);
    let ratio = summary["comparison"]["ratio"].as_f64().unwrap();
    assert!((0.6..0.95).contains(&ratio), "{ratio}");
    assert_eq!(summary["comparison"]["verdict"], "slower");
    let table = stdout(&output);
    assert!(
        table.contains("The candidate is slower: it takes 1."),
        "{table}"
    );
    for backend in ["baseline", "candidate"] {
        let of = &summary["backends"][backend];
        if of["sampling"]["status"] == "recorded" {
            assert!(of["sampling"]["in_op"].as_u64() >= Some(20), "{of}");
            for (kind, name) in [("flamegraph", "svg"), ("folded", "folded")] {
                assert_eq!(of["outputs"][kind], format!("{backend}.{name}"));
            }
            let folded = home.path().join(format!("run/{backend}.folded"));
            let folded = std::fs::read_to_string(folded).unwrap();
            let called = format!("{backend} (ops.py:");
            assert!(common::samples(&folded, &[&called, "spin (ops.py:"]) > 0);
            assert!(home.path().join("run/diff.svg").exists());
        }
    }
}

#[test]
fn one_of_its_backends_may_run_alone() {
    let home = temporary();
    let source = SPIN.replace("class Spin", "class Op");
    let output = bare(home.path(), &source, &["--backend", "candidate"]);
    assert_done(&output);
    let run = summary(&home.path().join("run"));
    assert_valid(&run);
    let backends: Vec<_> = run["backends"].as_object().unwrap().keys().collect();
    assert_eq!(backends, ["candidate"]);
    assert_eq!(
        run["backends"]["candidate"]["sampling"]["status"],
        "skipped"
    );
    assert_eq!(run["comparison"], Value::Null);
    let output = bare(home.path(), &source, &["--backend", "numpy"]);
    assert_fails(&output, 2, "it has: baseline, candidate, both");
}

#[test]
fn setup_gets_what_was_given_and_keeps_its_own_defaults() {
    let Some(python) = python() else { return };
    let home = temporary();
    let source = "class Op:\n    \
        def setup(self, shape=(2, 3), dtype='float64', rng=None):\n        \
            self.a = rng.random(shape).astype(dtype)\n    \
        def baseline(self):\n        return self.a + 2\n    \
        def candidate(self):\n        return self.a * 2\n";
    for (given, cell, told) in [
        (&[][..], json!([null, null]), "6 of 6 values"),
        (
            &["--shape", "4x5", "--dtype", "float32"][..],
            json!([[4, 5], "float32"]),
            "20 of 20 values (relative tolerance 0.00035)",
        ),
    ] {
        let _ = std::fs::remove_dir_all(home.path().join("run"));
        let output = own(home.path(), source, "ops.py:Op", "0")
            .arg("--python")
            .arg(&python)
            .args(given)
            .output()
            .unwrap();
        assert_done(&output);
        let told = format!("the results differ in {told}");
        assert!(stderr(&output).contains(&told), "{}", stderr(&output));
        let summary = summary(&home.path().join("run"));
        assert_valid(&summary);
        assert_eq!(
            json!([summary["cell"]["shape"], summary["cell"]["dtype"]]),
            cell
        );
        assert!(summary["environment"]["numpy"].is_string());
    }
}

#[test]
fn its_file_runs_where_it_is_whatever_its_name() {
    let home = temporary();
    let python = bare_python(home.path());
    let folder = home.path().join("my ops: new");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("beside.py"), "def nothing():\n    pass\n").unwrap();
    let source = "import beside, sys, __main__\n\
        assert sys.modules['a:b c'].__file__ == __file__ and __name__ != '__main__'\n\
        class Op:\n    baseline = staticmethod(beside.nothing)\n    \
        def setup(self):\n        self.candidate = int\n        \
        assert sys.stdin.read() == ''\n        print('no reply')\n";
    std::fs::write(folder.join("a:b c.py"), source).unwrap();
    let output = raptors_prof(home.path())
        .args(["--op", "my ops: new/a:b c.py:Op", "--min-samples", "5"])
        .args(["--max-time", "4", "--python"])
        .arg(python)
        .output()
        .unwrap();
    assert_done(&output);
    let runs = std::fs::read_dir(home.path().join("results/runs")).unwrap();
    let names: Vec<_> = runs.map(|run| run.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1);
    assert!(names[0].to_str().unwrap().ends_with("Z-Op"), "{names:?}");
    let left = std::fs::read_dir(&folder).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.len() <= 3,
        "nothing but the cache of what it imports: {left:?}"
    );
}

#[test]
fn what_is_wrong_with_it_is_named() {
    let both = "\n    baseline = candidate = staticmethod(int)\n";
    let op = |body: &str| format!("class Op:{both}    {body}\n");
    let cases: &[(String, &[&str], &str)] = &[
        (
            "class Other:\n    pass\nOp = 3\n".into(),
            &[],
            "ops.py has no class Op; its classes: Other",
        ),
        ("".into(), &[], "its classes: none"),
        (
            "class Op:\n    pass\n".into(),
            &[],
            "class Op has no method baseline",
        ),
        (
            op("candidate = None"),
            &[],
            "class Op has no method candidate",
        ),
        (op("baseline = 3"), &[], "baseline can't be called"),
        (
            op("def candidate(self):\n        yield"),
            &[],
            "candidate only makes a generator",
        ),
        (
            op("async def baseline(self):\n        pass"),
            &[],
            "baseline only makes a generator or coroutine",
        ),
        (
            op("pass"),
            &["--shape", "3"],
            "Op.setup is not there to take the shape",
        ),
        (op("setup = 3"), &[], "Op.setup can't be called"),
        (
            op("def setup(self, shape): pass"),
            &[],
            "needs a shape: give --shape",
        ),
        (op("def setup(self, size): pass"), &[], "it has size"),
        (
            op("def setup(self, shape, /): pass"),
            &["--shape", "3"],
            "takes no shape",
        ),
        (
            op("def setup(self, rng=0): pass"),
            &["--dtype", "int32"],
            "Op.setup takes no dtype",
        ),
    ];
    let home = temporary();
    for (source, arguments, text) in cases {
        let output = bare(home.path(), source, arguments);
        assert_fails(&output, 2, text);
        assert_eq!(stderr(&output).trim_end().lines().count(), 1);
        assert!(!home.path().join("run").exists());
    }
    let output = bare(home.path(), &op("def setup(self, rng): pass"), &[]);
    assert_fails(&output, 3, "-m pip install numpy");
    let output = own(home.path(), "", "no.py:Op", "0").output().unwrap();
    assert_fails(&output, 2, "--op no.py:Op: can't read no.py: No such file");
}

#[test]
fn its_own_failures_are_shown() {
    let home = temporary();
    let raise = "raise KeyError('lost')";
    let method = |name: &str| {
        let mut bodies = ["setup", "baseline", "candidate"].map(|method| {
            let body = if method == name { raise } else { "pass" };
            format!("    def {method}(self):\n        {body}\n")
        });
        bodies.rotate_left(1);
        format!("class Op:\n{}", bodies.concat())
    };
    let late = "class Op:\n    calls = 0\n    def baseline(self):\n        self.calls += 1\n        \
        if self.calls > 5: raise KeyError('lost')\n    def candidate(self): pass\n";
    for (source, during, shown) in [
        (raise.to_owned(), "prepared", "KeyError: 'lost'"),
        ("class Op(:".to_owned(), "prepared", "SyntaxError"),
        (
            "import no_such_module".to_owned(),
            "prepared",
            "No module named 'no_such_module'",
        ),
        (method("setup"), "prepared", "in setup"),
        (method("baseline"), "prepared", "in baseline"),
        (method("candidate"), "prepared", "KeyError: 'lost'"),
        (late.to_owned(), "ran baseline's op", "KeyError: 'lost'"),
        (
            "import sys; sys.exit('enough')".to_owned(),
            "prepared",
            "enough",
        ),
    ] {
        let output = bare(home.path(), &source, &[]);
        assert_fails(&output, 4, during);
        assert_fails(&output, 4, shown);
        assert!(!home.path().join("run").exists());
    }
}

#[test]
fn the_examples_of_the_docs_run() {
    let Some(python) = python() else { return };
    let home = temporary();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples");
    for class in ["Polynomial", "InPlace"] {
        let output = raptors_prof(home.path())
            .args(["--op", &format!("{examples}/polynomial.py:{class}")])
            .args(["--shape", "64x48", "--dtype", "float32", "--out", class])
            .args(["--max-time", "1", "--min-samples", "0", "--python"])
            .arg(&python)
            .output()
            .unwrap();
        assert_done(&output);
        assert_eq!(stderr(&output), "", "the results agree");
        let summary = summary(&home.path().join(class));
        assert_valid(&summary);
        assert!(summary["comparison"]["ratio"].is_number());
    }
}
