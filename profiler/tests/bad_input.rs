//! Bad input ends at once with one line that names the value and what is allowed, and leaves nothing.

mod common;

use common::{assert_fails, raptors_prof, stderr, temporary};

/// A good command line, of which each case spoils one part.
const GOOD: [&str; 6] = ["--op", "add", "--shape", "4x4", "--dtype", "float32"];

#[test]
fn each_is_named_with_what_is_allowed() {
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["--op", "divide"],
            &["'divide'", "sum", "mean_axis1", "broadcast_add", "scale"],
        ),
        (
            &["--dtype", "float16"],
            &["'float16'", "float32, float64, int32"],
        ),
        (
            &["--layout", "diagonal"],
            &["'diagonal'", "contiguous, transpose, fortran"],
        ),
        (
            &["--backend", "torch"],
            &["'torch'", "numpy, raptors, baseline, candidate, both"],
        ),
        (
            &["--simd", "mmx"],
            &["'mmx'", "auto, off, sse2, avx2, avx512"],
        ),
        (
            &["--threads", "0"],
            &["'0'", "--threads", "whole numbers from 1"],
        ),
        (&["--threads", "two"], &["'two'", "whole numbers from 1"]),
        (&["--shape", "0x5"], &["'0x5'", "RxC"]),
        (&["--shape", "-1x5"], &["'-1x5'", "RxC"]),
        (&["--shape", "abc"], &["'abc'", "RxC"]),
        (&["--shape", "2x3x4"], &["'2x3x4'", "RxC"]),
        (
            &["--shape", "4000000x4000000"],
            &[
                "4000000x4000000",
                "MiB for its inputs and results",
                "are available",
            ],
        ),
        (
            &["--shape", "5", "--op", "sum_axis1"],
            &["sum_axis1", "two axes", "is 5"],
        ),
        (
            &["--shape", "5", "--op", "mean_axis1"],
            &["mean_axis1", "two axes"],
        ),
        (
            &["--shape", "5", "--op", "broadcast_add"],
            &["broadcast_add", "two axes"],
        ),
        (
            &["--shape", "4096", "--layout", "transpose"],
            &["--layout transpose", "one axis", "is 4096"],
        ),
        (
            &["--shape", "4096", "--layout", "fortran"],
            &["--layout fortran", "one axis"],
        ),
        (&["--rate", "0"], &["'0'", "--rate"]),
        (
            &["--rate", "4000000000"],
            &["4000000000", "perf_event_max_sample_rate"],
        ),
        (&["--min-samples", "few"], &["'few'", "--min-samples"]),
        (
            &["--backend", "candidate"],
            &["--backend candidate", "--op add", "numpy, raptors, both"],
        ),
        (&["--max-time", "0"], &["'0'", "--max-time"]),
        (&["--max-time", "nan"], &["'nan'", "--max-time"]),
        (&["--out", "/proc/run"], &["/proc/run", "--out"]),
        (&["--frobnicate"], &["'--frobnicate'"]),
        (&["extra"], &["'extra'"]),
    ];
    let home = temporary();
    for (arguments, texts) in cases {
        let kept = GOOD
            .chunks(2)
            .filter(|good| !arguments.contains(&good[0]))
            .flatten();
        let output = raptors_prof(home.path())
            .args(kept)
            .args(*arguments)
            .output()
            .unwrap();
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert_eq!(
            stderr.trim_end().lines().count(),
            1,
            "{arguments:?}: {stderr}"
        );
        assert!(output.stdout.is_empty());
        for text in *texts {
            assert!(
                stderr.contains(text),
                "{arguments:?}: {text:?} is not in: {stderr}"
            );
        }
    }
    assert_eq!(
        std::fs::read_dir(home.path()).unwrap().count(),
        0,
        "nothing is left"
    );
}

#[test]
fn so_is_each_environment_variable() {
    let home = temporary();
    for (name, value, allowed) in [
        ("RAPTORS_THREADS", "0", "whole numbers from 1"),
        ("RAPTORS_THREADS", "many", "whole numbers from 1"),
        ("RAPTORS_SIMD", "neon", "auto, off, sse2, avx2, avx512"),
    ] {
        let output = raptors_prof(home.path())
            .args(GOOD)
            .env(name, value)
            .output()
            .unwrap();
        assert_fails(&output, 2, allowed);
        assert_fails(&output, 2, &format!("{name}={value:?}"));
    }
}

#[test]
fn what_is_missing_is_named() {
    let home = temporary();
    let output = raptors_prof(home.path())
        .args(["--op", "add"])
        .output()
        .unwrap();
    assert_fails(&output, 2, "--op add needs --shape and --dtype");
    let output = raptors_prof(home.path()).output().unwrap();
    assert_fails(&output, 2, "Usage: raptors-prof");
}

#[test]
fn what_is_no_python_is_named() {
    let home = temporary();
    for (python, text) in [
        (
            "/no/such/python",
            "can't start the Python interpreter /no/such/python",
        ),
        (
            "/etc/passwd",
            "can't start the Python interpreter /etc/passwd",
        ),
        (
            "/bin/true",
            "/bin/true isn't a Python interpreter (3.8 or newer): exit code 0",
        ),
        (
            "/bin/cat",
            "/bin/cat isn't a Python interpreter (3.8 or newer): exit code 1; it printed: /bin/cat: invalid option",
        ),
        (
            "/bin/echo",
            "/bin/echo isn't a Python interpreter (3.8 or newer): it does not run Python source",
        ),
        (
            "/bin/sh",
            "/bin/sh isn't a Python interpreter (3.8 or newer): exit code 2; it printed: /bin/sh:",
        ),
        ("/bin/bash", "/bin/bash: -X: invalid option"),
    ] {
        let output = raptors_prof(home.path())
            .args(GOOD)
            .args(["--python", python])
            .output()
            .unwrap();
        assert_fails(&output, 2, text);
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn an_old_python_is_named() {
    let home = temporary();
    let hello =
        r#"echo '{"reply":"hello","pid":1,"python":"3.7.16","executable":"/usr/bin/python3.7"}'"#;
    let python = common::script(home.path(), "python3.7", hello);
    let output = raptors_prof(home.path())
        .args(GOOD)
        .arg("--python")
        .arg(&python)
        .output()
        .unwrap();
    assert_fails(
        &output,
        2,
        "is Python 3.7.16; the worker needs 3.8 or newer",
    );
}

#[test]
fn what_exists_is_not_overwritten() {
    let home = temporary();
    std::fs::create_dir(home.path().join("full")).unwrap();
    std::fs::write(home.path().join("full/precious"), "").unwrap();
    std::fs::write(home.path().join("file"), "").unwrap();
    for (out, text) in [
        ("full", "--out full exists"),
        ("file", "--out file exists"),
        ("file/run", "file/run"),
    ] {
        let output = raptors_prof(home.path())
            .args(GOOD)
            .args(["--out", out])
            .output()
            .unwrap();
        assert_fails(&output, 2, text);
    }
    assert!(home.path().join("full/precious").exists());
}
