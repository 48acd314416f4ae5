//! Records a real Python process whose stacks are known, through the library.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use raptors_prof::profile::Profile;
use raptors_prof::recording::Recorder;
use raptors_prof::worker::Window;

/// Says that it is there before it starts threads, and works once it is told to.
const PROGRAM: &str = r#"
import sys, threading, zlib
print("here", flush=True)
sys.stdin.readline()
data = bytes(range(256)) * 4096

def op():
    return zlib.crc32(data)

def key(item):
    return zlib.crc32(data) + item

def callback():
    return sorted(range(8), key=key)

def nest(depth=30):
    return sorted((depth - 1,), key=nest) if depth else [op() for _ in range(50)]

def short(depth=7):
    def key(_):
        return short(depth - 1) if depth else op_of_microseconds()
    return sorted((1,), key=key)

def op_of_microseconds():
    return sum(range(500))

def run(work):
    while True:
        work()

if sys.argv[1] == "threads":
    threading.Thread(target=run, args=(callback,), daemon=True).start()
print("working", flush=True)
run({"callback": callback, "deep": nest, "short": short}.get(sys.argv[1], op))
"#;

/// Two Python threads whose parallel work shares the workers of one pool, in turn: the other one waits, so that a CPU is left for them.
const TWO_CALLERS: &str = r#"
import sys, threading
print("here", flush=True)
sys.stdin.readline()
import numpy, raptors
a = numpy.ones((2048, 2048), numpy.float32)

turns = [threading.Semaphore(1), threading.Semaphore(0)]

def adder(out):
    while True:
        turns[0].acquire()
        for _ in range(20):
            raptors.broadcast_add(a, a[0], out=out)
        turns[1].release()

def multiplier(out):
    while True:
        turns[1].acquire()
        for _ in range(20):
            raptors.multiply(a, a, out=out)
        turns[0].release()

threading.Thread(target=adder, args=(numpy.empty_like(a),), daemon=True).start()
print("working", flush=True)
multiplier(numpy.empty_like(a))
"#;

/// Two functions that share the time as they share the calls: 7 to 3, or 3 to 2 of parallel work, in rounds of random length, which are
/// never in step with the sampling.
const SPLIT: &str = r#"
import random, sys, zlib
print("here", flush=True)
sys.stdin.readline()
if sys.argv[1] == "parallel":
    import numpy, raptors
    a = numpy.ones((2048, 2048), numpy.float32)
    out = numpy.empty_like(a)
    large, small = 3, 2
    def call():
        raptors.broadcast_add(a, a[0], out=out)
else:
    data = bytes(1 << 20)
    large, small = 7, 3
    def call():
        zlib.crc32(data)

def larger(times):
    for _ in range(large * times):
        call()

def smaller(times):
    for _ in range(small * times):
        call()

print("working", flush=True)
while True:
    times = random.randint(1, 9)
    larger(times)
    smaller(times)
"#;

struct Target(Child);

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python() -> String {
    std::env::var("RAPTORS_PROF_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// One program at a time: workers need a CPU beside their caller's.
static ALONE: Mutex<()> = Mutex::new(());

/// Samples inside the op that are waited for.
const SAMPLES: u64 = 400;

/// The profile of some hundred samples of a program, or `None` where sampling is denied here.
fn record(program: &str, kind: &str, op: &str) -> Option<Profile> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut child = Command::new(python())
        .args(["-c", program, kind])
        .env("RAPTORS_THREADS", "4")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
    let target = Target(child);
    let mut lines = BufReader::new(stdout).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "here");
    let mut recorder = match Recorder::open(target.0.id(), 997) {
        Err(error) if error.is_denial() => {
            common::skip_denied(&error.to_string());
            return None;
        }
        outcome => outcome.unwrap(),
    };
    writeln!(stdin.unwrap(), "go").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "working");
    recorder.start(op).unwrap();
    let patience = Instant::now();
    while recorder.in_op() < SAMPLES && patience.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(
        recorder
            .finish(&[Window {
                start_ns: 0,
                end_ns: u64::MAX,
            }])
            .unwrap(),
    )
}

/// Share of samples whose stack holds these frames in this order (each a prefix of a frame's name).
fn share(profile: &Profile, frames: &[&str]) -> f64 {
    let (mut with, mut all) = (0, 0);
    profile.stacks.for_each(|stack, samples| {
        let mut wanted = frames.iter().peekable();
        for frame in stack {
            wanted.next_if(|name| frame.name.starts_with(**name));
        }
        all += samples;
        with += if wanted.peek().is_none() { samples } else { 0 };
    });
    with as f64 / all as f64
}

