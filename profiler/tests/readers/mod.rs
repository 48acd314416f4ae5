//! Readers of profiles that are not ours: Go's pprof, inferno, and a script by the documentation of speedscope and the Firefox Profiler.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::common::{stderr, stdout};

/// What each function has at the leaf and anywhere.
pub type Functions = BTreeMap<String, (u64, u64)>;

/// The functions of folded stacks; `name` says what a frame is called elsewhere.
pub fn of_folded(folded: &str, name: impl Fn(&str) -> String) -> Functions {
    let mut functions = Functions::new();
    for line in folded.lines() {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        let weight: u64 = weight.parse().unwrap();
        let frames: Vec<String> = stack.split(';').map(&name).collect();
        functions
            .entry(frames.last().unwrap().clone())
            .or_default()
            .0 += weight;
        for frame in frames.into_iter().collect::<BTreeSet<_>>() {
            functions.entry(frame).or_default().1 += weight;
        }
    }
    functions
}

/// A Python frame without its line, as pprof has it: the line stands for itself there.
pub fn without_line(frame: &str) -> String {
    let parts = frame
        .strip_suffix(')')
        .and_then(|frame| frame.rsplit_once(':'));
    match parts {
        Some((function, line)) if line.parse::<u32>().is_ok() => format!("{function})"),
        _ => frame.to_owned(),
    }
}

/// What read_formats.py says of a file.
pub fn read(kind: &str, file: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_formats.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(kind)
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The functions as folded stacks name them: `;` separates frames there, so that `[usize; 4]` is written `[usize: 4]`.
pub fn as_folded(functions: &Functions) -> Functions {
    let renamed = functions
        .iter()
        .map(|(name, counted)| (name.replace(';', ":"), *counted));
    renamed.collect()
}

/// The functions that read_formats.py found.
pub fn functions(read: &Value) -> Functions {
    let functions = read["functions"].as_object().unwrap().iter();
    functions
        .map(|(name, counted)| {
            let [own, total] = [0, 1].map(|at| counted[at].as_u64().unwrap());
            (name.clone(), (own, total))
        })
        .collect()
}

/// What `go tool pprof` says. Without Go a test is skipped; in CI that is a failure.
pub fn pprof(arguments: &[&str], file: &Path) -> Option<String> {
    let output = Command::new("go")
        .args(["tool", "pprof", "-symbolize=local"])
        .args(arguments)
        .arg(file)
        .env("PPROF_TMPDIR", file.parent().unwrap())
        .output();
    let Ok(output) = output else {
        let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!ci, "CI skips no test: apt-get install golang-go");
        eprintln!("skipped: there is no go tool pprof");
        return None;
    };
    assert!(output.status.success(), "{}", stderr(&output));
    Some(stdout(&output))
}

/// The functions that `go tool pprof -top` shows of one sample type.
pub fn pprof_functions(sample_type: &str, file: &Path) -> Option<Functions> {
    let index = format!("-sample_index={sample_type}");
    let all = ["-top", "-nodecount=1000000", "-nodefraction=0", &index];
    let text = pprof(&all, file)?;
    let rows = text
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("flat"));
    let row = |line: &str| {
        let mut rest = line.trim_start();
        let mut columns = Vec::new();
        for _ in 0..5 {
            let (column, after) = rest.split_once(' ').unwrap();
            columns.push(column.to_owned());
            rest = after.trim_start();
        }
        let number = |at: usize| columns[at].parse::<u64>().unwrap();
        (rest.to_owned(), (number(0), number(3)))
    };
    Some(rows.skip(1).map(row).collect())
}

/// How much inferno counts in folded stacks.
pub fn inferno_total(folded: &str) -> u64 {
    let mut options = inferno::flamegraph::Options::default();
    let mut svg = Vec::new();
    inferno::flamegraph::from_lines(&mut options, folded.lines(), &mut svg).unwrap();
    let svg = String::from_utf8(svg).unwrap();
    let (_, rest) = svg.split_once("<title>all (").unwrap();
    let (count, _) = rest.split_once(" samples").unwrap();
    count.replace(',', "").parse().unwrap()
}
