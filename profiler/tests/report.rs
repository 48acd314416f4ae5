//! Reports of runs and suites that were written by hand, as a browser shows them.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod browser;
mod common;

use std::path::Path;

use browser::Browser;
use common::{
    assert_fails, assert_valid, assert_valid_as, raptors_prof, stderr, stdout, temporary,
};
use raptors_prof::flamegraph;
use raptors_prof::profile::{Frame, FrameKind, Profile, Samples, Sampling, StackTree};
use serde_json::{Value, json};

/// What makes a summary bad.
type Spoil = fn(&mut Value);

/// Names that end what they stand in, wherever that is.
const HOSTILE: [&str; 8] = [
    "<script>document.title='taken'</script>",
    "</script><script>document.title='taken'</script>",
    "]]><script>document.title='taken'</script>",
    "\"><img src=x onerror=\"document.title='taken'\">",
    "'-alert(1)-'",
    "two\nlines; \u{1b}[31m \\u003cscript>",
    "&quot; onload=&quot;alert(1)",
    "{{ 7 * 6 }}{% raw %}<!-- </title></textarea></style></iframe></svg>",
];

fn sampling() -> Sampling {
    Sampling {
        event: "cpu-clock".to_owned(),
        rate_hz: Some(997),
        period: None,
        unit: Default::default(),
        total: 100,
        samples: 100,
        in_op: 90,
        lost: 0,
        merged: 99,
        merged_ratio: 0.99,
        unwound_ratio: 1.0,
        joined_workers: 0,
        kernel_frames: true,
        kernel_reason: None,
        python_failed_ratio: 0.0,
    }
}

/// A main function that calls each of `names`.
fn profile(names: &[&str]) -> Profile {
    let mut stacks = StackTree::default();
    for (name, samples) in names.iter().zip(10..) {
        let stack = ["main (w.py:1)", *name].map(|name| Frame::new(FrameKind::Native, name));
        stacks.add(&stack, samples);
    }
    Profile {
        stacks,
        samples: Samples::default(),
        sampling: sampling(),
    }
}

fn backend(name: &str, ns: f64, names: &[&str], file: &str) -> Value {
    let samples: Vec<f64> = (0..40)
        .map(|at| ns * (1.0 + 0.002 * f64::from(at % 7)))
        .collect();
    let counter = |event: &str, count: Option<u64>| {
        let (status, reason) = match count {
            Some(_) => ("counted", None),
            None => ("denied", Some(HOSTILE[0])),
        };
        json!({
            "event": event, "status": status, "value": count, "per_call": count, "time_enabled_ns": 1, "time_running_ns": 1,
            "reason": reason
        })
    };
    let top: Vec<Value> = names
        .iter()
        .map(|name| json!({"frame": name, "self": 0.1, "total": 0.2}))
        .collect();
    let mut sampling = serde_json::to_value(sampling()).unwrap();
    sampling["status"] = json!("recorded");
    sampling["reason"] = json!(null);
    json!({
        "timing": {"samples_ns": samples, "median_ns": ns, "ci95_ns": [ns, ns * 1.01], "min_ns": ns, "calls": 400},
        "counters": [counter("page-faults", Some(8193)), counter("cycles", None)],
        "sampling": sampling,
        "top": top,
        "lines": [{"file": file, "line": 2, "self": 0.5, "total": 0.75}, {"file": HOSTILE[1], "line": 1, "self": 0.1, "total": 0.1}],
        "outputs": {"flamegraph": format!("{name}.svg"), "folded": format!("{name}.folded")}
    })
}

/// A run in which the candidate takes `factor` times as long, and every name is hostile.
fn summary(shape: [u64; 2], factor: f64, names: &[&str], file: &str) -> Value {
    let ratio = 1.0 / factor;
    let verdict = if ratio > 1.0 { "faster" } else { "slower" };
    let names_of_libraries = format!("2.0 {}", HOSTILE[3]);
    json!({
        "schema": "raptors-prof/summary/1",
        "created": "2026-11-23T15:00:00Z",
        "tool_version": "0.1.0",
        "command": ["raptors-prof", "--op", "sum", "--note", HOSTILE[4], "-o", "run"],
        "interrupted": false,
        "cell": {"op": "sum", "shape": shape, "dtype": "float32", "layout": "contiguous"},
        "environment": {
            "cpu": HOSTILE[0], "cores": 2, "kernel": "6.1", "container": "none", "perf_event_paranoid": 2, "pmu": false,
            "python": {"path": "/usr/bin/python3", "version": "3.11"}, "numpy": names_of_libraries, "raptors": "0.1.0",
            "git_sha": null, "threads": {"requested": null, "used": 2}, "simd": {"requested": "avx2", "used": "avx2"}
        },
        "backends": {
            "numpy": backend("numpy", 34_000.0, names, file),
            "raptors": backend("raptors", 34_000.0 * factor, names, file)
        },
        "comparison": {
            "ratio": ratio, "ci95": [ratio * 0.995, ratio * 1.005], "blocked_ratio": ratio, "noise_floor": 0.004, "margin": 0.01,
            "pairs": 40, "verdict": verdict
        },
        "outputs": {"diff": "diff.svg"}
    })
}