#[test]
fn python_frames_come_before_the_native_frames_that_they_call() {
    let Some(profile) = record(PROGRAM, "plain", "op") else {
        return;
    };
    let sampling = &profile.sampling;
    assert!(sampling.in_op >= 200, "{sampling:?}");
    assert_eq!(sampling.lost, 0);
    assert!(sampling.merged_ratio > 0.9, "{sampling:?}");
    assert!(sampling.unwound_ratio > 0.9, "{sampling:?}");
    assert!(
        share(&profile, &["<module>", "run (", "op (", "zlib_crc32"]) > 0.9,
        "{}",
        profile.folded()
    );
}

#[test]
fn a_callback_from_c_code_nests_as_it_ran() {
    let Some(profile) = record(PROGRAM, "callback", "callback") else {
        return;
    };
    let nested = [
        "<module>",
        "run (",
        "callback (",
        "list_sort",
        "key (",
        "zlib_crc32",
    ];
    assert!(share(&profile, &nested) > 0.9, "{}", profile.folded());
}

#[test]
fn a_stack_that_is_deeper_than_its_copy_is_walked_to_the_root() {
    let Some(profile) = record(PROGRAM, "deep", "op") else {
        return;
    };
    assert!(profile.sampling.unwound_ratio > 0.9);
    let mut nested = vec!["<module>", "run ("];
    nested.extend(["nest (", "list_sort"].repeat(30));
    nested.extend(["nest (", "op (", "zlib_crc32"]);
    assert!(share(&profile, &nested) > 0.9, "{}", profile.folded());
}

/// What is below the copy is soon over, so it can't be read late: the copies have to become longer. Without that the ratio is 0.76 to 0.83.
#[test]
fn a_deep_stack_that_changes_at_once_is_walked_to_the_root() {
    let Some(profile) = record(PROGRAM, "short", "op_of_microseconds") else {
        return;
    };
    assert_eq!(profile.sampling.lost, 0);
    assert!(
        profile.sampling.unwound_ratio > 0.88,
        "{:?}",
        profile.sampling
    );
}

#[test]
fn two_python_threads_have_their_own_stacks() {
    let Some(profile) = record(PROGRAM, "threads", "op") else {
        return;
    };
    assert!(
        profile.sampling.merged_ratio > 0.9,
        "{:?}",
        profile.sampling
    );
    assert!(
        share(&profile, &["<module>", "run (", "op ("]) > 0.2,
        "{}",
        profile.folded()
    );
    assert!(
        share(&profile, &["run (", "callback ("]) > 0.2,
        "{}",
        profile.folded()
    );
    let mixed = [
        ["<module>", "callback ("],
        ["run (", "op ("],
        ["op (", "key ("],
    ]
    .map(|frames| share(&profile, &frames));
    let of_main_thread = share(&profile, &["<module>", "run (", "op ("]);
    assert_eq!(mixed, [0.0, of_main_thread, 0.0], "{}", profile.folded());
}

#[test]
fn workers_stand_under_the_python_thread_that_they_work_for() {
    let Some(profile) = common::python().and_then(|_| record(TWO_CALLERS, "", "multiplier")) else {
        return;
    };
    assert!(
        profile.sampling.joined_workers > 10,
        "{:?}",
        profile.sampling
    );
    let right = [("adder (", "add_row"), ("multiplier (", "multiply_pairs")];
    let wrong = [("adder (", "multiply_pairs"), ("multiplier (", "add_row")];
    let joined = |(caller, kernel): (&str, &str)| {
        let kernel = format!("raptors_kernels::elementwise::{kernel}");
        share(&profile, &[caller, "[worker raptors-", &kernel])
    };
    assert!(
        right.map(joined).iter().all(|share| *share > 0.0),
        "{}",
        profile.folded()
    );
    assert_eq!(wrong.map(joined), [0.0, 0.0], "{}", profile.folded());
}

/// Asserts that `larger` has `expected` of what both functions have, within what chance allows: 4 standard deviations of
/// a share among so many samples, and 2 points for the edges between them.
fn assert_split(profile: &Profile, expected: f64, below: &str) {
    let [larger, smaller] =
        ["larger (", "smaller ("].map(|function| share(profile, &[function, below]));
    let samples = profile.sampling.samples as f64 * (larger + smaller);
    let allowed = 4.0 * (expected * (1.0 - expected) / samples).sqrt() + 0.02;
    let got = larger / (larger + smaller);
    assert!(larger + smaller > 0.9, "{}", profile.folded());
    assert!(
        (got - expected).abs() < allowed,
        "{got} of {samples} samples, not {expected}"
    );
}

#[test]
fn shares_are_those_of_the_time() {
    let Some(profile) = record(SPLIT, "serial", "smaller") else {
        return;
    };
    assert_split(&profile, 0.7, "zlib_crc32");
}

#[test]
fn shares_of_parallel_work_are_those_of_its_callers() {
    let Some(profile) = common::python().and_then(|_| record(SPLIT, "parallel", "smaller")) else {
        return;
    };
    assert!(
        profile.sampling.joined_workers > 10,
        "{:?}",
        profile.sampling
    );
    assert_split(&profile, 0.6, "call (");
}
