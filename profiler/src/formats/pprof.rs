//! A profile as pprof has it: gzipped protobuf by github.com/google/pprof/proto/profile.proto. The messages here have the fields of it that
//! are written.
//!
//! The format has no times: samples of one thread on one stack are one.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use crate::profile::{Frame, FrameKind, Profile, Thread};
use crate::sampling::weight::Unit;

#[derive(Clone, PartialEq, Message)]
struct Proto {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    /// The leaf is the first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
    #[prost(int64, tag = "3")]
    num: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

pub(super) fn write(profile: &Profile, title: &str, out: impl Write) -> io::Result<()> {
    let mut tables = Tables::new(profile);
    let values = Values::of(profile, &mut tables);
    let labels: Vec<[Label; 3]> = (profile.samples.threads.iter())
        .map(|thread| tables.labels(thread))
        .collect();
    let mut out = GzEncoder::new(out, Compression::default());
    // A message that is written in parts is the same message, and all samples at once would take many times the room of the tree.
    for ((thread, stack), counted) in tallies(profile) {
        let sample = Sample {
            location_id: (profile.stacks.from_the_leaf(stack))
                .map(|frame| u64::from(frame) + 1)
                .collect(),
            value: values.of_sample(counted),
            label: thread.map_or_else(Vec::new, |thread| labels[thread as usize].to_vec()),
        };
        let part = Proto {
            sample: vec![sample],
            ..Proto::default()
        };
        out.write_all(&part.encode_to_vec())?;
    }
    let samples = &profile.samples;
    let (begin, end) = (samples.begin_ns(), samples.end_ns());
    let rest = Proto {
        sample_type: values.types.clone(),
        time_nanos: signed(
            samples
                .since_1970(begin)
                .as_nanos()
                .try_into()
                .unwrap_or(u64::MAX),
        ),
        duration_nanos: signed(end - begin),
        period_type: values.types.last().copied(),
        period: signed(values.period),
        comment: vec![
            tables.string(title),
            tables.string(&profile.sampling.told()),
        ],
        mapping: tables.mappings,
        location: tables.locations,
        function: tables.functions,
        string_table: tables.strings.list,
        ..Proto::default()
    };
    out.write_all(&rest.encode_to_vec())?;
    out.finish()?.flush()
}

/// Samples and weight by thread and stack.
fn tallies(profile: &Profile) -> BTreeMap<(Option<u32>, u32), (u64, u64)> {
    let samples = &profile.samples;
    let earlier = samples.earlier.iter();
    let earlier = earlier.map(|earlier| {
        (
            (earlier.thread, earlier.stack),
            earlier.samples,
            earlier.weight,
        )
    });
    let timed = samples.timed.iter();
    let timed = timed.map(|sample| ((Some(sample.thread), sample.stack), 1, sample.weight));
    let mut tallies: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for (place, samples, weight) in earlier.chain(timed) {
        let tally = tallies.entry(place).or_default();
        tally.0 += samples;
        tally.1 += weight;
    }
    tallies
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What each sample has: their number, then what they count.
struct Values {
    types: Vec<ValueType>,
    unit: Unit,
    /// Nanoseconds of CPU time that a sample stands for, or how many events one is sampled of.
    period: u64,
}

impl Values {
    fn of(profile: &Profile, tables: &mut Tables) -> Values {
        let sampling = &profile.sampling;
        let period = match (sampling.unit, sampling.rate_hz) {
            (Unit::Samples, Some(rate_hz)) => 1_000_000_000 / u64::from(rate_hz.max(1)),
            _ => sampling.period.unwrap_or(1),
        };
        let (counted, unit) = match sampling.unit {
            Unit::Samples => ("cpu", "nanoseconds"),
            Unit::Events => (&*sampling.event, "count"),
            Unit::Microseconds => (&*sampling.event, "microseconds"),
        };
        let mut of = |r#type, unit| ValueType {
            r#type: tables.string(r#type),
            unit: tables.string(unit),
        };
        Values {
            types: vec![of("samples", "count"), of(counted, unit)],
            unit: sampling.unit,
            period,
        }
    }

    fn of_sample(&self, (samples, weight): (u64, u64)) -> Vec<i64> {
        let counted = match self.unit {
            Unit::Samples => weight.saturating_mul(self.period),
            Unit::Events | Unit::Microseconds => weight,
        };
        vec![signed(samples), signed(counted)]
    }
}

/// Strings, each once; the first is the empty one.
struct Strings {
    list: Vec<String>,
    known: HashMap<String, i64>,
}

/// What samples refer to by number.
struct Tables {
    strings: Strings,
    mappings: Vec<Mapping>,
    modules: HashMap<String, u64>,
    functions: Vec<Function>,
    known: HashMap<(i64, i64), u64>,
    locations: Vec<Location>,
}

impl Tables {
    /// A location for each frame of the tree, numbered as there, from 1.
    fn new(profile: &Profile) -> Tables {
        let mut tables = Tables {
            strings: Strings {
                list: vec![String::new()],
                known: HashMap::from([(String::new(), 0)]),
            },
            mappings: Vec::new(),
            modules: HashMap::new(),
            functions: Vec::new(),
            known: HashMap::new(),
            locations: Vec::new(),
        };
        // The first is taken for the program.
        let program = profile.samples.threads.first();
        let program = program
            .map_or("program", |thread| &thread.process)
            .to_owned();
        tables.mapping(&program);
        for frame in profile.stacks.frames() {
            tables.locate(frame, &program);
        }
        tables
    }

