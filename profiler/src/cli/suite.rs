//! `raptors-prof suite`: many cells, one after the other.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::{OutputArgs, message, print, print_json};
use crate::baseline::{self, Baseline};
use crate::error::{Error, Exit};
use crate::plan::{How, Profiling};
use crate::suite::{self, Ended, Matrix, Request, Session, SuiteError, SuiteProgress};

pub(super) const EXAMPLES: &str = "Examples:\n  \
    raptors-prof suite --preset 2d\n  \
    raptors-prof suite --op sum --op mean --shape 512x512 --dtype float32 --threads 1 --threads 2\n  \
    raptors-prof suite --resume results/runs/20261123T150000Z-suite-2d\n  \
    raptors-prof suite --preset 2d --save-baseline results/baselines/NAME.json\n\n\
    Exit codes: as for the main job; 4 when the workload failed in a cell (the other cells are measured all the same).";

/// What a suite measures, and what becomes of it.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("cells").required(true).args(["preset", "op", "resume"])))]
pub(super) struct SuiteArgs {
    #[command(flatten)]
    matrix: Matrix,
    #[command(flatten)]
    how: How,
    /// Of which cells a profile is taken
    #[arg(long, value_enum, default_value = "laggards", help_heading = "How")]
    profile: Profiling,
    /// Order of the cells [default: from the time]
    #[arg(long, value_name = "N", help_heading = "How")]
    seed: Option<u64>,
    /// Go on with the suite in DIR: its cells, order and options; what is complete is not measured again
    #[arg(
        long, value_name = "DIR", help_heading = "What is measured",
        conflicts_with_all = ["preset", "op", "shape", "dtype", "layout", "threads", "simd", "python", "rate", "min_samples", "precision", "max_time", "profile", "seed", "out"]
    )]
    resume: Option<PathBuf>,
    /// Directory of the result; new or empty [default: results/runs/<UTC time>-suite-<preset or number of cells>]
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Write the ratios to FILE too, for raptors-prof validate; replaces it
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    save_baseline: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &SuiteArgs, command: Vec<String>) -> Result<ExitCode, Error> {
    if let Some(path) = &args.save_baseline {
        baseline::check_place(path)?;
    }
    let session = match &args.resume {
        Some(directory) => Session::resume(directory)?,
        None => begin(args, command)?,
    };
    let ended = measure(session, &args.output)?;
    if args.output.json {
        print_json(&ended.suite)?;
    } else if !args.output.quiet {
        print(&suite::table(&ended.suite, &ended.directory))?;
    }
    if let Some(path) = args
        .save_baseline
        .as_ref()
        .filter(|_| ended.exit != Exit::Interrupted)
    {
        Baseline::of(&ended.suite)?.write(path)?;
        if !args.output.quiet {
            message(format_args!("raptors-prof: baseline: {}", path.display()));
        }
    }
    Ok(ended.exit.into())
}

fn begin(args: &SuiteArgs, command: Vec<String>) -> Result<Session, SuiteError> {
    let planned = args.matrix.plans(&args.how)?;
    Session::begin(Request {
        name: args.matrix.name(planned.len()),
        planned,
        profiling: args.profile,
        seed: args.seed,
        out: args.out.as_deref(),
        kind: "suite",
        command,
    })
}

/// Measures what is pending, and tells on stderr what goes beside the result.
pub(super) fn measure(session: Session, output: &OutputArgs) -> Result<Ended, Error> {
    let suite = session.suite();
    if !output.quiet {
        message(format_args!(
            "raptors-prof: {} in the order of --seed {}, into {}",
            match suite.cells.len() {
                1 => "1 cell".to_owned(),
                count => format!("{count} cells"),
            },
            suite.seed,
            session.directory().display()
        ));
    }
    let progress = SuiteProgress::new(suite.cells.len(), output.quiet);
    let directory = session.directory().to_owned();
    let ended = session.run(&progress);
    progress.finish();
    let ended = ended.inspect_err(|_| {
        message(format_args!(
            "raptors-prof: what is done stays: raptors-prof suite --resume {} goes on",
            directory.display()
        ));
    })?;
    tell(&ended);
    Ok(ended)
}

/// What cells have to say is often the same for all.
fn tell(ended: &Ended) {
    let mut told: Vec<&str> = Vec::new();
    for cell in &ended.suite.cells {
        for text in cell
            .messages
            .iter()
            .filter(|text| !told.contains(&text.as_str()))
        {
            let others = ended.suite.cells.iter();
            match others.filter(|other| other.messages.contains(text)).count() {
                1 => message(format_args!("raptors-prof: {}: {text}", cell.name)),
                count => message(format_args!("raptors-prof: {count} cells: {text}")),
            }
        }
        told.extend(cell.messages.iter().map(String::as_str));
        if let Some(error) = &cell.error {
            message(format_args!("raptors-prof: {} failed: {error}", cell.name));
        }
    }
    if ended.exit == Exit::Interrupted {
        message(format_args!(
            "raptors-prof: interrupted; what is done is in {}",
            ended.directory.display()
        ));
    }
}
