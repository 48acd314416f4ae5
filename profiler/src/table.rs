//! The result for people: a short table of a [`Summary`].

use std::path::Path;

use crate::compare::{Comparison, Verdict};
use crate::counters::Status;
use crate::plan::Backend;
use crate::profile::TopFrame;
use crate::record::RecordSummary;
use crate::referee::Judged;
use crate::sampling::weight::Unit;
use crate::summary::{BackendSummary, SamplingStatus, Summary, Timing};
use crate::worker::Choice;

const TOP: usize = 5;
/// Where pairs are worth less than this share of as many independent ones, it is told.
const ALIKE: f64 = 0.5;

/// The table of a run that was written to `directory`.
pub fn table(summary: &Summary, directory: &Path) -> String {
    let mut lines = vec![summary.cell.to_string(), String::new()];
    lines.push(format!(
        "{:<9}{:>11}  {:<24}{:>12}  {:>5}  {:>11}",
        "", "time/call", "95 % interval", "faults/call", "CPUs", "kernel time"
    ));
    lines.extend(
        summary
            .backends
            .iter()
            .map(|(name, backend)| backend_line(name, backend)),
    );
    lines.push(String::new());
    if let Some(comparison) = &summary.comparison {
        lines.extend(verdict(comparison, summary.cell.op.backends()));
    }
    let (threads, simd) = (&summary.environment.threads, &summary.environment.simd);
    if summary.environment.raptors.is_some() {
        lines.push(format!(
            "threads up to {}, SIMD {}",
            choice(threads, "all cores"),
            choice(simd, "auto")
        ));
    }
    for (name, backend) in &summary.backends {
        lines.push(String::new());
        lines.extend(profile(name, backend));
    }
    lines.push(String::new());
    lines.push(format!("result: {}", directory.display()));
    lines.join("\n") + "\n"
}

/// The table of a recording that was written to `directory`.
pub fn recording(summary: &RecordSummary, directory: &Path) -> String {
    let sampling = &summary.sampling;
    let mut lines = vec![format!(
        "{} of {} in {:.1} s, {} merged, {} lost",
        sampling.told(),
        processes(summary),
        summary.header.duration_s,
        percent(sampling.merged_ratio),
        sampling.lost
    )];
    if sampling.samples == 0 {
        let nothing = match sampling.unit {
            Unit::Events => format!("no {} were seen", sampling.event),
            Unit::Microseconds if sampling.rate_hz.is_none() => "no thread waited".to_owned(),
            Unit::Samples | Unit::Microseconds => "nothing ran long enough to be seen".to_owned(),
        };
        lines.push(nothing + ": no flame graph");
    }
    lines.extend(top_frames(&summary.top));
    lines.push(format!("result: {}", directory.display()));
    lines.join("\n") + "\n"
}

fn processes(summary: &RecordSummary) -> String {
    match summary.processes.len() {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    }
}

fn backend_line(name: &str, backend: &BackendSummary) -> String {
    let untimed = || ("not timed".to_owned(), String::new());
    let (median, interval) = backend.timing.as_ref().map_or_else(untimed, timed);
    let faults = count(backend, &["page-faults", "minor-faults"])
        .map_or("-".to_owned(), |count| number(count.per_call));
    let kernel = kernel_share(backend).map_or("-".to_owned(), percent);
    let cpus = cpus(backend).map_or("-".to_owned(), number);
    format!("{name:<9}{median:>11}  {interval:<24}{faults:>12}  {cpus:>5}  {kernel:>11}")
}

fn timed(timing: &Timing) -> (String, String) {
    let interval = timing
        .ci95_ns
        .map(|[lo, hi]| [lo, hi].map(time).join(" to "));
    (time(timing.median_ns), interval.unwrap_or_default())
}

/// What `referee` found, for people.
pub fn judged(judged: &Judged) -> String {
    let backends = [Backend::Baseline, Backend::Candidate];
    let timings = backends.iter().zip([&judged.baseline, &judged.candidate]);
    let times = timings.map(|(backend, timing)| {
        let (median, interval) = timed(timing);
        format!("{:<9}{median:>11}  {interval}", backend.name())
    });
    let lines: Vec<String> = times.chain(verdict(&judged.comparison, backends)).collect();
    lines.join("\n")
}

