//! From a recording to its files: one profile of all processes, and one a process where there are several.

use std::collections::BTreeMap;
use std::time::Duration;

use super::summary::{Header, ProcessSummary, RecordSummary};
use crate::assemble::{Counts, Question, assemble};
use crate::formats::Format;
use crate::native::symbol_store::SymbolStore;
use crate::outputs::{TOP, write_profile};
use crate::profile::{Earlier, Frame, FrameKind, Profile, Samples, Sampling, StackTree};
use crate::run_dir::{RunDir, RunDirError};
use crate::sampling::events::SamplingEvents;
use crate::sampling::session::Recording;
use crate::sampling::target::Target;
use crate::sampling::weight::Unit;

/// A process has a flame graph of its own from one in so many of what is counted on.
const WORTH_A_GRAPH: u64 = 100;

struct Process {
    pid: u32,
    name: String,
    counts: Counts,
    profile: Profile,
}

/// What is written of a recording.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The process that was started or attached to.
    pub(super) root: u32,
    /// Whether the processes that it started count too.
    pub(super) subprocesses: bool,
    /// What is outside of the outermost Python frame that begins so is left out, where a stack has one.
    pub(super) root_frame: Option<&'a str>,
    /// Of the flame graph; the command line without one.
    pub(super) title: Option<&'a str>,
    /// In which formats profiles are written.
    pub(super) formats: &'a [Format],
}

/// Writes every file, summary.json last.
pub(super) fn write(
    recording: Recording,
    header: Header,
    wanted: Wanted<'_>,
    run_dir: &RunDir,
) -> Result<RecordSummary, RunDirError> {
    let Recording {
        events,
        targets,
        lost,
        epoch,
    } = recording;
    let processes = processes(targets, wanted, &events, epoch);
    let all = together(&processes, &events, lost);
    let of_its_own =
        |own: &Sampling| processes.len() > 1 && own.total * WORTH_A_GRAPH >= all.sampling.total;
    let command = header.command.join(" ");
    let title = wanted.title.unwrap_or(&command);
    let outputs = write_profile(run_dir, "profile", title, &all, wanted.formats)?;
    let mut summaries = Vec::new();
    for (index, process) in processes.iter().enumerate() {
        let Process {
            pid, name, profile, ..
        } = process;
        let outputs = match of_its_own(&profile.sampling) {
            true => write_profile(
                run_dir,
                &format!("process-{index}-{pid}"),
                &format!("{name} ({pid})"),
                profile,
                wanted.formats,
            )?,
            false => BTreeMap::new(),
        };
        summaries.push(ProcessSummary {
            pid: *pid,
            name: name.clone(),
            sampling: profile.sampling.clone(),
            outputs,
        });
    }
    let summary = RecordSummary {
        schema: super::summary::SCHEMA,
        header,
        top: all.top(TOP),
        lines: all.lines(TOP),
        sampling: all.sampling,
        outputs,
        processes: summaries,
    };
    run_dir.write_json("summary.json", &summary)?;
    Ok(summary)
}

/// The programs that were sampled.
fn processes(
    targets: Vec<Target>,
    wanted: Wanted<'_>,
    events: &SamplingEvents,
    epoch: Duration,
) -> Vec<Process> {
    let mut symbols = SymbolStore::default();
    let question = Question {
        op: None,
        waits: events.switches(),
        root: wanted.root_frame,
    };
    let process = |target: Target| {
        let (pid, name) = (target.pid(), target.name());
        let mut assembled = assemble(target, &mut symbols, question, |_| true);
        assembled.samples.epoch = epoch;
        let counts = assembled.counts;
        Process {
            pid,
            name,
            counts,
            profile: Profile {
                sampling: Sampling::new(events, 0, &counts, assembled.stacks.total()),
                stacks: assembled.stacks,
                samples: assembled.samples,
            },
        }
    };
    let targets = targets.into_iter();
    targets
        .filter(|target| wanted.subprocesses || target.pid() == wanted.root)
        .map(process)
        .filter(|process| process.counts.samples > 0)
        .collect()
}

/// All stacks in one tree; under a frame a process where there are several.
fn together(processes: &[Process], events: &SamplingEvents, lost: u64) -> Profile {
    let (mut stacks, mut samples) = (StackTree::default(), Samples::default());
    let mut counts = Counts::default();
    for process in processes {
        let Process { pid, name, .. } = process;
        let root = Frame::new(FrameKind::Marker, format!("[process {name} {pid}]"));
        let root = (processes.len() > 1).then_some(&root);
        let here = stacks.graft(&process.profile.stacks, root);
        samples.append(&process.profile.samples, &here);
        counts += process.counts;
    }
    if let Some(weight) = lost_weight(events, lost, counts.samples, stacks.total())
        && let Some(stack) = stacks.add(&[Frame::new(FrameKind::Marker, "[lost samples]")], weight)
    {
        samples.earlier.push(Earlier {
            thread: None,
            stack,
            samples: 0,
            weight,
        });
    }
    Profile {
        sampling: Sampling::new(events, lost, &counts, stacks.total()),
        stacks,
        samples,
    }
}

/// How much the samples count that found no room, each the mean of the others: so the total is right. How long lost waits were is not
/// known.
fn lost_weight(events: &SamplingEvents, lost: u64, samples: u64, total: u64) -> Option<u64> {
    if events.unit() == Unit::Samples || events.switches() {
        return None;
    }
    let whole = lost.saturating_mul(total);
    whole.checked_div(samples).filter(|weight| *weight > 0)
}