    fn locate(&mut self, frame: &Frame, program: &str) {
        let Named {
            function,
            bare,
            module,
            line,
        } = Named::of(frame);
        let filename = frame.source.as_ref().map_or("", |source| &source.file);
        let (name, filename) = (self.string(&function), self.string(filename));
        // Where it were the same name, pprof would take it for a mangled one.
        let system_name = self.string(if bare == function { "" } else { bare });
        let id = self.functions.len() as u64 + 1;
        let function_id = *self.known.entry((name, filename)).or_insert(id);
        if function_id == id {
            self.functions.push(Function {
                id,
                name,
                system_name,
                filename,
            });
        }
        let location = Location {
            id: self.locations.len() as u64 + 1,
            mapping_id: self.mapping(module.unwrap_or(program)),
            line: vec![Line { function_id, line }],
        };
        self.locations.push(location);
    }

    fn mapping(&mut self, name: &str) -> u64 {
        if let Some(&id) = self.modules.get(name) {
            return id;
        }
        let id = self.mappings.len() as u64 + 1;
        let filename = self.string(name);
        self.modules.insert(name.to_owned(), id);
        // All that can be known is: nobody need look for the file.
        self.mappings.push(Mapping {
            id,
            filename,
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
        });
        id
    }

    fn labels(&mut self, thread: &Thread) -> [Label; 3] {
        let number = |key, num: u32| Label {
            key,
            str: 0,
            num: num.into(),
        };
        [
            Label {
                key: self.string("thread"),
                str: self.string(&thread.name),
                num: 0,
            },
            number(self.string("tid"), thread.tid),
            number(self.string("pid"), thread.pid),
        ]
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(&index) = self.strings.known.get(text) {
            return index;
        }
        let index = self.strings.list.len() as i64;
        self.strings.list.push(text.to_owned());
        self.strings.known.insert(text.to_owned(), index);
        index
    }
}

/// What a frame's name says.
struct Named<'a> {
    /// The function, without a line.
    function: String,
    /// The function without file or module.
    bare: &'a str,
    module: Option<&'a str>,
    line: i64,
}

impl Named<'_> {
    fn of(frame: &Frame) -> Named<'_> {
        let name = &*frame.name;
        let line = frame.source.as_ref().map_or(0, |source| source.line.into());
        match frame.kind {
            FrameKind::Python => {
                let without_line = || {
                    let (function, line) = name.strip_suffix(')')?.rsplit_once(':')?;
                    let line: u32 = line.parse().ok()?;
                    Some((format!("{function})"), i64::from(line)))
                };
                let (function, line) = without_line().unwrap_or_else(|| (name.to_owned(), line));
                let bare = name.rsplit_once(" (").map_or(name, |(bare, _)| bare);
                Named {
                    function,
                    bare,
                    module: None,
                    line,
                }
            }
            FrameKind::Native | FrameKind::Kernel => {
                let parts = name
                    .strip_suffix(']')
                    .and_then(|name| name.rsplit_once(" ["));
                let (bare, module) =
                    parts.map_or((name, None), |(bare, module)| (bare, Some(module)));
                Named {
                    function: name.to_owned(),
                    bare,
                    module,
                    line,
                }
            }
            FrameKind::Worker | FrameKind::Marker => Named {
                function: name.to_owned(),
                bare: name,
                module: None,
                line,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let of = |kind, name: &str| {
            let frame = Frame::new(kind, name);
            let Named {
                function,
                bare,
                module,
                line,
            } = Named::of(&frame);
            (function, bare.to_owned(), module.map(str::to_owned), line)
        };
        let told = |function: &str, bare: &str, module: Option<&str>, line| {
            (
                function.to_owned(),
                bare.to_owned(),
                module.map(str::to_owned),
                line,
            )
        };
        assert_eq!(
            of(FrameKind::Python, "op (w.py:12)"),
            told("op (w.py)", "op", None, 12)
        );
        assert_eq!(
            of(FrameKind::Python, "<module> (<string>:3)"),
            told("<module> (<string>)", "<module>", None, 3)
        );
        assert_eq!(
            of(FrameKind::Python, "f (a:b.py:x)"),
            told("f (a:b.py:x)", "f", None, 0)
        );
        assert_eq!(
            of(FrameKind::Python, "[entering Python]"),
            told("[entering Python]", "[entering Python]", None, 0)
        );
        assert_eq!(
            of(FrameKind::Native, "f<[u8; 4]> [lib.so]"),
            told("f<[u8; 4]> [lib.so]", "f<[u8; 4]>", Some("lib.so"), 0)
        );
        assert_eq!(
            of(FrameKind::Kernel, "schedule [kernel]"),
            told("schedule [kernel]", "schedule", Some("kernel"), 0)
        );
        assert_eq!(
            of(FrameKind::Worker, "[worker w 1]"),
            told("[worker w 1]", "[worker w 1]", None, 0)
        );
    }
}