/// Share of the CPU time that the kernel took.
pub(crate) fn kernel_share(backend: &BackendSummary) -> Option<f64> {
    let user = count(backend, &["user-time"])?.value;
    let kernel = count(backend, &["kernel-time"])?.value;
    (user + kernel > 0.0).then(|| kernel / (user + kernel))
}

/// How many CPUs were busy on average: CPU time by wall time of the counting window.
pub(crate) fn cpus(backend: &BackendSummary) -> Option<f64> {
    let reading = |event: &str| {
        backend
            .counters
            .iter()
            .find(|reading| reading.event == event)
    };
    let (user, kernel) = (reading("user-time")?, reading("kernel-time")?);
    let wall = user.time_enabled_ns;
    (wall > 0).then_some((user.value? + kernel.value?) as f64 / wall as f64)
}

struct Count {
    value: f64,
    per_call: f64,
}

/// The first of `events` that was counted.
fn count(backend: &BackendSummary, events: &[&str]) -> Option<Count> {
    events.iter().find_map(|event| {
        let reading = backend
            .counters
            .iter()
            .find(|reading| reading.event == *event)?;
        match reading.status {
            Status::Counted | Status::Multiplexed => Some(Count {
                value: reading.value? as f64,
                per_call: reading.per_call?,
            }),
            Status::Unsupported | Status::Denied => None,
        }
    })
}

fn verdict(comparison: &Comparison, backends: [Backend; 2]) -> Vec<String> {
    let Comparison { ratio, pairs, .. } = comparison;
    let interval = comparison
        .ci95
        .map_or("no interval".to_owned(), |[lo, hi]| {
            format!("95 % interval {lo:.3} to {hi:.3}")
        });
    let floor = comparison.noise_floor.map_or("unknown".to_owned(), percent);
    let result = format!("ratio {ratio:.3}, {interval}, {pairs} pairs, noise floor {floor}");
    let mut lines = vec![result, judgement(comparison, backends)];
    lines.extend(noise(comparison));
    lines
}

/// The verdict as a sentence.
pub(crate) fn judgement(comparison: &Comparison, [baseline, candidate]: [Backend; 2]) -> String {
    let ratio = comparison.ratio;
    match comparison.verdict {
        Verdict::Faster => sentence(format!(
            "{} is faster: {} takes {ratio:.2} times as long.",
            subject(candidate),
            subject(baseline)
        )),
        Verdict::Slower => sentence(format!(
            "{} is slower: it takes {:.2} times as long as {}.",
            subject(candidate),
            1.0 / ratio,
            subject(baseline)
        )),
        Verdict::Same => format!(
            "Both take the same time, within {}.",
            percent(comparison.margin)
        ),
        Verdict::Inconclusive => "Inconclusive: the interval is too wide to tell.".to_owned(),
    }
}

/// What disturbed the comparison, if anything did.
pub(crate) fn noise(comparison: &Comparison) -> Option<String> {
    let pairs = comparison.pairs;
    let change = |share: f64| match share > 0.0 {
        true => format!("rose by {}", percent(share)),
        false => format!("fell by {}", percent(-share)),
    };
    let outliers = match comparison.outliers {
        0 => None,
        count => Some(format!("{count} of {} windows are far off", 2 * pairs)),
    };
    let alike = comparison
        .effective_pairs
        .filter(|&effective| effective < ALIKE * pairs as f64)
        .map(|effective| format!("the {pairs} pairs are worth {effective:.0} independent ones"));
    let drift = comparison.drift;
    let drift = drift.map(|share| format!("times {} during the run", change(share)));
    let ratio_drift = comparison.ratio_drift;
    let ratio_drift = ratio_drift.map(|share| format!("the ratio {}", change(share)));
    let told: Vec<String> = [outliers, alike, drift, ratio_drift]
        .into_iter()
        .flatten()
        .collect();
    (!told.is_empty()).then(|| format!("noise: {}", told.join("; ")))
}

/// What a backend is called within a sentence.
fn subject(backend: Backend) -> String {
    match backend {
        Backend::Numpy | Backend::Raptors => backend.title().to_owned(),
        Backend::Baseline | Backend::Candidate => format!("the {}", backend.name()),
    }
}

/// With a capital letter in front.
fn sentence(text: String) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

