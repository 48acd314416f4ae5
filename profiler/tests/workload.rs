//! A workload that fails: what is missing is named with its mend, and who dies is heard.

mod common;

use common::{
    FAKE_CELL, assert_fails, bare_python, fake_numpy, python, raptors_prof, temporary,
    with_fake_numpy,
};

#[test]
fn a_missing_numpy_is_mended_by_pip() {
    let home = temporary();
    let python = bare_python(home.path());
    let mut command = raptors_prof(home.path());
    let output = command
        .args(FAKE_CELL)
        .arg("--python")
        .arg(&python)
        .output()
        .unwrap();
    assert_fails(
        &output,
        3,
        &format!("{} -m pip install numpy", python.display()),
    );
    let runs = std::fs::read_dir(home.path().join("results/runs")).unwrap();
    assert_eq!(runs.count(), 0, "no run is left");
}

#[test]
fn a_missing_raptors_is_mended_by_pip() {
    let home = temporary();
    let python = bare_python(home.path());
    let mut command = with_fake_numpy(home.path());
    let output = command
        .args(FAKE_CELL)
        .arg("--python")
        .arg(&python)
        .output()
        .unwrap();
    assert_fails(
        &output,
        3,
        &format!("{} -m pip install ./pyext", python.display()),
    );
}

#[test]
fn a_worker_that_dies_is_heard() {
    let home = temporary();
    let cases = [
        (
            "raise RuntimeError('no such luck')",
            "exit code 1",
            "RuntimeError: no such luck",
        ),
        (
            "print('last words', file=sys.stderr, flush=True); os._exit(7)",
            "exit code 7",
            "last words",
        ),
        (
            "print('said on stdout', flush=True); os._exit(0)",
            "exit code 0",
            "said on stdout",
        ),
        (
            "os.kill(os.getpid(), 9)",
            "killed by SIGKILL",
            "it printed nothing",
        ),
        (
            "os.kill(os.getpid(), 11)",
            "killed by SIGSEGV",
            "it printed nothing",
        ),
    ];
    for (when, during) in [
        ("import", "while it prepared the op"),
        ("late", "while it ran numpy's op"),
    ] {
        for (act, how, printed) in cases {
            let output = fake_numpy(home.path(), when, act)
                .env("FAKE_AFTER", "0.1")
                .output()
                .unwrap();
            assert_fails(&output, 4, how);
            assert_fails(&output, 4, during);
            assert_fails(&output, 4, printed);
            assert!(!home.path().join("run").exists());
        }
    }
}

#[test]
fn a_child_of_a_dead_worker_does_not_keep_us_waiting() {
    let home = temporary();
    // The child holds every pipe of the worker open.
    let act = "os.fork() or time.sleep(1000); os.kill(os.getpid(), 9)";
    let output = fake_numpy(home.path(), "call", act).output().unwrap();
    assert_fails(&output, 4, "killed by SIGKILL");
}

#[test]
fn what_libraries_print_is_no_reply() {
    let home = temporary();
    let act = "print('{\"reply\": \"done\"}', flush=True); os.system('echo noise')";
    let output = fake_numpy(home.path(), "import", act)
        .args(["--max-time", "1", "--min-samples", "1"])
        .output()
        .unwrap();
    common::assert_done(&output);
}

#[test]
fn backends_that_disagree_are_a_failure() {
    let Some(python) = python() else { return };
    let home = temporary();
    let package = home.path().join("wrong/raptors");
    std::fs::create_dir_all(&package).unwrap();
    let source = "def scale(a, f):\n    wrong = a * f\n    wrong[2, 3] += 1\n    return wrong\n\
                  def add(a, b):\n    return (a + b).astype('float64')\n\
                  def sum(a, axis=None):\n    return a.sum(axis=1 - axis)\n\
                  def mean(a):\n    return float('nan')\n";
    std::fs::write(package.join("__init__.py"), source).unwrap();
    for (op, text) in [
        ("scale", "1 of 15 values differ by more than"),
        ("scale", "the worst at [2, 3]: numpy"),
        ("add", "numpy gives dtype float32, raptors float64"),
        ("sum_axis0", "numpy gives shape (5,), raptors (3,)"),
        ("mean", "raptors nan"),
    ] {
        let output = raptors_prof(home.path())
            .args([
                "--op", op, "--shape", "3x5", "--dtype", "float32", "--python",
            ])
            .arg(&python)
            .env("PYTHONPATH", home.path().join("wrong"))
            .output()
            .unwrap();
        assert_fails(&output, 4, "numpy and raptors disagree on");
        assert_fails(&output, 4, text);
    }
}

/// A `raptors` that sums in float64, on inputs at which NumPy's float32 sum stands still.
const EXACT: &str = r#"
import numpy

class Generator:
    def random(self, size, dtype):
        array = numpy.ones(size, dtype)
        array[0] = 2.0**24
        return array

numpy.random.default_rng = lambda seed: Generator()

def sum(a, axis=None):
    return a.sum(axis=axis, dtype="float64").astype(a.dtype)

def config():
    unasked = {"requested": None, "used": None}
    return {"version": "0.0", "threads": unasked, "simd": unasked}
"#;

#[test]
fn raptors_is_not_blamed_where_numpy_is_off() {
    let Some(python) = python() else { return };
    let home = temporary();
    let package = home.path().join("exact/raptors");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(package.join("__init__.py"), EXACT).unwrap();
    let output = raptors_prof(home.path())
        .args(["--op", "sum_axis0", "--shape", "100000x2"])
        .args(["--dtype", "float32", "--max-time", "4"])
        .args(["--min-samples", "1", "--out", "run", "--python"])
        .arg(&python)
        .env("PYTHONPATH", home.path().join("exact"))
        .output()
        .unwrap();
    common::assert_done(&output);
    let stderr = common::stderr(&output);
    assert!(
        stderr.contains("numpy's float32 does not: 2 of 2 values differ"),
        "{stderr}"
    );
}