/// Writes the directory of a run.
fn write_run(directory: &Path, summary: &Value, names: &[&str]) {
    std::fs::create_dir_all(directory).unwrap();
    let text = serde_json::to_string_pretty(summary).unwrap();
    std::fs::write(directory.join("summary.json"), text).unwrap();
    let profile = profile(names);
    for name in ["numpy", "raptors"] {
        std::fs::write(directory.join(format!("{name}.folded")), profile.folded()).unwrap();
        let path = directory.join(format!("{name}.svg"));
        flamegraph::write(&profile, names[0], &path).unwrap();
    }
    let folded = profile.folded();
    let sides = (("NumPy", folded.as_str()), ("Raptors", folded.as_str()));
    flamegraph::write_diff(sides.0, sides.1, names[0], &directory.join("diff.svg")).unwrap();
}

/// A run with hostile names, one of them very long, and a source file.
fn hostile_run(home: &Path) -> std::path::PathBuf {
    let long = "<b>x</b>".repeat(1250);
    let mut names = HOSTILE.to_vec();
    names.push(&long);
    let source = home.join("source.py");
    std::fs::write(
        &source,
        "import x\nx.f('</code><script>document.title=1</script>')\n",
    )
    .unwrap();
    let summary = summary([512, 512], 0.5, &names, source.to_str().unwrap());
    assert_valid(&summary);
    let run = home.join("run");
    write_run(&run, &summary, &names);
    run
}

/// The suite of two cells that were measured, and two that were not.
fn suite(home: &Path) -> std::path::PathBuf {
    let directory = home.join("suite");
    let mut cells = Vec::new();
    for (side, factor) in [(512, 0.5), (1024, 1.5)] {
        let name = format!("sum-{side}x{side}-float32");
        let whole = summary([side, side], factor, &HOSTILE, "/no/such.py");
        write_run(&directory.join(&name), &whole, &HOSTILE);
        let mut summary = whole;
        for backend in ["numpy", "raptors"] {
            let timing = summary["backends"][backend]["timing"].as_object_mut();
            timing.unwrap().remove("samples_ns");
        }
        cells.push(cell(&name, "done", None, summary));
    }
    cells.push(cell(
        "sum-8x8-float32",
        "failed",
        Some(HOSTILE[1]),
        json!(null),
    ));
    cells.push(cell("sum-4x4-float32", "pending", None, json!(null)));
    let suite = json!({
        "schema": "raptors-prof/suite/1", "created": "2026-11-23T15:00:00Z", "tool_version": "0.1.0",
        "command": ["raptors-prof", "suite", "--op", "sum", "-o", "suite"], "name": HOSTILE[0], "seed": 7,
        "measuring": {"python": "python3", "rate_hz": 997, "min_samples": 1000, "precision": 0.01, "max_time_s": 30.0, "profile": "all"},
        "fingerprint": {"cpu": HOSTILE[0], "cores": 2, "container": "none", "numpy": "2.0"},
        "cells": cells
    });
    assert_valid_as("suite.schema.json", &suite);
    std::fs::write(directory.join("suite.json"), suite.to_string()).unwrap();
    directory
}

fn cell(name: &str, state: &str, error: Option<&str>, summary: Value) -> Value {
    let shape: Vec<u64> = name
        .split('-')
        .nth(1)
        .unwrap()
        .split('x')
        .map(|side| side.parse().unwrap())
        .collect();
    json!({
        "name": name, "cell": {"op": "sum", "shape": shape, "dtype": "float32", "layout": "contiguous"},
        "threads": null, "simd": null, "state": state, "error": error, "messages": [HOSTILE[5]], "summary": summary
    })
}

/// Has the report written; gives its path and text.
fn report(directory: &Path) -> (std::path::PathBuf, String) {
    let output = raptors_prof(directory)
        .args(["report", "."])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "report: ./report.html\n");
    let path = directory.join("report.html");
    let html = std::fs::read_to_string(&path).unwrap();
    (path, html)
}

/// Asserts that the page is sound: nothing on the console, nothing asked for, no name that did anything.
fn assert_quiet(browser: &Browser, page: &Path) {
    assert_eq!(browser.console(), Vec::<String>::new());
    let page = format!("file://{}", page.canonicalize().unwrap().display());
    let own = |url: &String| {
        *url == page || url.starts_with(&format!("{page}#")) || url == "about:srcdoc"
    };
    let others: Vec<String> = browser
        .requests()
        .into_iter()
        .filter(|url| !own(url))
        .collect();
    assert_eq!(others, Vec::<String>::new());
    assert!(
        browser
            .run("return document.title")
            .as_str()
            .unwrap()
            .ends_with("raptors-prof")
    );
    assert_eq!(
        browser.run("return document.querySelectorAll('img, main script').length"),
        0
    );
}

