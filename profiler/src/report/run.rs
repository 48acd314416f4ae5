//! What a report shows of one run.

use std::path::Path;

use super::chart::PairChart;
use super::counters::CounterTable;
use super::flames::{self, Flame};
use super::repeat;
use super::sources::{LineRow, Sources};
use crate::compare::{Comparison, LARGEST_SAME, SMALLEST_DIFFERENCE, Verdict};
use crate::document::DocumentError;
use crate::plan::{Backend, Cell};
use crate::summary::{BackendSummary, SamplingStatus, SamplingSummary, Summary};
use crate::table::{self, number, percent, time};

/// Frames and lines with a smaller share are left out: they are a handful of samples.
const LEAST: f64 = 0.005;

/// A run.
pub(super) struct RunView {
    pub(super) title: String,
    pub(super) interrupted: bool,
    pub(super) verdict: Option<VerdictView>,
    pub(super) command: String,
    /// What is missing: one line each.
    pub(super) lacks: Vec<String>,
    pub(super) backends: Vec<BackendView>,
    /// Whether it is known what a call has to move.
    pub(super) moves: bool,
    pub(super) chart: Option<PairChart>,
    pub(super) counters: CounterTable,
    pub(super) flames: Vec<Flame>,
    /// Names and values.
    pub(super) environment: Vec<(&'static str, String)>,
}

/// A judgement and what it rests on.
pub(super) struct VerdictView {
    pub(super) word: &'static str,
    pub(super) sentence: String,
    pub(super) ratio: String,
    pub(super) interval: String,
    pub(super) noise_floor: String,
    pub(super) margin: String,
    pub(super) pairs: usize,
    /// Why it is so: one sentence each.
    pub(super) grounds: Vec<String>,
    /// What disturbed the comparison.
    pub(super) noise: Option<String>,
}

/// One backend.
pub(super) struct BackendView {
    pub(super) title: String,
    pub(super) median: String,
    pub(super) interval: String,
    pub(super) fastest: String,
    /// Bytes that have to be moved, by the median.
    pub(super) throughput: Option<String>,
    pub(super) calls: String,
    pub(super) cpus: String,
    pub(super) kernel: String,
    /// How the profile was taken, or why there is none.
    pub(super) sampling: Vec<String>,
    pub(super) top: Vec<TopRow>,
    pub(super) lines: Vec<LineRow>,
}

/// A frame with its share.
pub(super) struct TopRow {
    pub(super) share: f64,
    pub(super) own: String,
    pub(super) total: String,
    pub(super) frame: String,
}

impl RunView {
    /// Of the run in `directory`.
    ///
    /// # Errors
    /// [`DocumentError::Field`] when an output is no file of the run.
    pub(super) fn new(
        summary: &Summary,
        directory: &Path,
        nonce: &str,
    ) -> Result<RunView, DocumentError> {
        let sides = summary.cell.op.backends();
        let names = in_order(summary, sides);
        let mut sources = Sources::new(&summary.tool_version, &summary.created);
        let backends = names.iter().filter_map(|&name| {
            let backend = summary.backends.get(name)?;
            Some(BackendView::new(&summary.cell, name, backend, &mut sources))
        });
        let backends = backends.collect();
        let mut lacks = Vec::new();
        let comparison = summary.comparison.as_ref();
        Ok(RunView {
            title: summary.cell.to_string(),
            interrupted: summary.interrupted,
            verdict: comparison.map(|comparison| VerdictView::new(comparison, sides)),
            command: repeat::of_run(summary),
            backends,
            chart: comparison.and_then(|comparison| chart(summary, comparison, sides)),
            moves: summary.cell.bytes_moved().is_some(),
            counters: CounterTable::new(summary, &names),
            flames: flames(summary, &names, directory, nonce, &mut lacks)?,
            environment: environment(summary),
            lacks,
        })
    }
}

/// The baseline first.
fn in_order(summary: &Summary, sides: [Backend; 2]) -> Vec<&str> {
    let mut names: Vec<&str> = summary.backends.keys().map(String::as_str).collect();
    let place = |name: &str| sides.iter().position(|side| side.name() == name);
    names.sort_by_key(|name| place(name).unwrap_or(sides.len()));
    names
}

fn title(name: &str, sides: [Backend; 2]) -> String {
    let known = sides.iter().find(|side| side.name() == name);
    known.map_or(name, |side| side.title()).to_owned()
}

/// The ratio of each pair: windows are interleaved, and each pair has one of either side.
fn chart(summary: &Summary, comparison: &Comparison, sides: [Backend; 2]) -> Option<PairChart> {
    let samples = |side: Backend| {
        let timing = summary.backends.get(side.name())?.timing.as_ref()?;
        Some(timing.samples_ns.iter())
    };
    let pairs = samples(sides[0])?.zip(samples(sides[1])?);
    let ratios: Vec<f64> = pairs
        .map(|(baseline, candidate)| baseline / candidate)
        .collect();
    PairChart::new(&ratios, comparison)
}

/// Every flame graph that the run lists: of each backend, then the difference.
fn flames(
    summary: &Summary,
    names: &[&str],
    directory: &Path,
    nonce: &str,
    lacks: &mut Vec<String>,
) -> Result<Vec<Flame>, DocumentError> {
    let sides = summary.cell.op.backends();
    let of_backend = |name: &&str| {
        let file = summary.backends.get(*name)?.outputs.get("flamegraph")?;
        let field = format!("backends.{name}.outputs.flamegraph");
        Some((field, title(name, sides), file))
    };
    let diff = summary.outputs.get("diff").map(|file| {
        let [baseline, candidate] = sides.map(Backend::title);
        let title = format!("Difference: {baseline} and {candidate}");
        ("outputs.diff".to_owned(), title, file)
    });
    let mut flames = Vec::new();
    for (field, title, file) in names.iter().filter_map(of_backend).chain(diff) {
        if file.contains('/') || file.starts_with('.') || file.is_empty() {
            return Err(DocumentError::Field {
                path: directory.join("summary.json"),
                field,
                reason: format!("{file:?} is no name of a file in the run's directory"),
            });
        }
        let path = directory.join(file);
        match flames::read(&path, title, nonce) {
            Ok(flame) => flames.push(flame),
            Err(error) => lacks.push(format!("no flame graph from {}: {error}", path.display())),
        }
    }
    Ok(flames)
}

impl VerdictView {
    pub(super) fn new(comparison: &Comparison, sides: [Backend; 2]) -> VerdictView {
        let unknown = || "unknown".to_owned();
        VerdictView {
            word: word(comparison.verdict),
            sentence: table::judgement(comparison, sides),
            ratio: format!("{:.3}", comparison.ratio),
            interval: table::interval(comparison.ci95),
            noise_floor: comparison.noise_floor.map_or_else(unknown, percent),
            margin: percent(comparison.margin),
            pairs: comparison.pairs,
            grounds: vec![on_the_interval(comparison), on_the_margin(comparison)],
            noise: table::noise(comparison),
        }
    }
}

/// The verdict in a word.
pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Faster => "faster",
        Verdict::Same => "same",
        Verdict::Slower => "slower",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// Where the interval lies.
fn on_the_interval(comparison: &Comparison) -> String {
    let Comparison { ci95, margin, .. } = comparison;
    if ci95.is_none() {
        return "There are too few pairs for an interval.".to_owned();
    }
    let interval = table::interval(*ci95);
    let (lo, hi) = (1.0 / (1.0 + margin), 1.0 + margin);
    match comparison.verdict {
        Verdict::Faster => {
            format!("The whole interval, {interval}, lies above {hi:.3}, the end of the margin.")
        }
        Verdict::Slower => {
            format!("The whole interval, {interval}, lies below {lo:.3}, the end of the margin.")
        }
        Verdict::Same => {
            format!("The whole interval, {interval}, lies within the margin, {lo:.3} to {hi:.3}.")
        }
        Verdict::Inconclusive if *margin > LARGEST_SAME => format!(
            "The interval, {interval}, does not lie wholly beyond the margin, {lo:.3} to {hi:.3}, and that is too wide to call two \
             times the same."
        ),
        Verdict::Inconclusive => format!(
            "The interval, {interval}, lies neither wholly within the margin, {lo:.3} to {hi:.3}, nor wholly beyond it."
        ),
    }
}

/// What made the margin.
fn on_the_margin(comparison: &Comparison) -> String {
    let margin = percent(comparison.margin);
    match comparison.noise_floor {
        Some(floor) if floor > SMALLEST_DIFFERENCE => format!(
            "The margin of {margin} is the noise floor: so far from 1 the ratio of a backend to itself can stray in this run."
        ),
        Some(floor) => format!(
            "The margin of {margin} is the smallest difference that is called one; the noise floor of this run, {}, is below it.",
            percent(floor)
        ),
        None => "The noise floor is not known: there are too few windows.".to_owned(),
    }
}

impl BackendView {
    fn new(
        cell: &Cell,
        name: &str,
        backend: &BackendSummary,
        sources: &mut Sources,
    ) -> BackendView {
        let timing = backend.timing.as_ref();
        let dash = || "–".to_owned();
        let throughput = timing.and_then(|timing| {
            let bytes = cell.bytes_moved()? as f64;
            Some(per_second(bytes / timing.median_ns * 1e9))
        });
        let interval = timing.and_then(|timing| timing.ci95_ns);
        let top = backend.top.iter().filter(|top| top.self_share >= LEAST);
        let lines = backend.lines.iter().filter(|line| line.self_share >= LEAST);
        BackendView {
            title: title(name, cell.op.backends()),
            median: timing.map_or_else(|| "not timed".to_owned(), |timing| time(timing.median_ns)),
            interval: interval
                .map_or_else(dash, |[lo, hi]| format!("{} to {}", time(lo), time(hi))),
            fastest: timing.map_or_else(dash, |timing| time(timing.min_ns)),
            throughput,
            calls: timing.map_or_else(dash, |timing| timing.calls.to_string()),
            cpus: table::cpus(backend).map_or_else(dash, number),
            kernel: table::kernel_share(backend).map_or_else(dash, percent),
            sampling: sampling(backend.sampling.as_ref()),
            top: top.map(top_row).collect(),
            lines: sources.rows(lines),
        }
    }
}

fn top_row(top: &crate::profile::TopFrame) -> TopRow {
    TopRow {
        share: top.self_share,
        own: percent(top.self_share),
        total: percent(top.total),
        frame: top.frame.clone(),
    }
}

/// Bytes a second, in the unit that a person reads.
fn per_second(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B/s", "KiB/s", "MiB/s", "GiB/s", "TiB/s"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", number(value), UNITS[unit])
}

