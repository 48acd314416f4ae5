//! `raptors-prof validate`: is it fixed, has it got worse?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::suite::measure;
use super::{OutputArgs, print, print_json};
use crate::document;
use crate::error::{Error, Exit};
use crate::fingerprint::Fingerprint;
use crate::judge::Standing;
use crate::plan::{How, Profiling};
use crate::suite::{Matrix, Request, Session};
use crate::validate::{Standard, Validation};

pub(super) const EXAMPLES: &str = "Examples:\n  \
    raptors-prof validate --op sum --shape 512x512 --dtype float32\n  \
    raptors-prof validate --preset 2d --baseline results/baselines/NAME.json\n\n\
    Exit codes: 0 no ratio is worse; 1 the whole interval of one lies below its bound (with --strict: or one is inconclusive); \
    2 bad input, or the baseline lacks a cell or is from another machine; 4 the workload failed in a cell.";

/// What is measured, and what it is held against.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("cells").required(true).args(["preset", "op"])))]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    matrix: Matrix,
    #[command(flatten)]
    how: How,
    /// Ratios that suite --save-baseline wrote, which may not get worse [default: none, see --min-ratio]
    #[arg(long, value_name = "FILE", help_heading = "Bound")]
    baseline: Option<PathBuf>,
    /// What the ratio (baseline's time / candidate's time) has to be at least, without a baseline file
    #[arg(long, value_name = "R", default_value = "1.0", value_parser = ratio, conflicts_with = "baseline", help_heading = "Bound")]
    min_ratio: f64,
    /// Judge by a baseline of another CPU, number of cores, container or NumPy too
    #[arg(long, requires = "baseline", help_heading = "Bound")]
    allow_different_machine: bool,
    /// Exit with 1 where a cell is inconclusive too
    #[arg(long, help_heading = "Bound")]
    strict: bool,
    /// Directory of the suite that is measured; new or empty [default: results/runs/<UTC time>-validate-<preset or number of cells>]
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if ratio > 0.0 && f64::is_finite(ratio) => Ok(ratio),
        _ => Err("allowed are numbers above 0".to_owned()),
    }
}

pub(super) fn run(args: &ValidateArgs, command: Vec<String>) -> Result<ExitCode, Error> {
    let standard = match &args.baseline {
        Some(path) => Standard::Baseline(path.clone(), document::load(path)?),
        None => Standard::MinRatio(args.min_ratio),
    };
    let planned = args.matrix.plans(&args.how)?;
    standard.check_cells(&planned)?;
    if let Some(first) = planned.first() {
        standard.check_place(
            &Fingerprint::here(&first.plan),
            args.allow_different_machine,
        )?;
    }
    let request = Request {
        name: args.matrix.name(planned.len()),
        planned,
        profiling: Profiling::None,
        seed: None,
        out: args.out.as_deref(),
        kind: "validate",
        command,
    };
    let ended = measure(Session::begin(request)?, &args.output)?;
    // Now the version of NumPy is known too.
    let differences = match &ended.suite.fingerprint {
        Some(here) => standard.check_place(here, args.allow_different_machine)?,
        None => Vec::new(),
    };
    let validation = Validation::of(&ended.suite, &ended.directory, &standard, differences);
    if args.output.json {
        print_json(&validation)?;
    } else if !args.output.quiet {
        print(&validation.table())?;
    }
    Ok(exit(&validation, ended.exit, args.strict).into())
}

/// Without counters or a profile there is a judgement all the same.
fn exit(validation: &Validation, ended: Exit, strict: bool) -> Exit {
    let inconclusive = validation.any(Standing::Inconclusive);
    match ended {
        Exit::Interrupted | Exit::WorkloadFailed => ended,
        _ if validation.any(Standing::Worse) || (strict && inconclusive) => Exit::Worse,
        _ => Exit::Done,
    }
}