#[test]
fn a_run_says_its_verdict_first_and_how_to_repeat_it() {
    let home = temporary();
    let run = hostile_run(home.path());
    report(&run);
    // An older report gives way.
    let (_, html) = report(&run);
    let parts = [
        "Raptors is faster: NumPy takes 2.00 times as long.",
        "2.000",
        "1.990 to 2.010",
        "To repeat it:",
        "--python /usr/bin/python3 --simd avx2",
        "<svg class=\"chart\"",
        "8,193",
        "denied",
        "<iframe",
        "Environment",
    ];
    let mut rest = html.as_str();
    for part in parts {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("{part} is not there, or not in its place"));
        rest = &rest[at..];
    }
    assert!(!html.contains("-o run"));
    assert_eq!(
        html.matches("<script").count(),
        1 + 3 * 2,
        "the page's own, and two a flame graph"
    );
    for hostile in HOSTILE.iter().filter(|name| name.contains('<')) {
        let srcdocs: String = html
            .split("srcdoc=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(!html.replace(&srcdocs, "").contains(hostile), "{hostile}");
    }
}

#[test]
fn a_run_works_in_a_browser_and_its_names_stay_text() {
    let home = temporary();
    let (page, _) = report(&hostile_run(home.path()));
    let Some(browser) = Browser::start() else {
        return;
    };
    browser.open(&page);
    let texts = browser.run(
        "return [...document.querySelectorAll('.shares .name')].map(cell => cell.textContent)",
    );
    for name in HOSTILE {
        assert!(
            texts.as_array().unwrap().contains(&json!(name)),
            "{name}: {texts}"
        );
    }
    let source = browser.run("return document.querySelector('.source code').textContent");
    assert_eq!(source, "x.f('</code><script>document.title=1</script>')");
    for frame in 1..=3 {
        let frame = format!("figure:nth-of-type({frame}) iframe");
        browser.run(&format!(
            "document.querySelector('{frame}').scrollIntoView()"
        ));
        browser.enter(
            &frame,
            "return document.querySelectorAll('#frames > g').length > 8 && known_font_width > 0",
        );
        browser.type_into("input", "onerror");
        assert!(
            browser
                .run("return document.getElementById('matched').textContent")
                .as_str()
                .unwrap()
                .starts_with("Matched: ")
        );
        browser.type_into("input", "(");
        assert_eq!(
            browser.run("return document.querySelector('input').checkValidity()"),
            false
        );
        browser.run("document.querySelector('input').value = ''");
        let zoomed = "return document.querySelectorAll('#frames > .hide').length > 0";
        assert_eq!(browser.run(zoomed), false);
        browser.run("document.querySelector('#frames > g:last-child').dispatchEvent(new MouseEvent('click', {bubbles: true}))");
        assert_eq!(browser.run(zoomed), true);
        let origin = browser
            .run("try { return String(parent.document) } catch (error) { return error.name }");
        assert_eq!(
            origin, "SecurityError",
            "a flame graph can't reach the page"
        );
        browser.leave();
    }
    assert_quiet(&browser, &page);
}

#[test]
fn a_name_that_got_through_could_do_nothing() {
    let home = temporary();
    let (page, _) = report(&hostile_run(home.path()));
    let Some(browser) = Browser::start() else {
        return;
    };
    browser.open(&page);
    let inject = "const script = document.createElement('script'); script.textContent = 'window.taken = true'; \
                  document.body.append(script); const image = new Image(); image.src = 'http://127.0.0.1:9/'; \
                  document.body.append(image); return window.taken === undefined";
    assert_eq!(browser.run(inject), true);
    browser.enter("iframe", "return frames !== null");
    assert_eq!(browser.run(inject), true);
    browser.wait_for("return [...document.images].every(image => image.complete)");
    let refused = browser.console();
    let policy = refused
        .iter()
        .filter(|line| line.contains("Content Security Policy"));
    assert_eq!(policy.count(), 4, "{refused:?}");
}

#[test]
fn a_page_is_readable_in_light_and_in_dark() {
    let home = temporary();
    let (page, _) = report(&hostile_run(home.path()));
    let Some(browser) = Browser::start() else {
        return;
    };
    browser.open(&page);
    let brightness = |of: &str| {
        let script = format!(
            "return getComputedStyle(document.body).{of}.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3"
        );
        browser.run(&script).as_f64().unwrap()
    };
    for (scheme, background_is_brighter) in [("light", true), ("dark", false)] {
        browser.emulate(json!([{"name": "prefers-color-scheme", "value": scheme}]));
        let (text, background) = (brightness("color"), brightness("backgroundColor"));
        assert_eq!(background > text, background_is_brighter, "{scheme}");
        assert!(
            (background - text).abs() > 180.0,
            "{scheme}: {text} on {background}"
        );
    }
}

