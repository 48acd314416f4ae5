//! A profile for speedscope (<https://www.speedscope.app>, file-format-schema.json): one sampled profile a thread, in the order of time.
//!
//! The format has weights but no times, and no stacks that several samples share: neighbours that are equal become one.

use std::collections::HashMap;
use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use crate::profile::{Profile, StackTree};
use crate::sampling::weight::Unit;

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    name: &'a str,
    exporter: String,
    shared: Shared<'a>,
    profiles: Vec<Sampled<'a>>,
}

#[derive(Serialize)]
struct Shared<'a> {
    frames: Vec<Frame<'a>>,
}

#[derive(Serialize)]
struct Frame<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled<'a> {
    r#type: &'static str,
    name: String,
    unit: &'static str,
    start_value: u64,
    end_value: u64,
    samples: Stacks<'a>,
    weights: Vec<u64>,
}

/// Stacks from root to leaf, made while they are written: spelled out they would take many times the room of the tree.
struct Stacks<'a> {
    tree: &'a StackTree,
    /// The number in the file of each frame of the tree.
    frames: &'a [u32],
    stacks: Vec<u32>,
}

impl Serialize for Stacks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut samples = serializer.serialize_seq(Some(self.stacks.len()))?;
        let mut frames = Vec::new();
        for &stack in &self.stacks {
            frames.clear();
            let stack = self.tree.from_the_leaf(stack);
            frames.extend(stack.map(|frame| self.frames[frame as usize]));
            frames.reverse();
            samples.serialize_element(&frames)?;
        }
        samples.end()
    }
}

pub(super) fn write(profile: &Profile, title: &str, out: impl Write) -> io::Result<()> {
    let (frames, numbers) = frames(&profile.stacks);
    let unit = match profile.sampling.unit {
        Unit::Samples | Unit::Events => "none",
        Unit::Microseconds => "microseconds",
    };
    let profiles = threads(profile).into_iter().map(|(name, runs)| Sampled {
        r#type: "sampled",
        name,
        unit,
        start_value: 0,
        end_value: runs.iter().map(|(_, weight)| weight).sum(),
        weights: runs.iter().map(|(_, weight)| *weight).collect(),
        samples: Stacks {
            tree: &profile.stacks,
            frames: &numbers,
            stacks: runs.into_iter().map(|(stack, _)| stack).collect(),
        },
    });
    let file = File {
        schema: "https://www.speedscope.app/file-format-schema.json",
        name: title,
        exporter: concat!("raptors-prof@", env!("CARGO_PKG_VERSION")).to_owned(),
        shared: Shared { frames },
        profiles: profiles.collect(),
    };
    Ok(serde_json::to_writer(out, &file)?)
}

/// The frames by their names, and the number of each frame of the tree among them. A name that stands in several lines has none.
fn frames(tree: &StackTree) -> (Vec<Frame<'_>>, Vec<u32>) {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    let mut known: HashMap<&str, u32> = HashMap::new();
    let numbers = tree.frames().iter().map(|frame| {
        let file = frame.source.as_ref().map(|source| &*source.file);
        let line = frame.source.as_ref().map(|source| source.line);
        let number = *known.entry(&frame.name).or_insert_with(|| {
            let name = &*frame.name;
            frames.push(Frame { name, file, line });
            frames.len() as u32 - 1
        });
        let known = &mut frames[number as usize];
        known.file = known.file.filter(|_| known.file == file);
        known.line = known
            .line
            .filter(|_| known.line == line && known.file.is_some());
        number
    });
    let numbers = numbers.collect();
    (frames, numbers)
}

/// Each thread's name and its runs of equal samples: stack and weight. Those of which the time is not known come first.
fn threads(profile: &Profile) -> Vec<(String, Vec<(u32, u64)>)> {
    let samples = &profile.samples;
    let mut threads: Vec<(String, Vec<(u32, u64)>)> = (samples.threads.iter())
        .map(|thread| {
            (
                format!("{} · {} ({})", thread.process, thread.name, thread.tid),
                Vec::new(),
            )
        })
        .chain([("no thread".to_owned(), Vec::new())])
        .collect();
    let nowhere = samples.threads.len();
    let earlier = samples.earlier.iter().map(|earlier| {
        let thread = earlier.thread.map_or(nowhere, |thread| thread as usize);
        (thread, earlier.stack, earlier.weight)
    });
    let timed = samples.timed.iter();
    let timed = timed.map(|sample| (sample.thread as usize, sample.stack, sample.weight));
    for (thread, stack, weight) in earlier.chain(timed) {
        let runs = &mut threads[thread].1;
        match runs.last_mut() {
            Some((last, sum)) if *last == stack => *sum += weight,
            _ => runs.push((stack, weight)),
        }
    }
    threads.retain(|(_, runs)| !runs.is_empty());
    threads
}
