//! `raptors-prof convert`: the profiles of a run or a recording in another format.

use std::process::ExitCode;

use super::print;
use crate::convert::{ConvertOptions, convert};
use crate::error::{Error, Exit};

pub(super) const EXAMPLES: &str = "Examples:\n  \
    raptors-prof convert results/runs/20261123T150000Z-sum-512x512-float32 --to speedscope\n  \
    raptors-prof convert profile --to firefox -o app.json.gz\n  \
    raptors-prof convert run/numpy.samples.json.gz --to pprof -o numpy.pb.gz\n\n\
    Exit codes: 0 done; 2 bad input: no run or recording that is complete, or a spoilt file; 3 the disk is full.";

pub(super) fn run(options: &ConvertOptions) -> Result<ExitCode, Error> {
    let paths = convert(options)?;
    let lines: String = (paths.iter())
        .map(|path| format!("{}\n", path.display()))
        .collect();
    print(&lines)?;
    Ok(Exit::Done.into())
}
