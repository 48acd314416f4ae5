//! The habits of a terminal: colours, progress, completions, manual pages, examples.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{assert_fails, raptors_prof, stderr, stdout, temporary, with_fake_numpy};

const BINARY: &str = env!("CARGO_BIN_EXE_raptors-prof");
const COMMANDS: [&str; 9] = [
    "suite",
    "compare",
    "validate",
    "record",
    "attach",
    "report",
    "doctor",
    "completions",
    "man",
];

/// Runs a shell command on a terminal of its own, as `script` makes it; its stdout is what the terminal shows.
fn on_terminal(command: &mut Command, line: &str) -> Output {
    let mut script = Command::new("script");
    script
        .args(["-qec", line, "/dev/null"])
        .stdin(Stdio::null())
        .current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    // In CI a dumb terminal is taken for one that shows colours in its log.
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        script.env_remove(variable);
    }
    script.env("TERM", "xterm").output().unwrap()
}

fn has_colours(text: &str) -> bool {
    text.contains("\x1b[")
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let home = temporary();
    for arguments in ["--help", "doctor --python /bin/true"] {
        let shown = |before: &str, after: &str| {
            let line = format!("{before} '{BINARY}' {arguments} {after}");
            let output = on_terminal(&mut raptors_prof(home.path()), &line);
            assert!(!output.stdout.is_empty());
            stdout(&output)
        };
        assert!(has_colours(&shown("", "")), "{arguments}");
        assert!(!has_colours(&shown("NO_COLOR=1", "")), "{arguments}");
        assert!(!has_colours(&shown("TERM=dumb", "")), "{arguments}");
        assert!(!has_colours(&shown("", "| cat")), "{arguments}");
    }
}

#[test]
fn progress_is_for_terminals_and_never_in_json() {
    let home = temporary();
    let job =
        "--op sum --shape 8 --dtype float64 --backend numpy --max-time 1 --min-samples 0 --json";
    let run = |out: &str, rest: &str| {
        let line = format!("'{BINARY}' {job} -o {out} {rest}");
        let output = on_terminal(&mut with_fake_numpy(home.path()), &line);
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{}",
            stdout(&output)
        );
        stdout(&output)
    };
    let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
    // Errors on the terminal, JSON in a file: the line of progress is seen, and the file has nothing of it.
    let shown = run("a", "> json");
    assert!(shown.contains("timing"), "{shown:?}");
    assert!(is_json(&read(home.path(), "json")));
    // JSON on the terminal.
    let shown = run("b", "2> errors");
    assert!(is_json(&shown), "{shown}");
    let errors = read(home.path(), "errors");
    assert!(
        !errors.contains("timing") && !errors.contains('\r'),
        "{errors:?}"
    );
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap()
}

#[test]
fn every_command_has_an_example_that_names_it() {
    let home = temporary();
    for command in COMMANDS {
        let output = raptors_prof(home.path())
            .args([command, "--help"])
            .output()
            .unwrap();
        let help = stdout(&output);
        let (_, examples) = help.split_once("\nExample").unwrap();
        assert!(
            examples.contains(&format!("raptors-prof {command}")),
            "{help}"
        );
        if ["suite", "validate", "record", "attach"].contains(&command) {
            let headings = ["\nWhat is ", "\nHow:\n", "\nOutput:\n"];
            let places = headings.map(|heading| help.find(heading).unwrap());
            assert!(places.is_sorted(), "{help}");
        }
    }
    let help = raptors_prof(home.path()).arg("--help").output().unwrap();
    let help = stdout(&help);
    assert!(help.contains("\nExamples:\n  raptors-prof --op"), "{help}");
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
    }
}

#[test]
fn bash_completes_commands_options_and_values() {
    let home = temporary();
    let script = raptors_prof(home.path())
        .args(["completions", "bash"])
        .output()
        .unwrap();
    assert_eq!(script.status.code(), Some(0));
    std::fs::write(home.path().join("completions"), &script.stdout).unwrap();
    let complete = |words: &[&str]| {
        let line = format!(
            "source ./completions; function=$(complete -p raptors-prof | sed 's/.* -F \\([^ ]*\\) .*/\\1/'); \
             COMP_WORDS=({}); COMP_CWORD={}; $function raptors-prof '{}' '{}'; echo \"${{COMPREPLY[*]}}\"",
            words.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let mut bash = Command::new("bash");
        let output = bash.args(["-c", &line]).current_dir(home.path()).output();
        stdout(&output.unwrap()).trim().to_owned()
    };
    assert_eq!(complete(&["raptors-prof", "doc"]), "doctor");
    assert_eq!(complete(&["raptors-prof", "doctor", "--py"]), "--python");
    assert_eq!(
        complete(&["raptors-prof", "--dtype", "fl"]),
        "float32 float64"
    );
}

#[test]
fn fish_completes_commands_options_and_values() {
    if Command::new("fish").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"));
        eprintln!("skipped: fish is missing: apt-get install fish");
        return;
    }
    let home = temporary();
    let script = raptors_prof(home.path())
        .args(["completions", "fish"])
        .output()
        .unwrap();
    std::fs::write(home.path().join("completions"), &script.stdout).unwrap();
    let complete = |line: &str| {
        let mut fish = Command::new("fish");
        let line = format!("source completions; complete -C 'raptors-prof {line}'");
        let output = fish
            .args(["--no-config", "-c", &line])
            .env("HOME", home.path())
            .current_dir(home.path())
            .output();
        let words = stdout(&output.unwrap());
        let words = words.lines().filter_map(|line| line.split('\t').next());
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(complete("doc"), "doctor");
    assert_eq!(complete("--dt"), "--dtype");
    assert_eq!(complete("--op sum --dt"), "--dtype");
    assert_eq!(complete("--dtype fl"), "float32 float64");
    assert_eq!(complete("doctor --py"), "--python");
    assert_eq!(complete("suite --op sum --dtype fl"), "float32 float64");
}

#[test]
fn each_shell_gets_a_script_and_an_unknown_one_an_error() {
    let home = temporary();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = raptors_prof(home.path())
            .args(["completions", shell])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(stdout(&output).contains("doctor"), "{shell}");
    }
    let output = raptors_prof(home.path())
        .args(["completions", "tcsh"])
        .output()
        .unwrap();
    assert_fails(&output, 2, "possible values: bash");
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let home = temporary();
    let page = raptors_prof(home.path()).arg("man").output().unwrap();
    assert!(stdout(&page).contains(".TH raptors-prof 1"));
    let write = |directory: &str| {
        let mut command = raptors_prof(home.path());
        command.args(["man", "--out", directory]).output().unwrap()
    };
    assert_fails(&write("none"), 2, "existing directory");
    std::fs::create_dir(home.path().join("man1")).unwrap();
    let written = write("man1");
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    assert_eq!(read(home.path(), "man1/raptors-prof.1"), stdout(&page));
    for command in COMMANDS {
        let page = read(home.path(), &format!("man1/raptors-prof-{command}.1"));
        assert!(
            page.contains(&format!("raptors\\-prof {command}")),
            "{page}"
        );
    }
}
