//! From what was gathered to the files of the run: flame graphs, folded stacks, summary.json.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};

use super::gather::{Gathered, NoProfile};
use crate::compare;
use crate::environment::Environment;
use crate::flamegraph;
use crate::outputs::{self, TOP};
use crate::plan::{Backend, Plan};
use crate::profile::Profile;
use crate::run_dir::{RunDir, RunDirError};
use crate::summary::{BackendSummary, SCHEMA, SamplingStatus, SamplingSummary, Summary, Timing};

/// What the summary says of the run itself.
pub(super) struct Header {
    pub(super) created: DateTime<Utc>,
    pub(super) command: Vec<String>,
    pub(super) interrupted: bool,
}

/// Writes every file of the run, summary.json last.
pub(super) fn write(
    plan: &Plan,
    header: Header,
    mut gathered: Gathered,
    run_dir: &RunDir,
) -> Result<Summary, RunDirError> {
    let counters = gathered
        .counters
        .values()
        .next()
        .map_or(&[][..], Vec::as_slice);
    let environment = Environment::look(
        plan,
        gathered.hello.as_ref(),
        gathered.ready.as_ref(),
        counters,
    );
    let comparison = match plan.backends.len() {
        2 => compare::compare(&gathered.timings.interleaved()),
        _ => None,
    };
    let outputs = write_diff(plan, &gathered, run_dir)?;
    let mut backends = BTreeMap::new();
    for &backend in &plan.backends {
        backends.insert(
            backend.name().to_owned(),
            write_backend(plan, backend, &mut gathered, run_dir)?,
        );
    }
    let summary = Summary {
        schema: SCHEMA.to_owned(),
        created: header.created.to_rfc3339_opts(SecondsFormat::Secs, true),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        command: header.command,
        interrupted: header.interrupted,
        cell: plan.cell.clone(),
        environment,
        backends,
        comparison,
        outputs,
    };
    run_dir.write_json("summary.json", &summary)?;
    Ok(summary)
}

fn write_backend(
    plan: &Plan,
    backend: Backend,
    gathered: &mut Gathered,
    run_dir: &RunDir,
) -> Result<BackendSummary, RunDirError> {
    let samples = gathered.timings.samples(backend);
    let mut summary = BackendSummary {
        timing: Timing::new(samples, gathered.timings.calls(backend)),
        counters: gathered.counters.remove(&backend).unwrap_or_default(),
        ..BackendSummary::default()
    };
    match gathered.profiles.remove(&backend) {
        Some(Ok(profile)) => write_profile(plan, backend, &profile, run_dir, &mut summary)?,
        Some(Err(NoProfile { status, reason })) => {
            summary.sampling = Some(SamplingSummary {
                status,
                reason: Some(reason),
                recorded: None,
            });
        }
        None => {}
    }
    Ok(summary)
}

fn write_profile(
    plan: &Plan,
    backend: Backend,
    profile: &Profile,
    run_dir: &RunDir,
    summary: &mut BackendSummary,
) -> Result<(), RunDirError> {
    summary.sampling = Some(SamplingSummary {
        status: SamplingStatus::Recorded,
        reason: None,
        recorded: Some(profile.sampling.clone()),
    });
    let title = format!("{}: {}", backend.title(), plan.cell);
    summary.outputs =
        outputs::write_profile(run_dir, backend.name(), &title, profile, &plan.formats)?;
    summary.top = profile.top(TOP);
    summary.lines = profile.lines(TOP);
    Ok(())
}

/// The differential flame graph, where both backends have a profile; gives its name by kind.
fn write_diff(
    plan: &Plan,
    gathered: &Gathered,
    run_dir: &RunDir,
) -> Result<BTreeMap<String, String>, RunDirError> {
    let profile = |backend: Backend| {
        let profile = gathered.profiles.get(&backend)?.as_ref().ok()?;
        (profile.sampling.samples > 0).then(|| (backend.title(), profile.folded()))
    };
    let [baseline, candidate] = plan.cell.op.backends();
    let (Some(before), Some(after)) = (profile(baseline), profile(candidate)) else {
        return Ok(BTreeMap::new());
    };
    let title = format!("{} and {}: {}", before.0, after.0, plan.cell);
    outputs::draw(run_dir, "diff.svg", |path| {
        flamegraph::write_diff((before.0, &before.1), (after.0, &after.1), &title, path)
    })?;
    Ok(BTreeMap::from([("diff".to_owned(), "diff.svg".to_owned())]))
}