/// What was used, and what was asked for.
pub(crate) fn choice<T: std::fmt::Display>(choice: &Choice<T>, default: &str) -> String {
    let requested = choice.requested.as_deref().unwrap_or(default);
    match &choice.used {
        Some(used) => format!("{used} (requested: {requested})"),
        None => format!("unknown (requested: {requested})"),
    }
}

fn profile(name: &str, backend: &BackendSummary) -> Vec<String> {
    let Some(sampling) = &backend.sampling else {
        return vec![format!("{name}: no profile was taken")];
    };
    let mut lines = match &sampling.recorded {
        Some(recorded) => vec![format!(
            "{name}: {} samples in the op ({}, {}), {} merged, {} lost",
            recorded.in_op,
            recorded.event,
            recorded.pace(),
            percent(recorded.merged_ratio),
            recorded.lost
        )],
        // The reason is a message on stderr, once for all backends.
        None => {
            let status = match sampling.status {
                SamplingStatus::Denied => "sampling denied",
                SamplingStatus::Failed | SamplingStatus::Recorded => "sampling failed",
                SamplingStatus::Skipped => "as none was asked for",
            };
            vec![format!("{name}: no profile, {status}")]
        }
    };
    lines.extend(top_frames(&backend.top));
    lines
}

fn top_frames(top: &[TopFrame]) -> impl Iterator<Item = String> {
    top.iter()
        .take(TOP)
        .map(|frame| format!("  {:>6}  {}", percent(frame.self_share), frame.frame))
}

/// Nanoseconds in the unit that a person reads, with three digits that count.
pub(crate) fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "us"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    format!("{} {unit}", number(value))
}

/// With three digits that count.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// The ends of an interval on a ratio; a dash where there is none.
pub(crate) fn interval(ends: Option<[f64; 2]>) -> String {
    ends.map_or("-".to_owned(), |[lo, hi]| format!("{lo:.3} to {hi:.3}"))
}

/// A share in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        assert_eq!(time(0.5), "0.50 ns");
        assert_eq!(time(52_340.0), "52.3 us");
        assert_eq!(time(123_456_789.0), "123 ms");
        assert_eq!(time(2.5e9), "2.50 s");
    }

    #[test]
    fn verdicts_are_sentences() {
        let comparison = Comparison {
            ratio: 0.5,
            ci95: Some([0.49, 0.51]),
            blocked_ratio: 0.5,
            noise_floor: Some(0.012),
            margin: 0.012,
            pairs: 100,
            effective_pairs: Some(90.0),
            outliers: 0,
            drift: None,
            ratio_drift: None,
            verdict: Verdict::Slower,
        };
        assert_eq!(
            verdict(&comparison, [Backend::Numpy, Backend::Raptors]),
            [
                "ratio 0.500, 95 % interval 0.490 to 0.510, 100 pairs, noise floor 1.2 %",
                "Raptors is slower: it takes 2.00 times as long as NumPy."
            ]
        );
        let own = verdict(&comparison, [Backend::Baseline, Backend::Candidate]);
        assert_eq!(
            own[1],
            "The candidate is slower: it takes 2.00 times as long as the baseline."
        );
        let noisy = Comparison {
            effective_pairs: Some(20.4),
            outliers: 3,
            drift: Some(0.041),
            ratio_drift: Some(-0.02),
            ..comparison
        };
        assert_eq!(
            noise(&noisy).unwrap(),
            "noise: 3 of 200 windows are far off; the 100 pairs are worth 20 independent ones; times rose by 4.1 % during the run; \
             the ratio fell by 2.0 %"
        );
    }

    #[test]
    fn what_was_asked_for_and_what_was_used_are_both_told() {
        let simd = Choice {
            requested: Some("avx512".to_owned()),
            used: Some("avx2".to_owned()),
        };
        assert_eq!(choice(&simd, "auto"), "avx2 (requested: avx512)");
        assert_eq!(
            choice(
                &Choice {
                    requested: None,
                    used: Some(2)
                },
                "all cores"
            ),
            "2 (requested: all cores)"
        );
        assert_eq!(
            choice::<u32>(
                &Choice {
                    requested: None,
                    used: None
                },
                "all cores"
            ),
            "unknown (requested: all cores)"
        );
    }
}
