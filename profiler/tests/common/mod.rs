//! What the tests of the command line share: the binary, interpreters, and stand-ins for the modules that it measures.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

pub mod seccomp;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes so long, on however slow a machine.
pub const FOREVER: Duration = Duration::from_secs(60);

/// A numpy that burns a millisecond a call, and does on the way what the test is about.
const FAKE_NUMPY: &str = r#"
import os, subprocess, sys, time
__version__ = "0.0"
FIRST = None

def report(name):
    with open(os.environ["FAKE_DIR"] + "/" + name, "w") as file:
        file.write(str(os.getpid()))

def hang():
    child = subprocess.Popen(["sleep", "1000"])
    with open(os.environ["FAKE_DIR"] + "/child", "w") as file:
        file.write(str(child.pid))
    report("reached")
    while True:
        time.sleep(1)

def act(when):
    if os.environ.get("FAKE_WHEN") == when:
        exec(os.environ["FAKE_ACT"])

class Array:
    def sum(self, axis=None):
        global FIRST
        FIRST = FIRST or time.monotonic()
        act("call")
        if time.monotonic() > FIRST + float(os.environ.get("FAKE_AFTER", "1e9")):
            act("late")
        end = time.monotonic() + 0.001
        while time.monotonic() < end:
            pass

class Generator:
    def random(self, size, dtype):
        return Array()

class random:
    default_rng = staticmethod(lambda seed: Generator())

def asarray(array):
    return array

act("import")
"#;

/// `raptors-prof` with a clean environment.
pub fn raptors_prof(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raptors-prof"));
    command.current_dir(directory).stdin(Stdio::null());
    for variable in ["RAPTORS_THREADS", "RAPTORS_SIMD", "VIRTUAL_ENV"] {
        command.env_remove(variable);
    }
    command
}

/// A cell that the fake numpy has, without the backend.
pub const FAKE_CELL: [&str; 6] = ["--op", "sum", "--shape", "8", "--dtype", "float64"];

/// `raptors-prof` on the fake numpy alone, with its result in `run`.
pub fn fake_numpy(directory: &Path, when: &str, act: &str) -> Command {
    let mut command = with_fake_numpy(directory);
    command
        .args(FAKE_CELL)
        .args(["--backend", "numpy", "--out", "run"]);
    command.env("FAKE_WHEN", when).env("FAKE_ACT", act);
    command
}

/// `raptors-prof` where the fake numpy is found before any other.
pub fn with_fake_numpy(directory: &Path) -> Command {
    let package = directory.join("fake/numpy");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(package.join("__init__.py"), FAKE_NUMPY).unwrap();
    let mut command = raptors_prof(directory);
    command
        .env("PYTHONPATH", directory.join("fake"))
        .env("FAKE_DIR", directory);
    command
}

/// Says that a test was skipped as this machine denies perf events. In CI that is a failure, unless it is known.
pub fn skip_denied(reason: &str) {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|set| set == value);
    assert!(
        !is("CI", "true") || is("RAPTORS_PROF_ALLOW_DENIED", "1"),
        "CI skips no test, unless RAPTORS_PROF_ALLOW_DENIED=1: {reason}"
    );
    eprintln!("skipped: {reason}");
}

/// The interpreter with numpy and raptors. Without one, a test is skipped; in CI, it fails.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("RAPTORS_PROF_PYTHON").map(PathBuf::from);
    if python.is_none() {
        let reason =
            "RAPTORS_PROF_PYTHON names no interpreter with numpy and raptors (make test sets it)";
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "CI skips no test: {reason}"
        );
        eprintln!("skipped: {reason}");
    }
    python
}

/// An interpreter without any installed package.
pub fn bare_python(directory: &Path) -> PathBuf {
    script(directory, "bare-python", "exec python3 -S \"$@\"")
}

/// An executable shell script.
pub fn script(directory: &Path, name: &str, body: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

pub fn temporary() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asserts the exit code and that stderr has `text`.
pub fn assert_fails(output: &Output, code: i32, text: &str) {
    let stderr = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(text), "{text:?} is not in: {stderr}");
}

/// Asserts that a run ended well: 0, or 3 where this machine denies perf events and the run says so.
pub fn assert_done(output: &Output) {
    let stderr = stderr(output);
    match output.status.code() {
        Some(0) => {}
        Some(3) if stderr.contains("no profile") || stderr.contains("no counters") => {
            skip_denied(&stderr);
        }
        code => panic!("exit {code:?}: {stderr}"),
    }
}

pub fn summary(run: &Path) -> Value {
    let path = run.join("summary.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Asserts that `summary` is what docs/summary.schema.json says.
pub fn assert_valid(summary: &Value) {
    assert_valid_as("summary.schema.json", summary);
}

/// Asserts that `summary` is what docs/record.schema.json says.
pub fn assert_valid_recording(summary: &Value) {
    assert_valid_as("record.schema.json", summary);
}

/// Asserts that `document` is what this schema in docs/ says.
pub fn assert_valid_as(schema: &str, document: &Value) {
    if let Err(error) = validate_against(schema, document) {
        panic!("{error}");
    }
}

/// Where `summary` differs from docs/summary.schema.json.
pub fn validate(summary: &Value) -> Result<(), String> {
    validate_against("summary.schema.json", summary)
}

fn validate_against(schema: &str, summary: &Value) -> Result<(), String> {
    let schema = format!("{}/../docs/{schema}", env!("CARGO_MANIFEST_DIR"));
    let mut schemas = boon::Schemas::new();
    let index = boon::Compiler::new()
        .compile(&schema, &mut schemas)
        .unwrap();
    schemas
        .validate(summary, index)
        .map_err(|error| format!("{error:#}"))
}

/// Samples of folded stacks that have these parts in this order.
pub fn samples(folded: &str, parts: &[&str]) -> u64 {
    let has = |stack: &str| {
        parts
            .iter()
            .try_fold(stack, |rest, part| Some(rest.split_once(part)?.1))
            .is_some()
    };
    let lines = folded.lines().map(|line| line.rsplit_once(' ').unwrap());
    lines
        .filter(|(stack, _)| has(stack))
        .map(|(_, samples)| samples.parse::<u64>().unwrap())
        .sum()
}

/// Waits until `condition` holds.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + FOREVER;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process id that the fake numpy left in a file.
pub fn reported(directory: &Path, name: &str) -> u32 {
    let path = directory.join(name);
    let read = || {
        std::fs::read_to_string(&path)
            .ok()
            .and_then(|text| text.parse().ok())
    };
    wait_for(name, || read().is_some());
    read().unwrap()
}

/// Whether a process runs; one that only waits for its parent to notice its end does not.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Sends a signal by name to one process.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Starts a command with its output captured.
pub fn spawn(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}
