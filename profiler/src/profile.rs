//! The profile of one backend: a tree of stacks with sample counts. Everything that is written comes from it.

mod samples;
mod stack_tree;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::assemble::Counts;
use crate::sampling::events::SamplingEvents;
use crate::sampling::weight::Unit;
use crate::source_lines::{HotLine, LineCounts, SourceLine};
pub use samples::{Earlier, Sample, Samples, Thread};
pub use stack_tree::StackTree;

/// What kind of code a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameKind {
    /// A Python function.
    Python,
    /// A function of a library or program.
    Native,
    /// A function of the kernel.
    Kernel,
    /// The step from a Python call to a worker thread.
    Worker,
    /// A note of the profiler's own, such as `[python?]`.
    Marker,
}

/// One frame of a merged stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// What kind of code it is.
    pub kind: FrameKind,
    /// As shown: `name (file.py:LINE)`, `symbol [module]`, `[worker NAME]`.
    pub name: Arc<str>,
    /// Where in the source it stands, where that is known.
    pub source: Option<SourceLine>,
}

impl Frame {
    /// A frame of `kind` shown as `name`, without a place in the source.
    pub fn new(kind: FrameKind, name: impl Into<Arc<str>>) -> Frame {
        Frame {
            kind,
            name: name.into(),
            source: None,
        }
    }
}

/// How the samples of a profile were taken and how well they could be put together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// The sampled event: `cycles`, or `cpu-clock` where there is no PMU; `record` samples others too.
    pub event: String,
    /// Samples asked for, per second of a thread's time; None where they are taken by number.
    pub rate_hz: Option<u32>,
    /// Of how many events one is sampled; None where the rate decides.
    #[serde(default)]
    pub period: Option<u64>,
    /// What the stacks count.
    #[serde(default)]
    pub unit: Unit,
    /// How much of it all stacks have together.
    #[serde(default)]
    pub total: u64,
    /// Samples within the windows.
    pub samples: u64,
    /// Samples inside the op.
    pub in_op: u64,
    /// Samples that the kernel could not hand over.
    pub lost: u64,
    /// Samples whose native and Python stack agreed, or whose worker thread was joined to its caller.
    pub merged: u64,
    /// `merged / samples`, 0 without samples.
    pub merged_ratio: f64,
    /// Share of samples whose native stack was walked to its root.
    pub unwound_ratio: f64,
    /// Samples of worker threads joined to a Python call.
    pub joined_workers: u64,
    /// Whether kernel frames could be sampled.
    pub kernel_frames: bool,
    /// Why kernel frames are missing or have no names, and how to mend that.
    pub kernel_reason: Option<String>,
    /// Share of snapshots of the Python stacks that could not be read.
    pub python_failed_ratio: f64,
}

impl Sampling {
    /// What `events` gave: samples of these `counts`, which put `total` on the stacks.
    pub fn new(events: &SamplingEvents, lost: u64, counts: &Counts, total: u64) -> Sampling {
        let share = |part: u64, all: u64| {
            if all == 0 {
                0.0
            } else {
                part as f64 / all as f64
            }
        };
        Sampling {
            event: events.event().to_owned(),
            rate_hz: events.rate_hz(),
            period: events.period(),
            unit: events.unit(),
            total,
            samples: counts.samples,
            in_op: counts.in_op,
            lost,
            merged: counts.merged,
            merged_ratio: share(counts.merged, counts.samples),
            unwound_ratio: share(counts.unwound, counts.samples),
            joined_workers: counts.joined_workers,
            kernel_frames: events.kernel(),
            kernel_reason: kernel_reason(events.kernel(), counts.hidden_kernel).map(str::to_owned),
            python_failed_ratio: share(counts.failed_looks, counts.looks),
        }
    }
}

fn kernel_reason(sampled: bool, hidden: u64) -> Option<&'static str> {
    match (sampled, hidden) {
        (false, _) => Some(
            "kernel frames are missing: set kernel.perf_event_paranoid to 1 or lower (sysctl), or grant CAP_PERFMON",
        ),
        (true, 1..) => Some(
            "kernel frames have no names, as /proc/kallsyms hides their addresses: set kernel.kptr_restrict to 0 and \
             kernel.perf_event_paranoid to 1 or lower (sysctl), or grant CAP_SYSLOG",
        ),
        (true, 0) => None,
    }
}

