//! The documentation is true: its commands run, its options exist, its links lead somewhere, its reference is that of this build.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;
mod pages;
mod reference;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::error::ErrorKind;
use common::{python, script, skip_denied, stderr, stdout, temporary};
use pages::{Block, Mark, Page, pages, root};

/// A program for pages that profile `app.py`: for three seconds it computes, makes fresh pages and waits.
const APP: &str = "\
import time

end = time.monotonic() + 3
while time.monotonic() < end:
    sum(len(bytes([i % 256]) * 100000) for i in range(300))
    time.sleep(0.005)
";

/// A reader measures for longer: here a command that says nothing of its time gets three seconds.
const HURRIED: &str = r#"
case " $* " in
    *" --max-time "* | *" --resume "*) ;;
    *) case "$1" in --op | suite | validate) set -- "$@" --max-time 3 ;; esac ;;
esac
"#;

/// Longer than any block takes on however slow a machine.
const FOREVER: &str = "300";

#[test]
fn the_commands_of_every_page_run() {
    let Some(python) = python() else { return };
    let mut wrong = Vec::new();
    for page in pages() {
        wrong.extend(run(&page, &python));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Runs the blocks of a page, one after the other, in one scratch directory.
fn run(page: &Page, python: &Path) -> Vec<String> {
    let home = temporary();
    let path = equip(home.path(), python);
    let mut wrong = Vec::new();
    for block in page.blocks() {
        let expected = match &block.mark {
            Some(Mark::File(name)) => {
                fs::write(home.path().join(name), &block.text).unwrap();
                continue;
            }
            Some(Mark::NotRun(_)) => continue,
            _ if !block.is_shell() => continue,
            Some(Mark::Exits(code)) => *code,
            None => 0,
        };
        if let Err(told) = run_block(home.path(), &path, &block, expected) {
            wrong.push(format!("{}:{}: {told}", page.name, block.line));
        }
    }
    wrong
}

/// Puts into the scratch directory what the pages take for granted. Gives the PATH on which `raptors-prof` and `python3` are.
fn equip(home: &Path, python: &Path) -> OsString {
    let link = |to: &Path, name| std::os::unix::fs::symlink(to, home.join(name)).unwrap();
    link(&root().join("docs"), "docs");
    link(python.parent().and_then(Path::parent).unwrap(), ".venv");
    fs::write(home.join("app.py"), APP).unwrap();
    fs::create_dir(home.join("bin")).unwrap();
    let binary = env!("CARGO_BIN_EXE_raptors-prof");
    script(
        &home.join("bin"),
        "raptors-prof",
        &format!("{HURRIED}exec '{binary}' \"$@\""),
    );
    let mut directories = vec![home.join("bin"), python.parent().unwrap().to_owned()];
    directories.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    std::env::join_paths(directories).unwrap()
}

fn run_block(home: &Path, path: &OsString, block: &Block, expected: i32) -> Result<(), String> {
    let mut command = Command::new("timeout");
    for variable in ["RAPTORS_THREADS", "RAPTORS_SIMD", "VIRTUAL_ENV"] {
        command.env_remove(variable);
    }
    let output = command
        .args([FOREVER, "bash", "-euo", "pipefail", "-c", &block.script()])
        .current_dir(home)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = (stdout(&output), stderr(&output));
    match output.status.code() {
        Some(code) if code == expected => Ok(()),
        // Noise hides a difference on some machines: that is no wrong command.
        Some(0) if expected == 1 && stdout.contains(" 1 inconclusive") => Ok(()),
        Some(3) => {
            skip_denied(&stderr);
            Ok(())
        }
        code => Err(format!(
            "exit {code:?} instead of {expected}\n{}{stdout}{stderr}",
            block.script()
        )),
    }
}

#[test]
fn every_command_of_every_page_has_options_that_exist() {
    let mut wrong = Vec::new();
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.has_commands()) {
            for arguments in block.commands() {
                if let Err(told) = parses(&arguments) {
                    wrong.push(format!("{}:{}: {told}", page.name, block.line));
                }
            }
        }
        for span in page.prose().split('`').skip(1).step_by(2) {
            if !span.starts_with("raptors-prof ") {
                continue;
            }
            for told in pages::invocations(span)
                .iter()
                .filter_map(|words| options_exist(words).err())
            {
                wrong.push(format!("{}: `{span}`: {told}", page.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the command line is one that raptors-prof takes. Of one that is shortened by `…`, the options are looked up.
fn parses(arguments: &[String]) -> Result<(), String> {
    if arguments.iter().any(|word| word == "…") {
        return options_exist(arguments);
    }
    let words = std::iter::once("raptors-prof").chain(arguments.iter().map(String::as_str));
    match raptors_prof::cli::command().try_get_matches_from(words) {
        Err(error)
            if ![ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&error.kind()) =>
        {
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default();
            Err(format!("{}: {first}", arguments.join(" ")))
        }
        _ => Ok(()),
    }
}

/// Whether the command exists and has these options, whatever their values.
fn options_exist(arguments: &[String]) -> Result<(), String> {
    let whole = raptors_prof::cli::command();
    let first = arguments.first().map_or("", String::as_str);
    let command = match whole.find_subcommand(first) {
        Some(command) => command,
        None if first.starts_with('-') || first == "…" => &whole,
        None => return Err(format!("there is no command {first:?}")),
    };
    let long: Vec<&str> = command
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .collect();
    for word in arguments.iter().take_while(|word| *word != "--") {
        let Some(option) = word.strip_prefix("--") else {
            continue;
        };
        let name = option.split('=').next().unwrap();
        if !long.contains(&name) && !["help", "version"].contains(&name) {
            return Err(format!("there is no option --{name}"));
        }
    }
    Ok(())
}

#[test]
fn shell_blocks_are_marked_as_such_and_say_why_they_are_not_run() {
    for page in pages() {
        for block in page.blocks() {
            let place = format!("{}:{}", page.name, block.line);
            let others = ["", "bash", "shell", "shell-session", "zsh"];
            assert!(
                !others.contains(&block.language.as_str()),
                "{place}: commands are marked sh or console, anything else as what it is"
            );
            if let Some(Mark::NotRun(reason)) = &block.mark {
                assert!(block.is_shell() && reason.len() > 10, "{place}: {reason:?}");
            }
        }
    }
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let pages = pages();
    let mut dead = Vec::new();
    for page in &pages {
        for link in links(page) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                root().join(&page.name)
            } else {
                page.directory().join(file)
            };
            let found = target.canonicalize().is_ok_and(|target| {
                let is = |other: &&Page| root().join(&other.name) == target;
                match pages.iter().find(is) {
                    Some(other) if !anchor.is_empty() => {
                        other.anchors().iter().any(|a| a == anchor)
                    }
                    _ => true,
                }
            });
            if !found {
                dead.push(format!("{}: {link}", page.name));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

/// Targets in this repository.
fn links(page: &Page) -> Vec<String> {
    let prose = page.prose();
    let targets = prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let here = targets.filter(|target| !target.contains("://"));
    here.map(str::to_owned).collect()
}

#[test]
fn the_table_of_contents_has_every_page_once() {
    let pages = pages();
    let contents = pages
        .iter()
        .find(|page| page.name == "docs/SUMMARY.md")
        .unwrap();
    let mut listed = links(contents);
    listed.sort();
    let names = pages
        .iter()
        .filter_map(|page| page.name.strip_prefix("docs/"));
    let there: Vec<&str> = names.filter(|name| *name != "SUMMARY.md").collect();
    assert_eq!(listed, there);
}

#[test]
fn the_references_are_those_of_this_build() {
    let written: [(&str, String); 2] = [
        ("cli.md", reference::command_line()),
        ("summary.md", reference::summary()),
    ];
    for (name, text) in written {
        let path: PathBuf = root().join("docs").join(name);
        if std::env::var_os("RAPTORS_PROF_WRITE_DOCS").is_some_and(|set| set == "1") {
            fs::write(&path, &text).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "docs/{name} is not that of this build: make docs writes it"
        );
    }
}
