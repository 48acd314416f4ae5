//! The pages of reference that are written from what the program itself says: its help, and the schema of its summary.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::fmt::Write;

use serde_json::Value;

use super::common::{raptors_prof, stdout};
use super::pages::root;

const COMMAND_LINE: &str = "\
# The command line

Written by `make docs` from the help of the program: don't edit. `raptors-prof man` has the same as manual pages, `raptors-prof
completions` for the shell. Results go to stdout, messages and progress to stderr.
";

const SUMMARY: &str = "\
# summary.json

Written by `make docs` from [the schema](summary.schema.json): don't edit. Every run leaves this file, and `--json` prints it. Fields are only added
within a schema number. `record` and `attach` leave a file with a [schema](record.schema.json) of their own, suites
[another](suite.schema.json) around the summaries of their cells.

What was not measured is `null` or absent, never a number in its place. Of *sampling*, the numbers are there where `status` is `recorded`.
A *share* lies between 0 and 1.
";

/// docs/cli.md
pub fn command_line() -> String {
    let mut page = COMMAND_LINE.to_owned();
    let command = raptors_prof::cli::command();
    let names = command.get_subcommands().map(clap::Command::get_name);
    for name in std::iter::once("").chain(names) {
        let help = raptors_prof(&root())
            .args((!name.is_empty()).then_some(name))
            .arg("--help")
            .output()
            .unwrap();
        let title = format!("raptors-prof {name}");
        let help = stdout(&help);
        let lines = help.lines().map(str::trim_end).collect::<Vec<_>>();
        let text = lines.join("\n");
        write!(page, "\n## {}\n\n```text\n{text}\n```\n", title.trim()).unwrap();
    }
    page
}

/// docs/summary.md
pub fn summary() -> String {
    let text = std::fs::read_to_string(root().join("docs/summary.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let definitions = schema["$defs"].as_object().unwrap();
    let mut page = SUMMARY.to_owned();
    write_table(&mut page, "The file", &schema, &schema);
    // serde_json sorts the names of an object: the order here is that in which the file is read.
    let order = [
        "cell",
        "environment",
        "backend",
        "timing",
        "counter",
        "sampling",
        "comparison",
    ];
    assert_eq!(
        definitions.len(),
        order.len(),
        "a new object of the schema needs a place in the page"
    );
    for name in order {
        write_table(&mut page, name, &definitions[name], &schema);
    }
    page
}

fn write_table(page: &mut String, title: &str, object: &Value, schema: &Value) {
    let meaning = object["description"].as_str().unwrap();
    write!(
        page,
        "\n## {title}\n\n{meaning}.\n\n| field | type | unit | meaning |\n|---|---|---|---|\n"
    )
    .unwrap();
    write_rows(page, "", object, schema);
}

/// A row for each property, and for each of those within it.
fn write_rows(page: &mut String, above: &str, object: &Value, schema: &Value) {
    for (name, property) in object["properties"].as_object().unwrap() {
        let path = format!("{above}{name}");
        let meaning = meaning(property, schema);
        assert!(
            !meaning.is_empty(),
            "{path} has no description in the schema"
        );
        let mut kind = kind(property);
        let required = object["required"].as_array().into_iter().flatten();
        if object["required"].is_array() && !required.into_iter().any(|other| other == name) {
            kind.push_str(" or absent");
        }
        let unit = unit(name, &kind, property);
        writeln!(
            page,
            "| `{path}` | {kind} | {unit} | {} |",
            meaning.replace('|', "\\|")
        )
        .unwrap();
        if property["properties"].is_object() {
            write_rows(page, &format!("{path}."), property, schema);
        }
        if property["items"]["properties"].is_object() {
            write_rows(page, &format!("{path}[]."), &property["items"], schema);
        }
    }
}

fn meaning<'a>(property: &'a Value, schema: &'a Value) -> &'a str {
    let own = property["description"].as_str();
    let referred = || {
        let name = reference(property)?;
        schema["$defs"][name]["description"].as_str()
    };
    own.or_else(referred).unwrap_or_default()
}

/// The definition that a property refers to, itself or where it is not null.
fn reference(property: &Value) -> Option<&str> {
    let choices = property["anyOf"].as_array().into_iter().flatten();
    let mut all = std::iter::once(property).chain(choices);
    all.find_map(|choice| choice["$ref"].as_str()?.strip_prefix("#/$defs/"))
}

/// The type in words.
fn kind(property: &Value) -> String {
    if let Some(name) = property["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").unwrap();
        return format!("[{name}](#{name})");
    }
    if let Some(value) = property["const"].as_str() {
        return format!("`{value}`");
    }
    if let Some(values) = property["enum"].as_array() {
        return either(values.iter().map(|value| match value {
            Value::String(text) => format!("`{text}`"),
            other => other.to_string(),
        }));
    }
    if let Some(choices) = property["anyOf"].as_array() {
        let nulls_last = |null: bool| {
            choices
                .iter()
                .filter(move |choice| (choice["type"] == "null") == null)
                .map(kind)
        };
        return either(nulls_last(false).chain(nulls_last(true)));
    }
    let one = |name: &str| match name {
        "array" => format!("array of {}", kind(&property["items"])),
        "object" if property["additionalProperties"].is_object() => {
            format!("object of {}", kind(&property["additionalProperties"]))
        }
        name => name.to_owned(),
    };
    match &property["type"] {
        Value::String(name) => one(name),
        Value::Array(names) => either(names.iter().map(|name| one(name.as_str().unwrap()))),
        other => panic!("the type of {property} is {other}"),
    }
}

fn either(kinds: impl Iterator<Item = String>) -> String {
    kinds.collect::<Vec<_>>().join(" or ")
}

/// What a number counts, by its name. Panics where a new number has none.
fn unit(name: &str, kind: &str, property: &Value) -> &'static str {
    let number = ["number", "integer"]
        .iter()
        .any(|number| kind.contains(number));
    match name {
        _ if !number => "",
        _ if name.ends_with("_ns") => "ns",
        _ if name.ends_with("_hz") => "Hz",
        _ if property["maximum"] == 1 => "share",
        "memory_limit" => "bytes",
        "value" | "period" => "events",
        "per_call" => "events a call",
        "total" => "`unit`",
        "ratio" | "ci95" | "blocked_ratio" => "quotient of times",
        "noise_floor" | "margin" | "drift" | "ratio_drift" => "1 (0.01 is 1 %)",
        "samples" | "in_op" | "lost" | "merged" | "joined_workers" => "samples",
        "pairs" | "effective_pairs" => "pairs",
        "outliers" => "windows",
        "cores" => "CPUs",
        "calls" => "calls",
        "used" => "threads",
        "shape" => "elements",
        "perf_event_paranoid" | "line" => "",
        _ => panic!("say the unit of {name}"),
    }
}
