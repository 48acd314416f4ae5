//! The command line: from arguments to a plan, from an outcome to output and exit code.
//!
//! Results go to stdout, everything else to stderr.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser};

use crate::error::{Error, Exit};
use crate::job::{self, Outcome};
use crate::plan::{BackendChoice, Dtype, Layout, Op, Options, Plan, Shape, Simd, Threads};
use crate::progress::Progress;
use crate::{interrupt, table};

/// Is my Rust kernel faster than NumPy, and if not, why?
///
/// Times one op of NumPy and of the module raptors in interleaved windows, counts events, samples native and Python stacks, and
/// leaves a directory with the verdict, the numbers and the flame graphs.
#[derive(Debug, Parser)]
#[command(name = "raptors-prof", version, arg_required_else_help = true, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    cell: CellArgs,
    #[command(flatten)]
    measuring: MeasuringArgs,
    #[command(flatten)]
    output: OutputArgs,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 2 bad usage or bad input; 3 the environment denies what the job needs; 4 the workload failed;
130 interrupted (what was gathered is written).";

#[derive(Debug, Args)]
#[command(next_help_heading = "What is measured")]
struct CellArgs {
    /// The op
    #[arg(long, value_enum)]
    op: Op,
    /// Shape of the array: R or RxC, such as 512x512
    #[arg(long, value_name = "SHAPE")]
    shape: Shape,
    /// Type of its elements
    #[arg(long, value_enum)]
    dtype: Dtype,
    /// How they lie in memory
    #[arg(long, value_enum, default_value = "contiguous")]
    layout: Layout,
    /// Who computes
    #[arg(long, value_enum, default_value = "both")]
    backend: BackendChoice,
    /// Threads of raptors [default: $RAPTORS_THREADS, else all cores]
    #[arg(long, value_name = "N")]
    threads: Option<Threads>,
    /// Instruction set of raptors [default: $RAPTORS_SIMD, else auto]
    #[arg(long, value_enum)]
    simd: Option<Simd>,
    /// The Python interpreter [default: that of $VIRTUAL_ENV, else python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How")]
struct MeasuringArgs {
    /// Samples a second
    #[arg(long, value_name = "HZ", default_value = "997", value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Samples inside the op that a profile needs, for each backend
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..))]
    min_samples: u64,
    /// Seconds that measuring may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    max_time: Duration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// Directory of the result; new or empty [default: results/runs/<UTC time>-<op>-<shape>-<dtype>]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print summary.json on stdout, nothing else there
    #[arg(long)]
    json: bool,
    /// No progress and no table
    #[arg(long)]
    quiet: bool,
}

/// A day bounds what a typing error costs.
const LONGEST: f64 = 86_400.0;

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("allowed are seconds above 0, up to {LONGEST}")),
    }
}

/// The whole command.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let exit = match run(cli) {
        Ok(exit) => exit,
        Err(error) => {
            message(format_args!("error: {error}"));
            error.exit()
        }
    };
    exit.into()
}

fn run(cli: Cli) -> Result<Exit, Error> {
    interrupt::install()?;
    let Cli {
        cell,
        measuring,
        output,
    } = cli;
    let plan = Plan::new(Options {
        op: cell.op,
        shape: cell.shape,
        dtype: cell.dtype,
        layout: cell.layout,
        backend: cell.backend,
        rate_hz: measuring.rate,
        min_samples: measuring.min_samples,
        max_time: measuring.max_time,
        threads: cell.threads,
        simd: cell.simd,
        python: cell.python,
        out: output.out,
    })?;
    let progress = Progress::new(output.quiet);
    let command = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let outcome = job::run(&plan, command, &progress);
    progress.finish();
    let outcome = outcome?;
    show(&outcome, output.json, output.quiet);
    Ok(outcome.exit)
}

fn show(outcome: &Outcome, json: bool, quiet: bool) {
    for line in &outcome.messages {
        message(format_args!("raptors-prof: {line}"));
    }
    if outcome.exit == Exit::Interrupted {
        message(format_args!(
            "raptors-prof: interrupted; what was gathered is in {}",
            outcome.directory.display()
        ));
    }
    if json {
        match serde_json::to_string_pretty(&outcome.summary) {
            Ok(json) => print(&(json + "\n")),
            Err(error) => message(format_args!("error: the summary can't be printed: {error}")),
        }
    } else if !quiet {
        print(&table::table(&outcome.summary, &outcome.directory));
    }
}

/// A reader that closed the pipe (`| head`) has seen what it wanted.
fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        message(format_args!("error: can't write to stdout: {error}"));
    }
}

/// There is no one to tell that stderr can't be written to.
fn message(text: std::fmt::Arguments) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// clap's message: as it is for help, its first paragraph on one line for errors.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print(&error.to_string());
            Exit::Done.into()
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            message(format_args!("{error}"));
            Exit::BadInput.into()
        }
        _ => {
            message(format_args!("{}", one_line(&error.to_string())));
            Exit::BadInput.into()
        }
    }
}

fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let told = lines.take_while(|line| {
        !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    told.filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn errors_are_one_line() {
        let error = Cli::try_parse_from(["raptors-prof", "--op", "summ"]).unwrap_err();
        assert_eq!(
            one_line(&error.to_string()),
            "error: invalid value 'summ' for '--op <OP>' [possible values: sum, mean, sum_axis0, sum_axis1, mean_axis0, \
             mean_axis1, add, broadcast_add, multiply, scale] tip: a similar value exists: 'sum'"
        );
    }

    #[test]
    fn times_are_positive_and_finite() {
        assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2500)));
        for text in ["0", "-1", "nan", "inf", "1e9", "soon", ""] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }
}
