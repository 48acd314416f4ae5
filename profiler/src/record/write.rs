//! From a recording to its files: one profile of all processes, and one a process where there are several.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Whole;
use super::summary::{Header, ProcessSummary, RecordSummary};
use crate::assemble::{Assembled, Counts, assemble};
use crate::native::symbol_store::SymbolStore;
use crate::outputs::{TOP, write_profile};
use crate::profile::{Frame, FrameKind, Profile, Sampling, StackTree};
use crate::run_dir::{RunDir, RunDirError};
use crate::sampling::events::SamplingEvents;
use crate::sampling::session::Recording;
use crate::sampling::weight::Unit;
use crate::source_lines::LineCounts;

/// A process has a flame graph of its own from one in so many of what is counted on.
const WORTH_A_GRAPH: u64 = 100;

/// The functions of the kernel that switch to another thread.
const SCHEDULER: [&str; 2] = ["schedule [kernel]", "__schedule [kernel]"];

struct Process {
    pid: u32,
    name: String,
    assembled: Assembled,
}

/// Writes every file, summary.json last.
pub(super) fn write(
    recording: Recording,
    whole: &Whole,
    header: Header,
    run_dir: &RunDir,
) -> Result<RecordSummary, RunDirError> {
    let Recording {
        events,
        targets,
        lost,
    } = recording;
    let mut symbols = SymbolStore::default();
    let mut processes: Vec<Process> = targets
        .into_iter()
        .filter(|target| whole.subprocesses || target.pid() == whole.root)
        .map(|target| Process {
            pid: target.pid(),
            name: target.name(),
            assembled: assemble(target, &mut symbols, None, |_| true),
        })
        .filter(|process| process.assembled.counts.samples > 0)
        .collect();
    for process in &mut processes {
        if events.switches() {
            cut(process, without_scheduler);
        }
        if let Some(root) = &whole.root_frame {
            cut(process, |stack| rooted(stack, root));
        }
    }
    let sampling = |counts: &Counts, stacks: &StackTree, lost| {
        Sampling::new(&events, lost, counts, stacks.total())
    };
    let (mut stacks, mut lines, counts) = together(&processes);
    add_lost((&mut stacks, &mut lines), &events, lost, &counts);
    let all = Profile {
        sampling: sampling(&counts, &stacks, lost),
        stacks,
        lines,
    };
    let processes_of_their_own = processes.len() > 1;
    let outputs = write_profile(run_dir, "profile", &whole.title, &all)?;
    let worth_a_graph =
        |own: &Sampling| processes_of_their_own && own.total * WORTH_A_GRAPH >= all.sampling.total;
    let mut summaries = Vec::new();
    for (
        index,
        Process {
            pid,
            name,
            assembled,
        },
    ) in processes.into_iter().enumerate()
    {
        let profile = Profile {
            sampling: sampling(&assembled.counts, &assembled.stacks, 0),
            stacks: assembled.stacks,
            lines: assembled.lines,
        };
        let outputs = match worth_a_graph(&profile.sampling) {
            true => write_profile(
                run_dir,
                &format!("process-{index}-{pid}"),
                &format!("{name} ({pid})"),
                &profile,
            )?,
            false => BTreeMap::new(),
        };
        summaries.push(ProcessSummary {
            pid,
            name,
            sampling: profile.sampling,
            outputs,
        });
    }
    let summary = RecordSummary {
        schema: super::summary::SCHEMA,
        header,
        top: all.top(TOP),
        lines: all.lines.top(TOP),
        sampling: all.sampling,
        outputs,
        processes: summaries,
    };
    run_dir.write_json("summary.json", &summary)?;
    Ok(summary)
}

/// Every wait ends in the scheduler: what led there is the leaf.
fn without_scheduler(stack: &[&Frame]) -> Range<usize> {
    let is_scheduler = |frame: &&&Frame| {
        frame.kind == FrameKind::Kernel && SCHEDULER.iter().any(|name| **name == *frame.name)
    };
    let inner = stack.iter().rev().take_while(is_scheduler).count();
    0..stack.len() - inner
}

/// From the outermost Python frame that begins so, where there is one.
fn rooted(stack: &[&Frame], root: &str) -> Range<usize> {
    let is_root = |frame: &&Frame| frame.kind == FrameKind::Python && frame.name.starts_with(root);
    stack.iter().position(is_root).unwrap_or(0)..stack.len()
}

/// Leaves of each stack what `part` says.
fn cut(process: &mut Process, part: impl Fn(&[&Frame]) -> Range<usize>) {
    let mut stacks = StackTree::default();
    process.assembled.stacks.for_each(|stack, weight| {
        let kept: Vec<Frame> = stack[part(stack)].iter().copied().cloned().collect();
        stacks.add(&kept, weight);
    });
    process.assembled.stacks = stacks;
}

/// Gives the samples that found no room a place of their own, each the mean of the others: so the total is right. How long lost
/// waits were is not known.
fn add_lost(
    (stacks, lines): (&mut StackTree, &mut LineCounts),
    events: &SamplingEvents,
    lost: u64,
    counts: &Counts,
) {
    if events.unit() == Unit::Samples || events.switches() {
        return;
    }
    let whole = lost.saturating_mul(stacks.total());
    let frame = Frame::new(FrameKind::Marker, "[lost samples]");
    if let Some(lost) = whole.checked_div(counts.samples).filter(|lost| *lost > 0) {
        let stack = [frame];
        stacks.add(&stack, lost);
        lines.add(&stack, lost);
    }
}

/// All stacks in one tree; under a frame a process where there are several.
fn together(processes: &[Process]) -> (StackTree, LineCounts, Counts) {
    let (mut stacks, mut counts) = (StackTree::default(), Counts::default());
    let mut lines = LineCounts::default();
    for Process {
        pid,
        name,
        assembled,
    } in processes
    {
        let root = Frame::new(FrameKind::Marker, format!("[process {name} {pid}]"));
        let root = (processes.len() > 1).then_some(root);
        assembled.stacks.for_each(|stack, samples| {
            let stack: Vec<Frame> = root.iter().chain(stack.iter().copied()).cloned().collect();
            stacks.add(&stack, samples);
        });
        lines += &assembled.lines;
        counts += assembled.counts;
    }
    (stacks, lines, counts)
}
