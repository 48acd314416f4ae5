//! `raptors-prof validate`: what is worse, what is not, and what can't be judged.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{
    assert_done, assert_fails, assert_valid_as, python, raptors_prof, stderr, stdout, temporary,
};
use serde_json::{Value, json};

fn validate(home: &Path, arguments: &[&str]) -> Command {
    let mut command = raptors_prof(home);
    command.arg("validate").args(arguments);
    command.args(["--out", "validation"]);
    if !arguments.contains(&"--max-time") {
        command.args(["--max-time", "3", "--precision", "20"]);
    }
    command
}

/// A candidate that takes half as long.
const OPS: &str = "
import time

class Half:
    baseline = staticmethod(lambda: time.sleep(0.016))
    candidate = staticmethod(lambda: time.sleep(0.008))
";

const HALF: [&str; 2] = ["--op", "ops.py:Half"];

#[test]
fn a_number_is_a_bound() {
    for (bound, code, standing) in [("1.0", 0, "held"), ("100", 1, "worse")] {
        let home = temporary();
        std::fs::write(home.path().join("ops.py"), OPS).unwrap();
        let output = validate(home.path(), &HALF)
            .args(["--min-ratio", bound, "--json"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let validation: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_valid_as("validation.schema.json", &validation);
        let cell = &validation["cells"][0];
        assert_eq!(cell["standing"], standing, "{cell}");
        assert!(cell["bound"].as_f64() < bound.parse().ok());
    }
}

#[test]
fn what_is_inconclusive_is_said_and_is_no_failure_unless_strict() {
    // So long that the time is over before there is an interval.
    let ops = "
import time

class Long:
    baseline = staticmethod(lambda: time.sleep(0.4))
    candidate = staticmethod(lambda: time.sleep(0.2))
";
    for (strict, code) in [(&[][..], 0), (&["--strict"], 1)] {
        let home = temporary();
        std::fs::write(home.path().join("ops.py"), ops).unwrap();
        let output = validate(home.path(), &["--op", "ops.py:Long", "--max-time", "1"])
            .args(strict)
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}{}",
            stderr(&output),
            stdout(&output)
        );
        let told = stdout(&output);
        assert!(told.contains("0 worse, 1 inconclusive, 0 held"), "{told}");
    }
}

#[test]
fn a_slower_candidate_is_found_by_a_baseline_that_was_made_before() {
    let Some(python) = python() else { return };
    let home = temporary();
    let python = python.to_str().unwrap();
    let cell = [
        "--op", "sum", "--shape", "256x256", "--dtype", "float32", "--python", python,
    ];
    let made = raptors_prof(home.path())
        .arg("suite")
        .args(cell)
        .args([
            "--max-time",
            "3",
            "--profile",
            "none",
            "--save-baseline",
            "base.json",
        ])
        .output()
        .unwrap();
    assert_done(&made);
    // What other processes disturb is not judged: that is waited out.
    for attempt in 0..5 {
        let out = home.path().join(format!("attempt{attempt}"));
        std::fs::create_dir(&out).unwrap();
        let mut command = validate(&out, &cell);
        command.args(["--baseline", "../base.json"]);
        let output = command.env("RAPTORS_SIMD", "off").output().unwrap();
        let told = stdout(&output);
        assert!(told.contains("sum-256x256-float32 "), "{told}");
        if !told.contains("disturbed by other processes") {
            assert_eq!(output.status.code(), Some(1), "{}{told}", stderr(&output));
            assert!(told.contains("worse (SIMD "), "{told}");
            return;
        }
        assert_eq!(output.status.code(), Some(0), "{}{told}", stderr(&output));
    }
    eprintln!("skipped: other processes disturb every measurement here");
}

/// A baseline of this machine in which [`HALF`] has this ratio.
fn baseline(home: &Path, ratio: f64) -> Value {
    std::fs::write(home.join("ops.py"), OPS).unwrap();
    let baseline = json!({
        "schema": "raptors-prof/baseline/1", "created": "2026-11-24T15:00:00Z", "tool_version": "0.1.0",
        "fingerprint": {"cpu": null, "cores": null, "container": container(home), "numpy": null},
        "cells": {"Half": {
            "ratio": ratio, "ci95": [ratio * 0.99, ratio * 1.01], "noise_floor": 0.01, "threads": null, "simd": null
        }}
    });
    assert_valid_as("baseline.schema.json", &baseline);
    baseline
}

/// What a run here says of the container.
fn container(home: &Path) -> Value {
    let output = raptors_prof(home)
        .args([
            "--op",
            "ops.py:Half",
            "--min-samples",
            "0",
            "--max-time",
            "0.1",
            "--json",
            "--out",
            "look",
        ])
        .output()
        .unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    summary["environment"]["container"].clone()
}

