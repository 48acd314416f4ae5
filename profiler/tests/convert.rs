//! `convert`: what it makes of runs and recordings, and what it says of what is none.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;
mod made;
mod readers;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};

use common::{
    FAKE_CELL, assert_done, assert_fails, assert_valid_as, raptors_prof, stderr, stdout, temporary,
    with_fake_numpy,
};
use made::{ALL, profile, store};
use raptors_prof::profile::{Frame, FrameKind};
use raptors_prof::sampling::weight::Unit;
use readers::{as_folded, functions, of_folded, read};
use serde_json::{Value, json};

fn convert(directory: &Path, arguments: &[&str]) -> Output {
    raptors_prof(directory)
        .arg("convert")
        .args(arguments)
        .output()
        .unwrap()
}

fn unpacked(file: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    let packed = std::fs::File::open(file).unwrap();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut text)
        .unwrap();
    text
}

fn pack(file: &Path, text: &[u8]) {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(text).unwrap();
    std::fs::write(file, packed.finish().unwrap()).unwrap();
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_run_is_converted_to_what_it_could_have_written() {
    let home = temporary();
    let mut command = with_fake_numpy(home.path());
    command.args(FAKE_CELL).args([
        "--backend",
        "numpy",
        "--out",
        "run",
        "--max-time",
        "3",
        "--min-samples",
        "50",
    ]);
    let output = command
        .args(["--format", "speedscope,firefox", "--format", "pprof"])
        .output()
        .unwrap();
    assert_done(&output);
    let run = home.path().join("run");
    let summary = common::summary(&run);
    common::assert_valid(&summary);
    if summary["backends"]["numpy"]["sampling"]["status"] != "recorded" {
        return;
    }
    let stored: Value =
        serde_json::from_slice(&unpacked(&run.join("numpy.samples.json.gz"))).unwrap();
    assert_valid_as("samples.schema.json", &stored);
    for (format, suffix) in ALL {
        let file = run.join(format!("numpy.{suffix}"));
        let written = std::fs::read(&file).unwrap();
        assert!(!written.is_empty());
        std::fs::remove_file(&file).unwrap();
        let output = convert(home.path(), &["run", "--to", format]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stdout(&output), format!("run/numpy.{suffix}\n"));
        assert!(std::fs::read(&file).unwrap() == written, "{format}");
        let output = convert(home.path(), &["run", "--to", format, "-o", "elsewhere"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(
            std::fs::read(home.path().join("elsewhere")).unwrap() == written,
            "{format}"
        );
    }
    let told = read("firefox", &run.join("numpy.firefox.json.gz"));
    let markers = told["markers"].as_array().unwrap();
    assert_eq!(markers.len(), stored["windows"].as_array().unwrap().len());
    let ends = markers.iter().map(|marker| marker[2].as_f64().unwrap());
    let end_ms = told["end_ms"].as_f64().unwrap();
    assert!(
        ends.fold(0.0, f64::max) >= end_ms,
        "samples lie in the windows: {markers:?}, {end_ms}"
    );
}

#[test]
fn each_process_of_a_recording_is_converted() {
    let home = temporary();
    let burn = "import os, time\nos.fork()\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\n";
    let output = raptors_prof(home.path())
        .args(["record", "-o", "run", "--", "python3", "-c", burn])
        .output()
        .unwrap();
    if output.status.code() == Some(3) {
        return common::skip_denied(&stderr(&output));
    }
    let output = convert(home.path(), &["run", "--to", "speedscope"]);
    let files = stdout(&output);
    let count = files.lines().count();
    assert!(count >= 3, "{files}{}", stderr(&output));
    for file in files.lines() {
        let folded = file.replace("speedscope.json", "folded");
        let folded = std::fs::read_to_string(home.path().join(folded)).unwrap();
        let told = read("speedscope", &home.path().join(file));
        assert_eq!(
            as_folded(&functions(&told)),
            of_folded(&folded, str::to_owned),
            "{file}"
        );
    }
    let output = convert(home.path(), &["run", "--to", "pprof", "-o", "one"]);
    assert_fails(
        &output,
        2,
        &format!(
            "--out: run has {count} profiles: name one of run/profile.samples.json.gz, run/process-"
        ),
    );
    let output = convert(
        home.path(),
        &["run/profile.samples.json.gz", "--to", "pprof", "-o", "one"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn without_samples_there_is_nothing_to_convert() {
    let home = temporary();
    store(&profile(&[], Unit::Samples), home.path());
    for (format, _) in ALL {
        let output = convert(home.path(), &["p.samples.json.gz", "--to", format]);
        assert_fails(
            &output,
            2,
            "error: p.samples.json.gz has no samples: there is nothing to convert",
        );
    }
    assert_eq!(entries(home.path()), ["p.samples.json.gz"]);
}

#[test]
fn what_is_no_run_is_told() {
    let home = temporary();
    let run = home.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let fails = |text: &str| {
        let output = convert(home.path(), &["run", "--to", "pprof"]);
        assert_fails(&output, 2, text);
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    };
    let summary = |text: &str| std::fs::write(run.join("summary.json"), text).unwrap();
    fails("run has no summary.json: name the directory of a run or a recording that is complete");
    std::fs::write(run.join("suite.json"), "{}").unwrap();
    fails("run is a suite: name the directory of one of its cells, run/CELL");
    summary("{\"schema\":\"raptors-prof/record/1\",\"outputs\":{\"samp");
    fails("run/summary.json is cut short");
    summary(r#"{"schema":"raptors-prof/summary/2"}"#);
    fails("run/summary.json has the schema raptors-prof/summary/2, and raptors-prof");
    summary(r#"{"schema":"raptors-prof/record/2"}"#);
    fails("run/summary.json has the schema raptors-prof/record/2, and raptors-prof");
    summary(r#"{"schema":"other/1"}"#);
    fails("run/summary.json is no raptors-prof/summary/1");
    let recording = |outputs: Value| {
        summary(
            &json!({"schema": "raptors-prof/record/1", "outputs": outputs, "processes": []})
                .to_string(),
        );
    };
    recording(json!({"flamegraph": "profile.svg"}));
    fails("run keeps no profile: its summary.json lists no samples");
    recording(json!({"samples": "../p.samples.json.gz"}));
    fails(
        "run/summary.json: outputs.samples: \"../p.samples.json.gz\" is no file of the same directory",
    );
    recording(json!({"samples": "p.samples.json.gz"}));
    fails("can't read run/p.samples.json.gz: No such file");
    let output = convert(home.path(), &["nowhere", "--to", "svg"]);
    assert_fails(&output, 2, "can't read nowhere: No such file");
    let output = convert(home.path(), &["run", "--to", "perf"]);
    assert_fails(
        &output,
        2,
        "[possible values: svg, folded, speedscope, firefox, pprof]",
    );
}

#[test]
fn a_spoilt_profile_is_told_and_nothing_is_written() {
    let home = temporary();
    let frames = [
        Frame::new(FrameKind::Native, "f"),
        Frame::new(FrameKind::Native, "g"),
    ];
    store(
        &profile(&[&frames, &frames[..1]], Unit::Samples),
        home.path(),
    );
    let file = home.path().join("p.samples.json.gz");
    let good = unpacked(&file);
    let packed = std::fs::read(&file).unwrap();
    let fails = |text: &str| {
        let output = convert(home.path(), &["p.samples.json.gz", "--to", "firefox"]);
        assert_fails(&output, 2, text);
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert_eq!(entries(home.path()), ["p.samples.json.gz"]);
    };
    for length in [3, 40, packed.len() - 9, packed.len() - 1] {
        std::fs::write(&file, &packed[..length]).unwrap();
        fails("p.samples.json.gz is cut short after");
    }
    let mut flipped = packed.clone();
    flipped[packed.len() / 2] ^= 0xff;
    std::fs::write(&file, &flipped).unwrap();
    fails("p.samples.json.gz");
    pack(&file, &good[..good.len() - 20]);
    fails("p.samples.json.gz is cut short after");
    let with = |pointer: &str, value: Value| {
        let mut document: Value = serde_json::from_slice(&good).unwrap();
        *document.pointer_mut(pointer).unwrap() = value;
        pack(&file, document.to_string().as_bytes());
    };
    let spoilt = [
        (
            "/schema",
            json!("raptors-prof/samples/2"),
            "has the schema raptors-prof/samples/2, and raptors-prof",
        ),
        (
            "/schema",
            json!("raptors-prof/suite/1"),
            "is no raptors-prof/samples/1",
        ),
        (
            "/stacks/parent/0",
            json!(0),
            "stacks.parent[0]: there is no number 0 among 0",
        ),
        (
            "/stacks/frame/1",
            json!(2),
            "stacks.frame[1]: there is no number 2 among 2",
        ),
        (
            "/stacks/frame",
            json!([0]),
            "stacks.frame: it has 1 values and not 2 as the others",
        ),
        (
            "/samples/stack/0",
            json!(2),
            "samples.stack[0]: there is no number 2 among 2",
        ),
        (
            "/samples/thread/1",
            json!(2),
            "samples.thread[1]: there is no number 2 among 2",
        ),
        (
            "/samples/weight",
            json!([]),
            "samples.weight: it has 0 values and not 4 as the others",
        ),
        (
            "/samples/weight/0",
            json!(u64::MAX),
            "samples.weight: the sum of all is too large",
        ),
        (
            "/samples/after_ns/1",
            json!(u64::MAX),
            "samples.after_ns: the sum of all is too large",
        ),
        (
            "/samples/after_ns/1",
            json!(-1),
            "samples.after_ns[1]: invalid value",
        ),
        (
            "/earlier/0/thread",
            json!(9),
            "earlier[0].thread: there is no number 9 among 2",
        ),
        (
            "/earlier/1/stack",
            json!(9),
            "earlier[1].stack: there is no number 9 among 2",
        ),
        (
            "/earlier/0/samples",
            json!(u64::MAX),
            "earlier.samples: the sum of all is too large",
        ),
        (
            "/windows/0/0",
            json!(u64::MAX),
            "windows: they are not in the order of time",
        ),
        (
            "/frames/0/kind",
            json!("java"),
            "frames[0].kind: unknown variant `java`",
        ),
        (
            "/frames/0",
            json!({"kind": "native", "name": "f", "source": [0, 1]}),
            "frames[0].source: there is no number 0 among 0",
        ),
    ];
    for (pointer, value, text) in spoilt {
        with(pointer, value);
        fails(text);
    }
    with("/title", json!("another"));
    let output = convert(home.path(), &["p.samples.json.gz", "--to", "firefox"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_place_that_can_not_be_written_to_is_told() {
    let home = temporary();
    let frames = [Frame::new(FrameKind::Native, "f")];
    store(&profile(&[&frames], Unit::Samples), home.path());
    std::fs::create_dir(home.path().join("directory")).unwrap();
    let to = |out: &str| {
        convert(
            home.path(),
            &["p.samples.json.gz", "--to", "pprof", "-o", out],
        )
    };
    assert_fails(
        &to("directory"),
        2,
        "can't write to directory: it is no regular file; --out chooses another place",
    );
    assert_fails(&to("/dev/null"), 2, "it is no regular file");
    assert_fails(&to("no/such"), 2, "can't write to no/such: No such file");
    assert_fails(
        &to("./p.samples.json.gz"),
        2,
        "it is what is to be converted",
    );
    assert_eq!(entries(home.path()), ["directory", "p.samples.json.gz"]);
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let home = temporary();
    let disk = home.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8k", "tmpfs"])
        .arg(&disk)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: only root may mount a small disk");
        return;
    }
    let frames: Vec<Vec<Frame>> = (0..20_000)
        .map(|at| vec![Frame::new(FrameKind::Native, format!("f{}", at * 7919))])
        .collect();
    let stacks: Vec<&[Frame]> = frames.iter().map(Vec::as_slice).collect();
    store(&profile(&stacks, Unit::Samples), home.path());
    std::fs::write(disk.join("out"), "before").unwrap();
    let outputs = ALL.map(|(format, _)| {
        convert(
            home.path(),
            &["p.samples.json.gz", "--to", format, "-o", "disk/out"],
        )
    });
    let (left, before) = (entries(&disk), std::fs::read_to_string(disk.join("out")));
    assert!(
        Command::new("umount")
            .arg(&disk)
            .status()
            .unwrap()
            .success()
    );
    for output in outputs {
        assert_fails(&output, 3, "can't write disk/out: No space left on device");
    }
    assert_eq!(left, ["out"]);
    assert_eq!(before.unwrap(), "before");
}
