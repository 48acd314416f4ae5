//! A profile for the Firefox Profiler (<https://profiler.firefox.com>), in its processed format: processes and threads on an axis of time,
//! a category a kind of frame, the windows of the op as markers.

use std::collections::HashMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use fxprof_processed_profile::{
    CategoryColor, CategoryHandle, CpuDelta, Frame, FrameFlags, FrameInfo, MarkerFieldFlags,
    MarkerFieldFormat, MarkerTiming, Profile as Processed, ReferenceTimestamp, SamplingInterval,
    StackHandle, StaticSchemaMarker, StaticSchemaMarkerField, StringHandle, ThreadHandle,
    Timestamp,
};

use crate::profile::{FrameKind, Profile};
use crate::sampling::weight::Unit;

pub(super) fn write(profile: &Profile, title: &str, out: impl Write) -> io::Result<()> {
    let processed = processed(profile, title);
    let mut out = GzEncoder::new(out, Compression::default());
    serde_json::to_writer(&mut out, &processed)?;
    out.finish()?.flush()
}

fn processed(profile: &Profile, title: &str) -> Processed {
    let samples = &profile.samples;
    let begin_ns = samples.begin_ns();
    let rate_hz = profile.sampling.rate_hz.unwrap_or(0);
    let between_ns = 1_000_000_000 / u64::from(rate_hz.max(1));
    let interval = match rate_hz {
        // By number: there is none.
        0 => SamplingInterval::from_millis(1),
        _ => SamplingInterval::from_nanos(between_ns),
    };
    let start = ReferenceTimestamp::from_duration_since_unix_epoch(samples.since_1970(begin_ns));
    let mut processed = Processed::new(title, start, interval);
    processed.set_symbolicated(true);
    processed.set_os_name("Linux");
    let threads = threads(&mut processed, profile, begin_ns);
    let frames = frames(&mut processed, profile);
    let mut writer = Writer {
        profile,
        processed,
        frames,
        stacks: HashMap::new(),
    };
    for earlier in &samples.earlier {
        let thread = threads[earlier
            .thread
            .map_or(samples.threads.len(), |thread| thread as usize)];
        writer.add(thread, at(0), earlier.stack, CpuDelta::ZERO, earlier.weight);
    }
    // A sample by time stands for the CPU time since the one before, so much at most.
    let by_time = profile.sampling.unit == Unit::Samples && rate_hz > 0;
    let mut before: HashMap<u32, u64> = HashMap::new();
    for sample in &samples.timed {
        let since = before
            .insert(sample.thread, sample.time_ns)
            .unwrap_or(begin_ns);
        let busy_ns = match by_time {
            true => sample.time_ns.saturating_sub(since).min(between_ns),
            false => 0,
        };
        let (thread, time) = (
            threads[sample.thread as usize],
            at(sample.time_ns - begin_ns),
        );
        writer.add(
            thread,
            time,
            sample.stack,
            CpuDelta::from_nanos(busy_ns),
            sample.weight,
        );
    }
    let mut processed = writer.processed;
    let main = samples
        .threads
        .iter()
        .position(|thread| thread.tid == thread.pid);
    if let Some(&main) = threads.get(main.unwrap_or(0)) {
        mark_windows(&mut processed, profile, main, begin_ns);
    }
    processed
}

fn at(since_begin_ns: u64) -> Timestamp {
    Timestamp::from_nanos_since_reference(since_begin_ns)
}

/// A thread for each of the profile's, and one for what belongs to none. Events that were counted are a track of each process.
fn threads(processed: &mut Processed, profile: &Profile, begin_ns: u64) -> Vec<ThreadHandle> {
    let mut processes = HashMap::new();
    let mut threads = Vec::new();
    let samples = &profile.samples;
    for thread in &samples.threads {
        let process = *processes
            .entry((thread.pid, &thread.process))
            .or_insert_with(|| processed.add_process(&thread.process, thread.pid, at(0)));
        let handle = processed.add_thread(process, thread.tid, at(0), thread.tid == thread.pid);
        processed.set_thread_name(handle, &thread.name);
        threads.push(handle);
    }
    if samples
        .earlier
        .iter()
        .any(|earlier| earlier.thread.is_none())
    {
        let process = processed.add_process("no process", 0, at(0));
        let nowhere = processed.add_thread(process, 0, at(0), true);
        processed.set_thread_name(nowhere, "no thread");
        threads.push(nowhere);
    }
    if profile.sampling.unit == Unit::Events {
        let event = &profile.sampling.event;
        let counters: HashMap<_, _> = (processes.into_iter())
            .map(|(of, process)| (of, processed.add_counter(process, event, "Events", event)))
            .collect();
        for sample in &samples.timed {
            let thread = &samples.threads[sample.thread as usize];
            let counter = counters[&(thread.pid, &thread.process)];
            let time = at(sample.time_ns - begin_ns);
            processed.add_counter_sample(counter, time, sample.weight as f64, 1);
        }
    }
    threads
}