impl Sampling {
    /// What the stacks count, for people: `samples`, `page-faults`, `µs off CPU`.
    pub fn counted(&self) -> String {
        match self.unit {
            Unit::Samples => "samples".to_owned(),
            Unit::Events => self.event.clone(),
            Unit::Microseconds if self.rate_hz.is_none() => "µs off CPU".to_owned(),
            Unit::Microseconds => format!("µs of {}", self.event),
        }
    }

    /// How often a sample was taken, for people.
    pub fn pace(&self) -> String {
        match (self.rate_hz, self.period) {
            (Some(rate_hz), _) => format!("{rate_hz} Hz"),
            (None, None | Some(1)) => "each one".to_owned(),
            (None, Some(period)) => format!("one in {period}"),
        }
    }

    /// How much was counted, and how, for people.
    pub fn told(&self) -> String {
        let Sampling { samples, event, .. } = self;
        let pace = self.pace();
        let ms = self.total as f64 / 1e3;
        match self.unit {
            Unit::Samples => format!("{samples} samples ({event}, {pace})"),
            Unit::Events => format!("{} {event} ({samples} samples, {pace})", self.total),
            Unit::Microseconds if self.rate_hz.is_none() => {
                format!("{ms:.1} ms off CPU ({samples} waits)")
            }
            Unit::Microseconds => format!("{ms:.1} ms of {event} ({samples} samples, {pace})"),
        }
    }
}

/// A frame's share of all that was counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopFrame {
    /// The frame as shown.
    pub frame: String,
    /// Share of what has this frame at the leaf, 0 to 1.
    #[serde(rename = "self")]
    pub self_share: f64,
    /// Share of what has this frame anywhere, 0 to 1.
    pub total: f64,
}

/// The merged samples of one backend.
#[derive(Debug)]
pub struct Profile {
    /// The stacks.
    pub stacks: StackTree,
    /// The samples on them.
    pub samples: Samples,
    /// How they were taken.
    pub sampling: Sampling,
}

impl Profile {
    /// The `n` frames with the most samples at the leaf. Frames that look the same are one, wherever in the function they stand.
    pub fn top(&self, n: usize) -> Vec<TopFrame> {
        let mut counts: HashMap<&str, (u64, u64)> = HashMap::new();
        let mut all = 0;
        self.stacks.for_each(|stack, samples| {
            all += samples;
            for (index, frame) in stack.iter().enumerate() {
                if !stack[..index].iter().any(|outer| outer.name == frame.name) {
                    counts.entry(&frame.name).or_default().1 += samples;
                }
            }
            if let Some(leaf) = stack.last() {
                counts.entry(&leaf.name).or_default().0 += samples;
            }
        });
        let mut frames: Vec<_> = counts.into_iter().collect();
        frames
            .sort_by(|(a, a_counts), (b, b_counts)| b_counts.cmp(a_counts).then_with(|| a.cmp(b)));
        let share = |count: u64| count as f64 / all as f64;
        frames
            .into_iter()
            .filter(|(_, (own, _))| *own > 0)
            .take(n)
            .map(|(name, (own, total))| TopFrame {
                frame: folded_name(name),
                self_share: share(own),
                total: share(total),
            })
            .collect()
    }

    /// The `n` lines of source with the most samples of their own.
    pub fn lines(&self, n: usize) -> Vec<HotLine> {
        let mut lines = LineCounts::default();
        self.stacks
            .for_each(|stack, samples| lines.add(stack, samples));
        lines.top(n)
    }

    /// The stacks in folded form, one `frame;frame;frame COUNT` a line, ordered by stack.
    pub fn folded(&self) -> String {
        let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
        self.stacks.for_each(|stack, samples| {
            let names: Vec<String> = stack.iter().map(|frame| folded_name(&frame.name)).collect();
            *stacks.entry(names.join(";")).or_default() += samples;
        });
        let lines = stacks.iter();
        lines
            .map(|(stack, samples)| format!("{stack} {samples}\n"))
            .collect()
    }
}

