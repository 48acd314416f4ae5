//! What other tools read in the formats that are written of a recorded program: the same as the folded stacks have.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;
mod readers;

use std::path::Path;

use common::{
    assert_valid_recording, python, raptors_prof, skip_denied, stderr, summary, temporary,
};
use readers::{
    Functions, as_folded, functions, inferno_total, of_folded, pprof, pprof_functions, read,
    without_line,
};
use serde_json::Value;

/// Two Python threads, and the worker thread of raptors, which touches fresh pages.
const PROGRAM: &str = r#"
import threading, time
import numpy, raptors

def work():
    array = numpy.random.default_rng(0).random((2048, 2048))
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        raptors.broadcast_add(array, array[0])
        sum(i * i for i in range(20000))

thread = threading.Thread(target=work)
thread.start()
work()
thread.join()
"#;

fn folded(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap()
}

fn same(found: &Functions, expected: &Functions, tool: &str) {
    let found = as_folded(found);
    for (name, counted) in expected {
        assert_eq!(found.get(name), Some(counted), "{tool}: {name}");
    }
    assert_eq!(found.len(), expected.len(), "{tool}");
}

#[test]
fn other_tools_read_what_the_folded_stacks_have() {
    let Some(python) = python() else { return };
    let home = temporary();
    std::fs::write(home.path().join("program.py"), PROGRAM).unwrap();
    let mut command = raptors_prof(home.path());
    command
        .env("RAPTORS_POOL_BYTES", "0")
        .env("RAPTORS_THREADS", "2");
    command.args([
        "record",
        "-o",
        "run",
        "--format",
        "speedscope,firefox",
        "--format",
        "pprof",
        "--",
    ]);
    let output = command.arg(&python).arg("program.py").output().unwrap();
    if output.status.code() == Some(3) {
        return skip_denied(&stderr(&output));
    }
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let run = home.path().join("run");
    let summary = summary(&run);
    assert_valid_recording(&summary);
    assert_outputs(&run, &summary);
    let folded = folded(&run, "profile.folded");
    let exact = of_folded(&folded, str::to_owned);
    let has = |text: &str| exact.keys().any(|name| name.contains(text));
    assert!(
        has("[worker raptors-") && has("work (program.py:") && has("[raptors/"),
        "{exact:?}"
    );
    assert_eq!(
        has(" [kernel]"),
        summary["sampling"]["kernel_frames"] == true
    );
    assert_eq!(
        inferno_total(&folded),
        summary["sampling"]["total"].as_u64().unwrap()
    );

    let speedscope = run.join("profile.speedscope.json");
    assert_valid_speedscope(&speedscope);
    let told = read("speedscope", &speedscope);
    same(&functions(&told), &exact, "speedscope");
    assert_eq!(told["units"], serde_json::json!(["none"]));
    assert_threads(&told);

    let told = read("firefox", &run.join("profile.firefox.json.gz"));
    same(&functions(&told), &exact, "firefox");
    assert_threads(&told);
    assert_categories(&told);
    let duration_ms = summary["duration_s"].as_f64().unwrap() * 1e3;
    let end_ms = told["end_ms"].as_f64().unwrap();
    assert!(
        end_ms > 0.3 * duration_ms && end_ms <= duration_ms,
        "{end_ms} of {duration_ms} ms"
    );

    let file = run.join("profile.pb.gz");
    let Some(found) = pprof_functions("samples", &file) else {
        return;
    };
    same(&found, &of_folded(&folded, without_line), "pprof");
    let lines = pprof(
        &["-top", "-lines", "-nodecount=100000", "-nodefraction=0"],
        &file,
    )
    .unwrap();
    let program = home.path().join("program.py");
    let line = format!("{}:{}", program.display(), 1 + line_of("sum(i"));
    assert!(lines.contains(&line), "{line} is not in {lines}");
    let raw = pprof(&["-raw"], &file).unwrap();
    assert!(
        raw.contains(" kernel ") || summary["sampling"]["kernel_frames"] == false,
        "{raw}"
    );
    assert!(
        raw.contains("thread:[raptors-") && raw.contains(": 0x0/0x0/0x0 raptors/"),
        "{raw}"
    );
}

fn line_of(text: &str) -> usize {
    PROGRAM
        .lines()
        .position(|line| line.contains(text))
        .unwrap()
}

/// Every file that the summary lists is there, and nothing else.
fn assert_outputs(run: &Path, summary: &Value) {
    let outputs = summary["outputs"].as_object().unwrap();
    let kinds: Vec<&String> = outputs.keys().collect();
    assert_eq!(
        kinds,
        [
            "firefox",
            "flamegraph",
            "folded",
            "pprof",
            "samples",
            "speedscope"
        ]
    );
    let processes = summary["processes"].as_array().unwrap().iter();
    let mut listed: Vec<&str> = processes
        .flat_map(|process| process["outputs"].as_object().unwrap().values())
        .chain(outputs.values())
        .map(|file| file.as_str().unwrap())
        .chain(["summary.json"])
        .collect();
    listed.sort_unstable();
    let there = std::fs::read_dir(run).unwrap();
    let mut there: Vec<String> = there
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort_unstable();
    assert_eq!(there, listed);
}

fn assert_valid_speedscope(file: &Path) {
    let schema = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/speedscope.schema.json"
    );
    let mut schemas = boon::Schemas::new();
    let index = boon::Compiler::new().compile(schema, &mut schemas).unwrap();
    let mut document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    if let Err(error) = schemas.validate(&document, index) {
        panic!("{error:#}");
    }
    document["profiles"][0]["weights"] = Value::from("many");
    assert!(
        schemas.validate(&document, index).is_err(),
        "the schema refuses what is wrong"
    );
}

/// Two Python threads and the worker that helps both.
fn assert_threads(told: &Value) {
    let threads = told["threads"].as_array().unwrap();
    let workers = threads
        .iter()
        .filter(|name| name.as_str().unwrap().contains("raptors-"));
    assert_eq!(workers.count(), 1, "{threads:?}");
    assert!(threads.len() >= 3, "{threads:?}");
}

fn assert_categories(told: &Value) {
    let categories = told["categories"].as_object().unwrap();
    for (name, category) in categories {
        let expected = match name.as_str() {
            name if name.starts_with("[worker ") => "Worker thread",
            name if name.starts_with('[') => continue,
            name if name.ends_with(" [kernel]") => "Kernel",
            name if name.ends_with(']') => "Native",
            _ => "Python",
        };
        assert_eq!(category, expected, "{name}");
    }
}