#[test]
fn a_ratio_far_above_is_worse_now_and_one_below_is_held() {
    for (ratio, code) in [(50.0, 1), (1.2, 0)] {
        let home = temporary();
        let baseline = baseline(home.path(), ratio);
        std::fs::write(home.path().join("base.json"), baseline.to_string()).unwrap();
        let output = validate(
            home.path(),
            &[&HALF[..], &["--baseline", "base.json"]].concat(),
        )
        .output()
        .unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}{}",
            stderr(&output),
            stdout(&output)
        );
        assert!(stdout(&output).contains("Half "), "{}", stdout(&output));
    }
}

#[test]
fn what_is_no_baseline_of_this_is_named_before_anything_is_measured() {
    let home = temporary();
    let good = baseline(home.path(), 2.0);
    let spoilt = |pointer: &str, value: Value| {
        let mut baseline = good.clone();
        *baseline.pointer_mut(pointer).unwrap() = value;
        baseline.to_string()
    };
    let text = good.to_string();
    let cases = [
        (
            text[..text.len() - 9].to_owned(),
            "base.json is cut short after ",
        ),
        ("[1, 2]".to_owned(), "base.json: "),
        ("{}".to_owned(), "base.json is no raptors-prof/baseline/1"),
        (
            spoilt("/schema", "raptors-prof/baseline/2".into()),
            "base.json has the schema raptors-prof/baseline/2",
        ),
        (
            spoilt("/schema", "raptors-prof/suite/1".into()),
            "its field schema is raptors-prof/suite/1",
        ),
        (
            spoilt("/cells/Half/ratio", 0.into()),
            "base.json: cells.Half.ratio: 0 is no time or ratio",
        ),
        (
            spoilt("/cells/Half/ci95/1", Value::Null),
            "base.json: cells.Half.ci95[1]: invalid type: null",
        ),
        (
            spoilt("/cells/Half/ci95/1", 0.5.into()),
            "base.json: cells.Half.ci95: ",
        ),
        (
            spoilt("/cells/Half/noise_floor", (-1).into()),
            "base.json: cells.Half.noise_floor: ",
        ),
        (
            text.replace("0.01", "NaN"),
            "base.json: cells.Half.noise_floor: expected value",
        ),
        (
            text.replace("Half", "Quarter"),
            "base.json has no cell Half; it has: Quarter",
        ),
        (
            spoilt("/fingerprint/cores", 1000.into()),
            "base.json was measured elsewhere (cores 1000 -> ",
        ),
    ];
    let arguments = [&HALF[..], &["--baseline", "base.json"]].concat();
    for (text, expected) in &cases {
        std::fs::write(home.path().join("base.json"), text).unwrap();
        let output = validate(home.path(), &arguments).output().unwrap();
        assert_fails(&output, 2, expected);
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
    // The last one may be allowed.
    let output = validate(home.path(), &arguments)
        .arg("--allow-different-machine")
        .output()
        .unwrap();
    assert_done(&output);
    assert!(
        stdout(&output).contains("measured elsewhere: cores 1000"),
        "{}",
        stdout(&output)
    );
    std::fs::remove_file(home.path().join("base.json")).unwrap();
    std::fs::remove_dir_all(home.path().join("validation")).unwrap();
    let output = validate(home.path(), &arguments).output().unwrap();
    assert_fails(&output, 2, "can't read base.json: ");
}

#[test]
fn a_cell_that_fails_is_no_judgement() {
    let home = temporary();
    let ops = "
import os
class Dies:
    baseline = staticmethod(lambda: None)
    candidate = staticmethod(lambda: os._exit(7))
";
    std::fs::write(home.path().join("ops.py"), ops).unwrap();
    let output = validate(home.path(), &["--op", "ops.py:Dies"])
        .output()
        .unwrap();
    assert_fails(&output, 4, "Dies failed");
    assert!(
        stdout(&output).contains("Dies failed"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn bounds_are_checked() {
    let home = temporary();
    for (arguments, text) in [
        (&["--op", "ops.py:Half", "--min-ratio", "0"][..], "'0'"),
        (&["--op", "ops.py:Half", "--min-ratio", "nan"], "'nan'"),
        (
            &["--op", "ops.py:Half", "--min-ratio", "2", "--baseline", "b"],
            "--baseline",
        ),
        (
            &["--op", "ops.py:Half", "--allow-different-machine"],
            "--baseline <FILE>",
        ),
        (&["--strict"], "--preset <PRESET>|--op <OP>"),
    ] {
        let output = validate(home.path(), arguments).output().unwrap();
        assert_fails(&output, 2, text);
    }
}
