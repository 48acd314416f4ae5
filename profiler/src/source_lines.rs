//! The lines of source that a profile's samples stand in. Pure.
//!
//! In: stacks whose frames know their line: Python frames always, native ones where there is debug information. Out: the
//! hottest lines. A sample counts for the line of its innermost function, with what the kernel did for it; where that function is
//! of a library without debug information, for the innermost Python line.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::profile::{Frame, FrameKind};

/// A line of a source file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceLine {
    /// Path of the file, as the interpreter or the debug information has it.
    pub file: Arc<str>,
    /// Number of the line, from 1.
    pub line: u32,
}

/// A line's share of all that was counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HotLine {
    /// Path of the file, as the interpreter or the debug information has it.
    pub file: String,
    /// Number of the line, from 1.
    pub line: u32,
    /// Share of what counts for this line and not for one that it calls, 0 to 1.
    #[serde(rename = "self")]
    pub self_share: f64,
    /// Share of what has this line anywhere, 0 to 1.
    pub total: f64,
}

/// How much was counted at a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    own: u64,
    total: u64,
}

/// How much was counted at each line.
#[derive(Debug, Default)]
pub struct LineCounts {
    lines: HashMap<SourceLine, Counted>,
    all: u64,
}

impl LineCounts {
    /// Counts `samples` samples of a stack (root to leaf).
    pub fn add(&mut self, stack: &[&Frame], samples: u64) {
        self.all += samples;
        let lines: Vec<&SourceLine> = stack
            .iter()
            .filter_map(|frame| frame.source.as_ref())
            .collect();
        for (index, &line) in lines.iter().enumerate() {
            if !lines[..index].contains(&line) {
                self.at(line).total += samples;
            }
        }
        if let Some(innermost) = innermost(stack) {
            self.at(innermost).own += samples;
        }
    }

    fn at(&mut self, line: &SourceLine) -> &mut Counted {
        self.lines.entry(line.clone()).or_default()
    }

    /// The `n` lines with the most samples of their own.
    pub fn top(&self, n: usize) -> Vec<HotLine> {
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort_by(|(a, a_counted), (b, b_counted)| {
            b_counted.cmp(a_counted).then_with(|| a.cmp(b))
        });
        let share = |count: u64| count as f64 / self.all as f64;
        lines
            .into_iter()
            .filter(|(_, counted)| counted.own > 0)
            .take(n)
            .map(|(source, counted)| HotLine {
                file: source.file.to_string(),
                line: source.line,
                self_share: share(counted.own),
                total: share(counted.total),
            })
            .collect()
    }
}

fn innermost<'a>(stack: &[&'a Frame]) -> Option<&'a SourceLine> {
    let from_the_leaf = |wanted: fn(FrameKind) -> bool| {
        let frame = stack.iter().rev().find(|frame| wanted(frame.kind))?;
        frame.source.as_ref()
    };
    from_the_leaf(|kind| kind != FrameKind::Kernel)
        .or_else(|| from_the_leaf(|kind| kind == FrameKind::Python))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames `file:line`; what has no colon has no line.
    fn stack(frames: &[&str]) -> Vec<Frame> {
        let kind = |name: &str| match name {
            name if name.contains(".py:") => FrameKind::Python,
            name if name.ends_with("[kernel]") => FrameKind::Kernel,
            _ => FrameKind::Native,
        };
        let frame = |name: &&str| {
            let mut frame = Frame::new(kind(name), *name);
            frame.source = name.split_once(':').map(|(file, line)| SourceLine {
                file: file.into(),
                line: line.parse().unwrap(),
            });
            frame
        };
        frames.iter().map(frame).collect()
    }

    fn add(counts: &mut LineCounts, stack: &[Frame], samples: u64) {
        counts.add(&stack.iter().collect::<Vec<_>>(), samples);
    }

    fn told(counts: &LineCounts, n: usize) -> Vec<(String, f64, f64)> {
        let told = |line: HotLine| {
            (
                format!("{}:{}", line.file, line.line),
                line.self_share,
                line.total,
            )
        };
        counts.top(n).into_iter().map(told).collect()
    }

    fn line(name: &str, own: f64, total: f64) -> (String, f64, f64) {
        (name.to_owned(), own, total)
    }

    #[test]
    fn a_sample_counts_for_its_innermost_line_and_once_for_each_that_it_passes() {
        let mut counts = LineCounts::default();
        add(
            &mut counts,
            &stack(&["w.py:3", "k.rs:7", "clear_page [kernel]"]),
            3,
        );
        add(&mut counts, &stack(&["w.py:3", "abstract.c:9", "add"]), 1);
        add(&mut counts, &stack(&["f.py:1", "f.py:1", "f.py:2"]), 4);
        assert_eq!(
            told(&counts, 9),
            [
                line("f.py:2", 0.5, 0.5),
                line("k.rs:7", 0.375, 0.375),
                line("w.py:3", 0.125, 0.5)
            ],
            "a library without lines counts for the Python line, not for the C function that calls it"
        );
        assert_eq!(told(&counts, 1).len(), 1);
    }

    #[test]
    fn what_has_no_line_counts_to_the_whole() {
        let mut counts = LineCounts::default();
        add(&mut counts, &stack(&["idle"]), 1);
        add(&mut counts, &stack(&["w.py:3"]), 1);
        assert_eq!(told(&counts, 9), [line("w.py:3", 0.5, 0.5)]);
        assert_eq!(told(&LineCounts::default(), 9), []);
    }
}
