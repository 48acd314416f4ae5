//! A profile with its samples as a run directory keeps it, `NAME.samples.json.gz`: gzipped JSON, from which every format can be written
//! later. Its JSON Schema is docs/samples.schema.json.
//!
//! In: a [`Profile`]. Out: the same, read back and checked. Each column is a list, so that the file stays small: equal stacks are there
//! once, a sample is four numbers.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::document::{Document, Flaw};
use crate::flamegraph::WriteError;
use crate::profile::{
    Earlier, Frame, FrameKind, Profile, Sample, Samples, Sampling, StackTree, Thread,
};
use crate::source_lines::SourceLine;

/// Name and number of the schema. Fields are only added within a number.
pub const SCHEMA: &str = "raptors-prof/samples/1";
/// Its name among the `outputs` of a summary.
pub const KEY: &str = "samples";
/// How the names of these files end.
pub const SUFFIX: &str = "samples.json.gz";

/// A profile as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stored {
    /// [`SCHEMA`].
    schema: String,
    /// Version of raptors-prof.
    tool_version: String,
    /// What the profile shows, as its flame graph is called.
    pub title: String,
    /// How the samples were taken.
    sampling: Sampling,
    /// What CLOCK_MONOTONIC has to be added to it for the time since 1970, ns.
    epoch_ns: u64,
    threads: Vec<StoredThread>,
    files: Vec<String>,
    frames: Vec<StoredFrame>,
    stacks: Stacks,
    samples: Columns,
    earlier: Vec<StoredEarlier>,
    /// Stretches of time in which the op ran, CLOCK_MONOTONIC ns.
    windows: Vec<(u64, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredThread {
    pid: u32,
    tid: u32,
    name: String,
    process: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredFrame {
    kind: FrameKind,
    name: String,
    /// Its file, among the files, and the line in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<(usize, u32)>,
}

/// A node for each stack: the node of its caller, which comes before, and its frame. Its number is its place.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stacks {
    parent: Vec<Option<u32>>,
    frame: Vec<u32>,
}

/// A sample is what has the same place in each column.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Columns {
    /// Since the sample before, ns; the first since CLOCK_MONOTONIC began.
    after_ns: Vec<u64>,
    thread: Vec<u32>,
    stack: Vec<u32>,
    weight: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredEarlier {
    thread: Option<u32>,
    stack: u32,
    samples: u64,
    weight: u64,
}

impl Stored {
    /// What is kept of `profile`.
    pub fn new(title: &str, profile: &Profile) -> Stored {
        let Samples {
            threads,
            timed,
            earlier,
            windows,
            epoch,
        } = &profile.samples;
        let mut files: Vec<String> = Vec::new();
        let mut known = std::collections::HashMap::new();
        let frames = profile.stacks.frames().iter().map(|frame| StoredFrame {
            kind: frame.kind,
            name: frame.name.to_string(),
            source: frame.source.as_ref().map(|source| {
                let file = *known.entry(Arc::clone(&source.file)).or_insert_with(|| {
                    files.push(source.file.to_string());
                    files.len() - 1
                });
                (file, source.line)
            }),
        });
        let frames = frames.collect();
        let (parent, frame) = profile.stacks.nodes().unzip();
        let before = std::iter::once(0).chain(timed.iter().map(|sample| sample.time_ns));
        Stored {
            schema: SCHEMA.to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            title: title.to_owned(),
            sampling: profile.sampling.clone(),
            epoch_ns: epoch.as_nanos().try_into().unwrap_or(u64::MAX),
            threads: threads.iter().map(StoredThread::of).collect(),
            files,
            frames,
            stacks: Stacks { parent, frame },
            samples: Columns {
                after_ns: (timed.iter().zip(before))
                    .map(|(sample, before)| sample.time_ns - before)
                    .collect(),
                thread: timed.iter().map(|sample| sample.thread).collect(),
                stack: timed.iter().map(|sample| sample.stack).collect(),
                weight: timed.iter().map(|sample| sample.weight).collect(),
            },
            earlier: earlier.iter().map(StoredEarlier::of).collect(),
            windows: windows.clone(),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        let write = || -> io::Result<()> {
            let out = BufWriter::new(File::create(path)?);
            let mut out = GzEncoder::new(out, Compression::default());
            serde_json::to_writer(&mut out, self)?;
            out.finish()?.flush()
        };
        write().map_err(|source| WriteError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// The profile that was kept.
    pub fn into_profile(self) -> Profile {
        let files: Vec<Arc<str>> = self.files.iter().map(|file| file.as_str().into()).collect();
        let mut stacks = StackTree::default();
        let frames: Vec<u32> = (self.frames.iter())
            .map(|frame| {
                stacks.intern(&Frame {
                    kind: frame.kind,
                    name: frame.name.as_str().into(),
                    source: frame.source.map(|(file, line)| SourceLine {
                        file: Arc::clone(&files[file]),
                        line,
                    }),
                })
            })
            .collect();
        let mut nodes: Vec<u32> = Vec::with_capacity(self.stacks.frame.len());
        for (parent, frame) in self.stacks.parent.iter().zip(&self.stacks.frame) {
            let parent = parent.map(|parent| nodes[parent as usize]);
            nodes.push(stacks.child(parent, frames[*frame as usize]));
        }
        let mut time_ns = 0;
        let columns = self.samples;
        let timed: Vec<Sample> = (columns.after_ns.iter().zip(&columns.thread))
            .zip(columns.stack.iter().zip(&columns.weight))
            .map(|((after_ns, &thread), (&stack, &weight))| {
                time_ns += after_ns;
                let stack = nodes[stack as usize];
                stacks.count(stack, weight);
                Sample {
                    time_ns,
                    thread,
                    stack,
                    weight,
                }
            })
            .collect();
        let earlier = self.earlier.iter().map(|earlier| {
            let stack = nodes[earlier.stack as usize];
            stacks.count(stack, earlier.weight);
            earlier.on(stack)
        });
        let earlier = earlier.collect();
        Profile {
            stacks,
            samples: Samples {
                threads: self
                    .threads
                    .into_iter()
                    .map(StoredThread::into_thread)
                    .collect(),
                timed,
                earlier,
                windows: self.windows,
                epoch: Duration::from_nanos(self.epoch_ns),
            },
            sampling: self.sampling,
        }
    }
}

impl StoredThread {
    fn of(thread: &Thread) -> StoredThread {
        let Thread {
            pid,
            tid,
            name,
            process,
        } = thread.clone();
        StoredThread {
            pid,
            tid,
            name,
            process,
        }
    }

    fn into_thread(self) -> Thread {
        let StoredThread {
            pid,
            tid,
            name,
            process,
        } = self;
        Thread {
            pid,
            tid,
            name,
            process,
        }
    }
}

impl StoredEarlier {
    fn of(earlier: &Earlier) -> StoredEarlier {
        let Earlier {
            thread,
            stack,
            samples,
            weight,
        } = *earlier;
        StoredEarlier {
            thread,
            stack,
            samples,
            weight,
        }
    }

    fn on(&self, stack: u32) -> Earlier {
        let StoredEarlier {
            thread,
            samples,
            weight,
            ..
        } = *self;
        Earlier {
            thread,
            stack,
            samples,
            weight,
        }
    }
}

impl Document for Stored {
    const SCHEMA: &'static str = SCHEMA;

    fn check(&self) -> Result<(), Flaw> {
        for (at, frame) in self.frames.iter().enumerate() {
            let source = frame.source.map(|(file, _)| file);
            among(source, self.files.len(), || format!("frames[{at}].source"))?;
        }
        let Stacks { parent, frame } = &self.stacks;
        same_length("stacks.frame", frame.len(), parent.len())?;
        for (at, (parent, frame)) in parent.iter().zip(frame).enumerate() {
            among(parent.map(|parent| parent as usize), at, || {
                format!("stacks.parent[{at}]")
            })?;
            among(Some(*frame as usize), self.frames.len(), || {
                format!("stacks.frame[{at}]")
            })?;
        }
        self.check_samples()?;
        let ordered = self.windows.iter().all(|(start, end)| start <= end)
            && self
                .windows
                .is_sorted_by(|before, after| before.1 <= after.0);
        match ordered {
            true => Ok(()),
            false => Err(Flaw::new("windows", "they are not in the order of time")),
        }
    }
}

impl Stored {
    fn check_samples(&self) -> Result<(), Flaw> {
        let (threads, stacks) = (self.threads.len(), self.stacks.frame.len());
        let Columns {
            after_ns,
            thread,
            stack,
            weight,
        } = &self.samples;
        for (name, column) in [
            ("thread", thread.len()),
            ("stack", stack.len()),
            ("weight", weight.len()),
        ] {
            same_length(&format!("samples.{name}"), column, after_ns.len())?;
        }
        for (at, (thread, stack)) in thread.iter().zip(stack).enumerate() {
            among(Some(*thread as usize), threads, || {
                format!("samples.thread[{at}]")
            })?;
            among(Some(*stack as usize), stacks, || {
                format!("samples.stack[{at}]")
            })?;
        }
        for (at, earlier) in self.earlier.iter().enumerate() {
            let thread = earlier.thread.map(|thread| thread as usize);
            among(thread, threads, || format!("earlier[{at}].thread"))?;
            among(Some(earlier.stack as usize), stacks, || {
                format!("earlier[{at}].stack")
            })?;
        }
        let weights = weight
            .iter()
            .copied()
            .chain(self.earlier.iter().map(|earlier| earlier.weight));
        sum("samples.weight", weights)?;
        sum(
            "earlier.samples",
            self.earlier.iter().map(|earlier| earlier.samples),
        )?;
        sum("samples.after_ns", after_ns.iter().copied())
    }
}

fn among(index: Option<usize>, length: usize, field: impl FnOnce() -> String) -> Result<(), Flaw> {
    match index {
        Some(index) if index >= length => Err(Flaw::new(
            field(),
            format!("there is no number {index} among {length}"),
        )),
        _ => Ok(()),
    }
}

fn same_length(field: &str, length: usize, expected: usize) -> Result<(), Flaw> {
    match length == expected {
        true => Ok(()),
        false => Err(Flaw::new(
            field,
            format!("it has {length} values and not {expected} as the others"),
        )),
    }
}

/// Totals have to fit into what formats have room for.
fn sum(field: &str, mut values: impl Iterator<Item = u64>) -> Result<(), Flaw> {
    let sum = values.try_fold(0u64, u64::checked_add);
    match sum.and_then(|sum| i64::try_from(sum).ok()) {
        Some(_) => Ok(()),
        None => Err(Flaw::new(field, "the sum of all is too large")),
    }
}
