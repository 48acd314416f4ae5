//! What is hard to write: names, units, and a profile read back.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;
mod made;
mod readers;

use clap::ValueEnum;
use common::temporary;
use made::{profile, store};
use raptors_prof::document;
use raptors_prof::formats::{self, Format};
use raptors_prof::profile::{Frame, FrameKind, Profile};
use raptors_prof::sampling::weight::Unit;
use raptors_prof::source_lines::SourceLine;
use raptors_prof::stored::Stored;
use readers::{functions, inferno_total, of_folded, pprof, pprof_functions, read};
use serde_json::json;

#[test]
fn names_are_data() {
    let home = temporary();
    let long = "x".repeat(10_000);
    let lossy = String::from_utf8_lossy(b"bad \xff\xfe name").into_owned();
    let names = [
        "a;b",
        "two\nlines\r",
        &lossy,
        "<script>&\"'",
        &long,
        "crab 🦀",
        "\u{0}\u{7f}\u{202e}",
        " ",
        "f 12",
        "%s \\ {{x}}",
    ];
    let native = |name: &&str| vec![Frame::new(FrameKind::Native, *name)];
    let stacks: Vec<Vec<Frame>> = names.iter().map(native).collect();
    let all: Vec<Frame> = stacks.concat();
    let stacks: Vec<&[Frame]> = stacks.iter().map(Vec::as_slice).chain([&*all]).collect();
    store(&profile(&stacks, Unit::Samples), home.path());
    let stored: Stored = document::load(&home.path().join("p.samples.json.gz")).unwrap();
    let profile = stored.into_profile();
    for &format in Format::value_variants() {
        let path = home.path().join(format!("p.{}", format.suffix()));
        formats::write(format, &profile, "names", &path).unwrap();
    }
    let path = |suffix: &str| home.path().join(format!("p.{suffix}"));
    for (kind, suffix) in [
        ("speedscope", "speedscope.json"),
        ("firefox", "firefox.json.gz"),
    ] {
        let found = functions(&read(kind, &path(suffix)));
        assert_eq!(found.len(), names.len(), "{kind}");
        let leaf = names.last().unwrap();
        for name in names {
            let own = if name == *leaf { 8 } else { 4 };
            assert_eq!(found.get(name), Some(&(own, 8)), "{kind}: {name:?}");
        }
    }
    let folded = std::fs::read_to_string(path("folded")).unwrap();
    assert_eq!(folded.lines().count(), names.len() + 1);
    assert_eq!(inferno_total(&folded), 44);
    assert!(
        folded.contains("a:b 4\n") && folded.contains("two lines  4\n"),
        "{folded}"
    );
    let svg = std::fs::read_to_string(path("svg")).unwrap();
    assert!(svg.contains("&lt;script&gt;&amp;") && !svg.contains("<script>&"));
    let Some(raw) = pprof(&["-raw"], &path("pb.gz")) else {
        return;
    };
    for name in names.iter().filter(|name| !name.contains('\n')) {
        assert!(
            raw.contains(&format!("M=1 {name} ")),
            "{name:?} is not in {raw}"
        );
    }
    assert!(raw.contains("two\nlines\r"));
}

#[test]
fn waits_and_events_have_their_unit() {
    let home = temporary();
    let frames = [Frame::new(FrameKind::Native, "wait [libc.so.6]")];
    let mut waits = profile(&[&frames], Unit::Microseconds);
    waits.sampling.event = "off-cpu".to_owned();
    // Longer than Firefox's 32 bits: 100 minutes.
    let long_us = 6_000_000_000;
    waits.samples.timed[0].weight = long_us;
    waits.stacks.count(0, long_us - 1);
    let write = |format, suffix: &str, profile: &Profile| {
        let path = home.path().join(format!("w.{suffix}"));
        formats::write(format, profile, "waits", &path).unwrap();
        path
    };
    let path = write(Format::Speedscope, "speedscope.json", &waits);
    let told = read("speedscope", &path);
    assert_eq!(told["units"], json!(["microseconds"]));
    let expected = of_folded(&waits.folded(), str::to_owned);
    assert_eq!(expected["wait [libc.so.6]"], (long_us + 3, long_us + 3));
    assert_eq!(functions(&told), expected);
    let path = write(Format::Firefox, "firefox.json.gz", &waits);
    assert_eq!(functions(&read("firefox", &path)), expected);
    let mut events = profile(&[&frames], Unit::Events);
    events.sampling.event = "page-faults".to_owned();
    let told = read(
        "firefox",
        &write(Format::Firefox, "firefox.json.gz", &events),
    );
    assert_eq!(
        told["counters"],
        json!({"page-faults": 2.0}),
        "those of which the time is known"
    );
    let path = write(Format::Pprof, "pb.gz", &events);
    if let Some(found) = pprof_functions("page-faults", &path) {
        assert_eq!(found, of_folded(&events.folded(), str::to_owned));
        assert_eq!(pprof_functions("samples", &path).unwrap(), found);
    }
}

#[test]
fn a_profile_is_read_back_as_it_was() {
    let home = temporary();
    let mut frame = Frame::new(FrameKind::Python, "f (p.py:3)");
    frame.source = Some(SourceLine {
        file: "/p.py".into(),
        line: 3,
    });
    let frames = [
        frame,
        Frame::new(FrameKind::Native, "g [lib.so]"),
        Frame::new(FrameKind::Kernel, "h [kernel]"),
    ];
    let written = profile(&[&frames, &frames[..1], &frames[1..]], Unit::Events);
    store(&written, home.path());
    let stored: Stored = document::load(&home.path().join("p.samples.json.gz")).unwrap();
    assert_eq!(stored.title, "a title");
    let back = stored.into_profile();
    assert_eq!(back.samples, written.samples);
    assert_eq!(back.sampling, written.sampling);
    assert_eq!(back.folded(), written.folded());
    assert_eq!(back.stacks.frames(), written.stacks.frames());
    assert_eq!(back.lines(9), written.lines(9));
}