/// What each frame of the tree is here.
fn frames(processed: &mut Processed, profile: &Profile) -> Vec<FrameInfo> {
    let kinds = [
        (FrameKind::Python, "Python", CategoryColor::Yellow),
        (FrameKind::Native, "Native", CategoryColor::Orange),
        (FrameKind::Kernel, "Kernel", CategoryColor::Red),
        (FrameKind::Worker, "Worker thread", CategoryColor::Green),
        (FrameKind::Marker, "Note", CategoryColor::Gray),
    ];
    let categories: HashMap<FrameKind, CategoryHandle> = (kinds.into_iter())
        .map(|(kind, name, color)| (kind, processed.add_category(name, color)))
        .collect();
    let frames = profile.stacks.frames().iter();
    let info = |frame: &crate::profile::Frame| FrameInfo {
        frame: Frame::Label(processed.intern_string(&frame.name)),
        category_pair: categories[&frame.kind].into(),
        flags: FrameFlags::empty(),
    };
    frames.map(info).collect()
}

struct Writer<'a> {
    profile: &'a Profile,
    processed: Processed,
    frames: Vec<FrameInfo>,
    stacks: HashMap<(ThreadHandle, u32), StackHandle>,
}

impl Writer<'_> {
    /// Adds a sample; one that weighs more than the format allows is several.
    fn add(
        &mut self,
        thread: ThreadHandle,
        time: Timestamp,
        stack: u32,
        busy: CpuDelta,
        weight: u64,
    ) {
        let stack = self.stack(thread, stack);
        let (mut busy, mut left) = (busy, weight);
        while left > 0 {
            let part = i32::try_from(left).unwrap_or(i32::MAX);
            self.processed.add_sample(thread, time, stack, busy, part);
            left -= u64::from(part.unsigned_abs());
            busy = CpuDelta::ZERO;
        }
    }

    /// The stack of a node in the thread's own table.
    fn stack(&mut self, thread: ThreadHandle, node: u32) -> Option<StackHandle> {
        if let Some(known) = self.stacks.get(&(thread, node)) {
            return Some(*known);
        }
        let leaf_first = self.profile.stacks.from_the_leaf(node);
        let mut frames: Vec<FrameInfo> = leaf_first
            .map(|frame| self.frames[frame as usize].clone())
            .collect();
        frames.reverse();
        let stack = self
            .processed
            .intern_stack_frames(thread, frames.into_iter())?;
        self.stacks.insert((thread, node), stack);
        Some(stack)
    }
}

/// A stretch of time in which the op ran.
struct OpWindow {
    name: StringHandle,
}

impl StaticSchemaMarker for OpWindow {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "OpWindow";
    const DESCRIPTION: Option<&'static str> = Some("The op ran, and nothing else");
    const FIELDS: &'static [StaticSchemaMarkerField] = &[StaticSchemaMarkerField {
        key: "op",
        label: "Op",
        format: MarkerFieldFormat::String,
        flags: MarkerFieldFlags::SEARCHABLE,
    }];

    fn name(&self, _: &mut Processed) -> StringHandle {
        self.name
    }

    fn category(&self, _: &mut Processed) -> CategoryHandle {
        CategoryHandle::OTHER
    }

    fn string_field_value(&self, _: u32) -> StringHandle {
        self.name
    }

    fn number_field_value(&self, _: u32) -> f64 {
        0.0
    }
}

fn mark_windows(processed: &mut Processed, profile: &Profile, thread: ThreadHandle, begin_ns: u64) {
    let name = processed.intern_string("op");
    for (start, end) in &profile.samples.windows {
        let timing = MarkerTiming::Interval(at(start - begin_ns), at(end - begin_ns));
        processed.add_marker(thread, timing, OpWindow { name });
    }
}
