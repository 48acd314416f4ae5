//! `raptors-prof doctor`: what works on this machine, and how to mend the rest.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{OutputArgs, print_json, print_styled};
use crate::doctor;
use crate::error::Error;

pub(super) const EXAMPLES: &str = "Examples:\n  \
    raptors-prof doctor\n  \
    raptors-prof doctor --python .venv/bin/python --json\n\n\
    Exit codes: 0 the main job can run; 3 it can't: the rows that are missing say what to do.";

/// What is looked at, and how it is told.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The Python interpreter [default: that of $VIRTUAL_ENV, else python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode, Error> {
    let doctor = doctor::examine(args.python.clone())?;
    if args.output.json {
        print_json(&doctor)?;
    } else if !args.output.quiet {
        print_styled(&doctor::table(&doctor))?;
    }
    Ok(doctor.exit().into())
}
