//! Functions that the compiler inlined, in the profile of a real C program.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{assert_valid_recording, raptors_prof, samples, stderr, summary, temporary};

/// All of its time is spent in `spin`, which has no call of its own.
const PROGRAM: &str = r#"
#include <time.h>
static volatile unsigned total;
static inline __attribute__((always_inline)) void spin(unsigned rounds) {
    for (unsigned round = 0; round < rounds; round++)
        total += round;
}
__attribute__((noinline)) void caller(void) {
    spin(1000000);
}
int main(void) {
    clock_t end = clock() + CLOCKS_PER_SEC / 2;
    while (clock() < end)
        caller();
}
"#;

/// Runs a build tool in `directory`; false where the machine lacks it.
fn tool(directory: &Path, name: &str, arguments: &[&str]) -> bool {
    let status = Command::new(name)
        .args(arguments)
        .current_dir(directory)
        .status();
    match status {
        Ok(status) => assert!(status.success(), "{name} {arguments:?}"),
        Err(_) => eprintln!("skipped: there is no {name}"),
    }
    status.is_ok()
}

fn compile(directory: &Path) -> bool {
    std::fs::write(directory.join("burn.c"), PROGRAM).unwrap();
    let flags = ["-g", "-O2", "-Wl,--build-id", "-o", "burn", "burn.c"];
    tool(directory, "cc", &flags)
}

/// The folded stacks of the program; `None` where sampling is denied here.
fn folded(directory: &Path) -> Option<String> {
    let output = raptors_prof(directory)
        .args(["record", "-o", "run", "--", "./burn"])
        .output()
        .unwrap();
    if output.status.code() == Some(3) {
        eprintln!("skipped: {}", stderr(&output));
        return None;
    }
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    Some(std::fs::read_to_string(directory.join("run/profile.folded")).unwrap())
}

#[test]
fn an_inlined_function_stands_under_its_caller() {
    let home = temporary();
    if !compile(home.path()) {
        return;
    }
    let Some(folded) = folded(home.path()) else {
        return;
    };
    assert!(
        samples(&folded, &[";caller [burn];spin [burn]"]) > 200,
        "{folded}"
    );
}

#[test]
fn the_hottest_line_is_told_with_its_file() {
    let home = temporary();
    if !compile(home.path()) || folded(home.path()).is_none() {
        return;
    }
    let summary = summary(&home.path().join("run"));
    assert_valid_recording(&summary);
    let hottest = &summary["lines"][0];
    let file = Path::new(hottest["file"].as_str().unwrap());
    assert_eq!(
        file.canonicalize().unwrap(),
        home.path().join("burn.c").canonicalize().unwrap()
    );
    let line = PROGRAM
        .lines()
        .nth(hottest["line"].as_u64().unwrap() as usize - 1);
    let text = line.unwrap();
    assert!(
        text.contains("total += round") || text.contains("for (unsigned round"),
        "{text}"
    );
    assert!(hottest["self"].as_f64().unwrap() > 0.3, "{hottest}");
    assert!(hottest["total"].as_f64() >= hottest["self"].as_f64());
}

#[test]
fn so_it_does_where_programs_share_their_debug_information() {
    let home = temporary();
    let tool = |name, arguments: &[&str]| tool(home.path(), name, arguments);
    let there = compile(home.path())
        && tool("cp", &["burn", "other"])
        && tool("dwz", &["-m", "shared.debug", "burn", "other"]);
    let Some(folded) = there.then(|| folded(home.path())).flatten() else {
        return;
    };
    assert!(
        samples(&folded, &[";caller [burn];spin [burn]"]) > 200,
        "{folded}"
    );
}

#[test]
fn so_it_does_where_a_debug_file_has_what_the_program_lacks() {
    let home = temporary();
    let split = |name, arguments: &[&str]| tool(home.path(), name, arguments);
    let there = compile(home.path())
        && split("objcopy", &["--only-keep-debug", "burn", "burn.debug"])
        && split(
            "objcopy",
            &["--strip-all", "--add-gnu-debuglink=burn.debug", "burn"],
        );
    let Some(folded) = there.then(|| folded(home.path())).flatten() else {
        return;
    };
    assert!(
        samples(&folded, &[";caller [burn];spin [burn]"]) > 200,
        "{folded}"
    );
}