#[test]
fn a_cell_of_the_matrix_opens_its_run() {
    let home = temporary();
    let (page, html) = report(&suite(home.path()));
    assert!(
        html.contains("4 cells: 1 faster, 1 slower, 1 failed, 1 pending"),
        "{html}"
    );
    let Some(browser) = Browser::start() else {
        return;
    };
    browser.open(&page);
    let heat = browser.run("return [...document.querySelectorAll('.heat tbody a')].map(cell => cell.textContent.trim())");
    assert_eq!(heat, json!(["pending", "failed", "2.00 ▲", "0.67 ▼"]));
    let open = "return [...document.querySelectorAll('details[open]')].map(run => run.querySelector('summary').textContent.trim())";
    assert_eq!(browser.run(open), json!([]));
    browser.click(".heat td:nth-of-type(3) a");
    browser.wait_for("return document.querySelectorAll('details[open]').length === 1");
    assert_eq!(
        browser.run(open),
        json!(["faster 2.00 sum 512x512 float32"])
    );
    let shown = "const place = document.querySelector('details[open] .verdict').getBoundingClientRect(); \
                 return place.height > 0 && place.top < innerHeight";
    browser.wait_for(shown);
    let laggards = browser.run("return [...document.querySelectorAll('main > section:nth-of-type(2) a')].map(cell => cell.textContent)");
    assert_eq!(laggards, json!(["sum 1024x1024 float32"]));
    browser.enter(
        "details[open] iframe",
        "return document.querySelectorAll('#frames > g').length > 7",
    );
    browser.leave();
    assert_quiet(&browser, &page);
}

#[test]
fn what_a_run_lacks_is_said() {
    let home = temporary();
    let run = hostile_run(home.path());
    std::fs::remove_file(run.join("numpy.svg")).unwrap();
    std::fs::write(run.join("diff.svg"), "<html>").unwrap();
    let output = raptors_prof(&run)
        .args(["report", ".", "-o", "page.html"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stderr = stderr(&output);
    for lack in [
        "no flame graph from ./numpy.svg: No such file",
        "no flame graph from ./diff.svg: it is no flame graph",
    ] {
        assert!(stderr.contains(lack), "{stderr}");
    }
    let html = std::fs::read_to_string(run.join("page.html")).unwrap();
    assert!(html.contains("no flame graph from ./numpy.svg"));
    assert_eq!(html.matches("<iframe").count(), 1);
    let suite = suite(home.path());
    std::fs::remove_dir_all(suite.join("sum-512x512-float32")).unwrap();
    let (_, html) = report(&suite);
    assert!(html.contains("no raw samples: ./sum-512x512-float32/summary.json is not there"));
    assert_eq!(html.matches("<svg class=\"chart\"").count(), 1);
}

#[test]
fn bad_input_is_named_with_file_and_field() {
    let home = temporary();
    let fails = |text: &str| {
        let output = raptors_prof(home.path())
            .args(["report", "run"])
            .output()
            .unwrap();
        assert_fails(&output, 2, text);
        assert_eq!(stderr(&output).lines().count(), 1);
        assert!(!home.path().join("run/report.html").exists());
    };
    fails("run has neither summary.json nor suite.json");
    let run = hostile_run(home.path());
    let whole = common::summary(&run);
    let cases: [(Spoil, &str); 5] = [
        (
            |summary| summary["schema"] = json!("raptors-prof/summary/2"),
            "summary/2",
        ),
        (
            |summary| summary["schema"] = json!("raptors-prof/record/1"),
            "raptors-prof/record/1",
        ),
        (
            |summary| summary["backends"]["numpy"]["timing"]["median_ns"] = json!(0),
            "run/summary.json: backends.numpy.timing.median_ns",
        ),
        (
            |summary| summary["comparison"]["verdict"] = json!("best"),
            "run/summary.json: comparison.verdict",
        ),
        (
            |summary| summary["outputs"]["diff"] = json!("../../etc/passwd"),
            "run/summary.json: outputs.diff",
        ),
    ];
    for (spoil, text) in cases {
        let mut summary = whole.clone();
        spoil(&mut summary);
        std::fs::write(run.join("summary.json"), summary.to_string()).unwrap();
        fails(text);
    }
    let text = whole.to_string();
    std::fs::write(run.join("summary.json"), &text[..text.len() / 2]).unwrap();
    fails("run/summary.json is cut short");
    std::fs::remove_file(run.join("summary.json")).unwrap();
    fails("run has neither summary.json nor suite.json");
}
