//! `raptors-prof compare`: what changed from one run or suite to the next.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{OutputArgs, print, print_json};
use crate::changes::{self, Changes, Side};
use crate::error::{Error, Exit};

pub(super) const EXAMPLES: &str = "Examples:\n  \
    raptors-prof compare results/runs/OLD results/runs/NEW\n  \
    raptors-prof compare OLD NEW -o changes\n\n\
    Exit codes: 0 no ratio got worse; 1 one did; 2 bad input, or the two were not measured alike.";

/// What is compared.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Directory of the run or suite before
    old: PathBuf,
    /// Directory of the run or suite after
    new: PathBuf,
    /// Compare even where CPU, cores, container, NumPy, threads or SIMD differ
    #[arg(long)]
    allow_different_machine: bool,
    /// New or empty directory for changes.json and a differential flame graph a cell [default: none is written]
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &CompareArgs) -> Result<ExitCode, Error> {
    let (old, new) = (Side::read(&args.old)?, Side::read(&args.new)?);
    let mut changes = Changes::find(
        (&args.old, &old),
        (&args.new, &new),
        args.allow_different_machine,
    )?;
    if let Some(out) = &args.out {
        changes::write(&mut changes, (&old, &new), out)?;
    }
    if args.output.json {
        print_json(&changes)?;
    } else if !args.output.quiet {
        print(&changes::table(&changes, args.out.as_deref()))?;
    }
    match changes.any_worse() {
        true => Ok(Exit::Worse.into()),
        false => Ok(Exit::Done.into()),
    }
}