/// A frame's name without what separates frames and lines in the folded form, and without an end that readers would take for a count.
pub fn folded_name(name: &str) -> String {
    let name = name.replace(';', ":").replace(['\n', '\r'], " ");
    match name.trim_end().rsplit_once(' ') {
        _ if name.trim().is_empty() => "[no name]".to_owned(),
        Some((start, end)) if end.parse::<f64>().is_ok() => format!("{start}:{end}"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(names: &[&str]) -> Vec<Frame> {
        names
            .iter()
            .map(|name| Frame::new(FrameKind::Native, *name))
            .collect()
    }

    fn sampling() -> Sampling {
        Sampling {
            event: "cpu-clock".to_owned(),
            rate_hz: Some(997),
            period: None,
            unit: Unit::Samples,
            total: 0,
            samples: 0,
            in_op: 0,
            lost: 0,
            merged: 0,
            merged_ratio: 0.0,
            unwound_ratio: 0.0,
            joined_workers: 0,
            kernel_frames: true,
            kernel_reason: None,
            python_failed_ratio: 0.0,
        }
    }

    fn profile(stacks: &[(&[&str], u64)]) -> Profile {
        let mut tree = StackTree::default();
        for (names, samples) in stacks {
            tree.add(&stack(names), *samples);
        }
        Profile {
            stacks: tree,
            samples: Samples::default(),
            sampling: sampling(),
        }
    }

    #[test]
    fn what_was_counted_is_told_with_its_unit() {
        let of = |event: &str, unit, period: Option<u64>| Sampling {
            event: event.to_owned(),
            unit,
            period,
            rate_hz: period.is_none().then_some(997),
            samples: 20,
            total: 1220,
            ..sampling()
        };
        let told = [
            (
                of("cpu-clock", Unit::Samples, None),
                "samples",
                "20 samples (cpu-clock, 997 Hz)",
            ),
            (
                of("page-faults", Unit::Events, Some(61)),
                "page-faults",
                "1220 page-faults (20 samples, one in 61)",
            ),
            (
                of("major-faults", Unit::Events, Some(1)),
                "major-faults",
                "1220 major-faults (20 samples, each one)",
            ),
            (
                of("off-cpu", Unit::Microseconds, Some(1)),
                "µs off CPU",
                "1.2 ms off CPU (20 waits)",
            ),
            (
                of("task-clock", Unit::Microseconds, None),
                "µs of task-clock",
                "1.2 ms of task-clock (20 samples, 997 Hz)",
            ),
        ];
        for (sampling, counted, told) in told {
            assert_eq!((&*sampling.counted(), &*sampling.told()), (counted, told));
        }
    }

    #[test]
    fn equal_stacks_are_one() {
        let profile = profile(&[
            (&["a", "b"], 1),
            (&["a", "c"], 2),
            (&["a", "b"], 3),
            (&["a"], 1),
        ]);
        assert_eq!(profile.folded(), "a 1\na;b 4\na;c 2\n");
        assert_eq!(profile.stacks.total(), 7);
    }

    #[test]
    fn separators_in_names_are_replaced() {
        assert_eq!(profile(&[(&["f;g\nh"], 1)]).folded(), "f:g h 1\n");
        assert_eq!(
            profile(&[(&["", " "], 1)]).folded(),
            "[no name];[no name] 1\n"
        );
        assert_eq!(profile(&[(&["f 12"], 1)]).folded(), "f:12 1\n");
    }

    #[test]
    fn top_counts_a_recursive_frame_once_a_stack() {
        let top = profile(&[(&["main", "f", "f", "g"], 3), (&["main", "f"], 1)]).top(5);
        let shares: Vec<_> = top
            .iter()
            .map(|top| (top.frame.as_str(), top.self_share, top.total))
            .collect();
        assert_eq!(shares, [("g", 0.75, 0.75), ("f", 0.25, 1.0)]);
    }

    #[test]
    fn no_samples_no_top() {
        assert_eq!(profile(&[]).top(5), []);
        assert_eq!(profile(&[]).folded(), "");
    }
}
