//! `raptors-prof referee`: for the Python package, not for people.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::print;
use super::validate::ratio;
use crate::error::{Error, Exit};
use crate::plan::{seconds, share};
use crate::referee::{Limits, referee};
use crate::table;

/// How two callables of the process at the other end of stdin and stdout are compared.
#[derive(Debug, Args)]
pub(super) struct RefereeArgs {
    /// As of the main job
    #[arg(long, value_name = "PERCENT", default_value = "1", value_parser = share)]
    precision: f64,
    /// As of the main job
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    max_time: Duration,
    /// As of validate
    #[arg(long, value_name = "R", value_parser = ratio)]
    min_ratio: Option<f64>,
}

pub(super) fn run(args: &RefereeArgs) -> Result<ExitCode, Error> {
    let limits = Limits {
        precision: args.precision,
        max_time: args.max_time,
        min_ratio: args.min_ratio,
    };
    let judged = referee(&limits, io::stdin().lock(), io::stdout())?;
    let line = serde_json::json!({"do": "end", "judged": judged, "text": table::judged(&judged)});
    print(&format!("{line}\n"))?;
    Ok(Exit::Done.into())
}
