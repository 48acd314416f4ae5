//! From a recording to its files: one profile of all processes, and one a process where there are several.

use std::collections::BTreeMap;

use super::summary::{Header, ProcessSummary, RecordSummary};
use crate::assemble::{Assembled, Counts, assemble};
use crate::native::symbol_store::SymbolStore;
use crate::outputs::{TOP, write_profile};
use crate::profile::{Frame, FrameKind, Profile, Sampling, StackTree};
use crate::run_dir::{RunDir, RunDirError};
use crate::sampling::session::Recording;

/// A process has a flame graph of its own from one sample in so many on.
const WORTH_A_GRAPH: u64 = 100;

struct Process {
    pid: u32,
    name: String,
    assembled: Assembled,
}

/// Writes every file, summary.json last. Without `subprocesses`, only `root` counts.
pub(super) fn write(
    recording: Recording,
    root: u32,
    header: Header,
    rate_hz: u32,
    subprocesses: bool,
    run_dir: &RunDir,
) -> Result<RecordSummary, RunDirError> {
    let Recording {
        events,
        targets,
        lost,
    } = recording;
    let mut symbols = SymbolStore::default();
    let processes: Vec<Process> = targets
        .into_iter()
        .filter(|target| subprocesses || target.pid() == root)
        .map(|target| Process {
            pid: target.pid(),
            name: target.name(),
            assembled: assemble(target, &mut symbols, None, |_| true),
        })
        .filter(|process| process.assembled.counts.samples > 0)
        .collect();
    let sampling = |counts: &Counts, lost| Sampling::new(&events, rate_hz, lost, counts);
    let (stacks, counts) = together(&processes);
    let all = Profile {
        stacks,
        sampling: sampling(&counts, lost),
    };
    let processes_of_their_own = processes.len() > 1;
    let outputs = write_profile(run_dir, "profile", &header.command.join(" "), &all)?;
    let worth_a_graph =
        |own: &Counts| processes_of_their_own && own.samples * WORTH_A_GRAPH >= counts.samples;
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
            sampling: sampling(&assembled.counts, 0),
            stacks: assembled.stacks,
        };
        let outputs = match worth_a_graph(&assembled.counts) {
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
        sampling: all.sampling,
        outputs,
        processes: summaries,
    };
    run_dir.write_json("summary.json", &summary)?;
    Ok(summary)
}

/// All stacks in one tree; under a frame a process where there are several.
fn together(processes: &[Process]) -> (StackTree, Counts) {
    let (mut stacks, mut counts) = (StackTree::default(), Counts::default());
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
        counts += assembled.counts;
    }
    (stacks, counts)
}
