//! Python functions that last microseconds: by the time their stack is read they have returned, and yet each must stand over
//! what it called and under what called it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use common::{python, raptors_prof, samples, stderr, summary, temporary};

/// Each function calls one function of C; who calls whom is known.
const PROGRAM: &str = "
import time
numbers = list(range(60)); more = tuple(range(100))
def sorts():
    return sorted(numbers)
def sums():
    return sum(more)
def least():
    return min(more)
def one():
    sums()
    sorts()
def other():
    least()
    sorts()
end = time.process_time() + 2
while time.process_time() < end:
    one()
    other()
";

/// What must stand over what: the function of C and the Python function around it.
const PAIRS: [(&str, &str); 3] = [
    ("builtin_sorted", ";sorts ("),
    ("builtin_sum", ";sums ("),
    ("min_max", ";least ("),
];

#[test]
fn each_stands_over_what_it_calls_and_under_its_caller() {
    let home = temporary();
    let output = raptors_prof(home.path())
        .args(["record", "-o", "run", "--"])
        .arg(python().unwrap_or_else(|| "python3".into()))
        .args(["-c", PROGRAM])
        .output()
        .unwrap();
    if output.status.code() == Some(3) {
        eprintln!("skipped: {}", stderr(&output));
        return;
    }
    let run = home.path().join("run");
    let folded = std::fs::read_to_string(run.join("profile.folded")).unwrap();
    let mut all = 0;
    let mut right = 0;
    for (callee, function) in PAIRS {
        // Where the Python side is marked as unknown it is not wrong.
        all += samples(&folded, &["<module> (", callee]);
        right += samples(&folded, &["<module> (", function, callee]);
    }
    assert!(all >= 500, "{folded}");
    assert!(right * 100 >= all * 97, "{right} of {all}\n{folded}");
    let callers = [(";sums (", ";other ("), (";least (", ";one (")];
    for (function, wrong) in callers {
        let crossed = samples(&folded, &[wrong, function]);
        assert!(crossed * 100 <= all * 3, "{crossed} of {all}\n{folded}");
    }
    let merged = &summary(&run)["sampling"]["merged_ratio"];
    // On a busy machine more looks are late, and what they don't fit is marked.
    assert!(merged.as_f64().unwrap() >= 0.7, "{merged}");
}
