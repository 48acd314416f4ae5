//! What the profile of a real run shows: Python, the extension and the kernel in one stack, workers under their caller.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use common::{assert_done, python, raptors_prof, samples, skip_denied, summary, temporary};
use serde_json::Value;

/// The raptors side of a run and its folded stacks; `None` where there is no profile to be had.
fn profile(cell: &[&str], threads: &str) -> Option<(Value, String)> {
    let python = python()?;
    let home = temporary();
    let mut command = raptors_prof(home.path());
    command.args(cell);
    command
        .args([
            "--threads",
            threads,
            "--min-samples",
            "300",
            "--max-time",
            "20",
            "--out",
            "run",
            "--python",
        ])
        .arg(python);
    assert_done(&command.output().unwrap());
    let summary = summary(&home.path().join("run"));
    for backend in ["numpy", "raptors"] {
        let sampling = &summary["backends"][backend]["sampling"];
        if sampling["status"] != "recorded" {
            skip_denied(&sampling.to_string());
            return None;
        }
        assert!(sampling["in_op"].as_u64().unwrap() >= 300, "{sampling}");
        assert_eq!(sampling["lost"], 0);
        assert!(
            sampling["merged_ratio"].as_f64().unwrap() >= 0.95,
            "{backend}: {sampling}"
        );
    }
    let folded = std::fs::read_to_string(home.path().join("run/raptors.folded")).unwrap();
    Some((summary["backends"]["raptors"].clone(), folded))
}

/// Share of the samples whose stack has these parts in this order.
fn share(folded: &str, parts: &[&str]) -> f64 {
    samples(folded, parts) as f64 / samples(folded, &[]) as f64
}

const PYTHON: [&str; 4] = [
    "<module> (worker.py:",
    ";main (",
    ";run_window (",
    ";broadcast_add (worker.py:",
];

#[test]
fn python_then_the_extension_then_the_kernel() {
    let Some((raptors, folded)) = profile(
        &[
            "--op",
            "broadcast_add",
            "--shape",
            "512x512",
            "--dtype",
            "float32",
        ],
        "1",
    ) else {
        return;
    };
    let extension = [
        "raptors::functions::",
        "[raptors/",
        "raptors_kernels::elementwise::add_row [raptors/",
    ];
    assert!(
        share(&folded, &[&PYTHON[..], &extension].concat()) > 0.7,
        "{folded}"
    );
    let lines = raptors["lines"].as_array().unwrap();
    let in_kernels = lines
        .iter()
        .filter(|line| line["file"].as_str().unwrap().contains("kernels/src/"));
    let own: f64 = in_kernels.map(|line| line["self"].as_f64().unwrap()).sum();
    assert!(own > 0.3, "{lines:?}");
}

#[test]
fn workers_stand_under_the_python_call() {
    let Some((raptors, folded)) = profile(
        &[
            "--op",
            "broadcast_add",
            "--shape",
            "2048x2048",
            "--dtype",
            "float32",
        ],
        "4",
    ) else {
        return;
    };
    assert!(
        raptors["sampling"]["joined_workers"].as_u64().unwrap() > 10,
        "{}",
        raptors["sampling"]
    );
    let kernel = "raptors_kernels::elementwise::add_row [raptors/";
    let all = share(&folded, &[&PYTHON[..], &[kernel]].concat());
    let workers = share(
        &folded,
        &[&PYTHON[..], &[";[worker raptors-", kernel]].concat(),
    );
    // The calling thread works too.
    assert!(workers > 0.0 && all - workers > 0.1, "{folded}");
    assert_eq!(share(&folded, &["[unattributed threads]"]), 0.0, "{folded}");
}

#[test]
fn workers_that_gather_are_walked_to_their_root() {
    let cell = [
        "--op",
        "mean_axis1",
        "--shape",
        "2048x2048",
        "--dtype",
        "float64",
        "--layout",
        "transpose",
    ];
    let Some((raptors, folded)) = profile(&cell, "2") else {
        return;
    };
    assert!(
        raptors["sampling"]["unwound_ratio"].as_f64().unwrap() >= 0.95,
        "{}",
        raptors["sampling"]
    );
    assert!(share(&folded, &["[native stack cut]"]) < 0.05, "{folded}");
}