/// One sentence each.
fn sampling(sampling: Option<&SamplingSummary>) -> Vec<String> {
    let Some(sampling) = sampling else {
        return vec!["No profile was taken.".to_owned()];
    };
    let mut told = match (&sampling.recorded, sampling.status) {
        (Some(recorded), _) => vec![format!(
            "{}, {} of them in the op; {} merged, {} of stacks walked to their root, {} lost.",
            recorded.told(),
            recorded.in_op,
            percent(recorded.merged_ratio),
            percent(recorded.unwound_ratio),
            recorded.lost
        )],
        (None, SamplingStatus::Denied) => vec!["No profile: sampling is denied here.".to_owned()],
        (None, SamplingStatus::Skipped) => vec!["No profile was asked for.".to_owned()],
        (None, SamplingStatus::Failed | SamplingStatus::Recorded) => {
            vec!["No profile: sampling failed.".to_owned()]
        }
    };
    let kernel = sampling
        .recorded
        .as_ref()
        .and_then(|recorded| recorded.kernel_reason.clone());
    told.extend(sampling.reason.clone());
    told.extend(kernel);
    told
}

fn environment(summary: &Summary) -> Vec<(&'static str, String)> {
    let environment = &summary.environment;
    let unknown = || "unknown".to_owned();
    let text = |value: &Option<String>| value.clone().unwrap_or_else(unknown);
    let python = &environment.python;
    let version = python.version.as_deref().unwrap_or("of unknown version");
    let pmu = match environment.pmu {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    let mut facts = vec![
        ("CPU", text(&environment.cpu)),
        (
            "Cores",
            environment
                .cores
                .map_or_else(unknown, |cores| cores.to_string()),
        ),
        (
            "Memory limit",
            environment
                .memory_limit
                .map_or_else(|| "none".to_owned(), |bytes| format!("{} MiB", bytes >> 20)),
        ),
        ("Kernel", text(&environment.kernel)),
        ("Container", environment.container.clone()),
        ("Hardware counters", pmu.to_owned()),
        (
            "perf_event_paranoid",
            environment
                .perf_event_paranoid
                .map_or_else(unknown, |level| level.to_string()),
        ),
        ("Python", format!("{version} ({})", python.path)),
        ("NumPy", text(&environment.numpy)),
    ];
    if environment.raptors.is_some() {
        facts.extend([
            ("raptors", text(&environment.raptors)),
            ("Threads", table::choice(&environment.threads, "all cores")),
            ("SIMD", table::choice(&environment.simd, "auto")),
        ]);
    }
    facts.extend([
        ("Git commit", text(&environment.git_sha)),
        ("Measured", summary.created.clone()),
        ("raptors-prof", summary.tool_version.clone()),
    ]);
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_has_a_unit_that_a_person_reads() {
        assert_eq!(per_second(512.0), "512 B/s");
        assert_eq!(per_second(12.34 * 1024.0 * 1024.0 * 1024.0), "12.3 GiB/s");
        assert_eq!(per_second(1e19), "9094947 TiB/s");
    }

    #[test]
    fn a_verdict_says_what_it_rests_on() {
        let comparison = Comparison {
            ratio: 0.5,
            ci95: Some([0.49, 0.51]),
            blocked_ratio: 0.5,
            noise_floor: Some(0.004),
            margin: 0.01,
            pairs: 100,
            effective_pairs: None,
            outliers: 0,
            drift: None,
            ratio_drift: None,
            verdict: Verdict::Slower,
        };
        let view = VerdictView::new(&comparison, [Backend::Baseline, Backend::Candidate]);
        assert_eq!((view.word, view.ratio.as_str()), ("slower", "0.500"));
        assert_eq!(
            view.grounds,
            [
                "The whole interval, 0.490 to 0.510, lies below 0.990, the end of the margin.",
                "The margin of 1.0 % is the smallest difference that is called one; the noise floor of this run, 0.4 %, is below it."
            ]
        );
    }
}
