//! The command line: from arguments to a plan, from an outcome to output and exit code.
//!
//! Results go to stdout, everything else to stderr.

mod compare;
mod convert;
mod doctor;
mod referee;
mod shell;
mod suite;
mod validate;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use serde::Serialize;

use crate::convert::ConvertOptions;
use crate::error::{Error, Exit};
use crate::job::{self, Outcome};
use crate::plan::{Options, Plan};
use crate::progress::Progress;
use crate::record::{self, AttachOptions, RecordOptions};
use crate::report::{self, ReportOptions};
use crate::{interrupt, table};

/// Is my Rust kernel faster than NumPy, and if not, why?
///
/// Times one op of NumPy and of the module raptors, or two callables of your own, in interleaved windows, counts events, samples
/// native and Python stacks, and leaves a directory with the verdict, the numbers and the flame graphs.
#[derive(Debug, Parser)]
#[command(
    name = "raptors-prof", version, arg_required_else_help = true, after_help = AFTER_HELP, max_term_width = 100,
    args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, disable_help_subcommand = true
)]
struct Cli {
    #[command(flatten)]
    options: Option<Options>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures many cells, one after the other
    #[command(after_help = suite::EXAMPLES)]
    Suite(suite::SuiteArgs),
    /// Shows what changed from one run or suite to the next
    #[command(after_help = compare::EXAMPLES)]
    Compare(compare::CompareArgs),
    /// Measures cells and judges whether they are as fast as they should be
    #[command(after_help = validate::EXAMPLES)]
    Validate(validate::ValidateArgs),
    /// Profiles any program and the processes that it starts, without an op
    #[command(after_help = "Examples:\n  \
        raptors-prof record -o profile -- python3 app.py\n  \
        raptors-prof record -o faults --event page-faults -- python3 app.py\n  \
        raptors-prof record -o waits --off-cpu -- python3 app.py\n\n\
        The program keeps its input, output and exit code (128 + N where signal N ends it). After Ctrl-C: 130.")]
    Record {
        #[command(flatten)]
        options: RecordOptions,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Profiles a process that runs already, and leaves it as it was
    #[command(after_help = "Example: raptors-prof attach --pid 1234 --duration 10 -o profile")]
    Attach {
        #[command(flatten)]
        options: AttachOptions,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Makes one HTML file of a run or a suite, which needs no network
    #[command(
        after_help = "Example: raptors-prof report results/runs/20261123T150000Z-sum-512x512-float32"
    )]
    Report(ReportOptions),
    /// Writes the profiles of a run or a recording in another format
    #[command(after_help = convert::EXAMPLES)]
    Convert(ConvertOptions),
    /// Tells what works on this machine, what is lost where something does not, and how to mend it
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::DoctorArgs),
    /// Compares two callables of the process at the other end of stdin and stdout, for the Python package
    #[command(hide = true)]
    Referee(referee::RefereeArgs),
    /// Prints what a shell needs to complete commands, options and values
    #[command(after_help = shell::COMPLETIONS_EXAMPLES)]
    Completions(shell::CompletionsArgs),
    /// Prints the manual page, or writes those of all commands
    #[command(after_help = shell::MAN_EXAMPLES)]
    Man(shell::ManArgs),
}

const AFTER_HELP: &str = "\
Examples:
  raptors-prof --op broadcast_add --shape 512x512 --dtype float32     one cell: times, verdict, flame graphs
  raptors-prof --op ops.py:Polynomial                                 two callables of your own
  raptors-prof suite --preset 2d                                      many cells
  raptors-prof record -o profile -- python3 app.py                    any program
  raptors-prof doctor                                                 where something does not work
  raptors-prof COMMAND --help                                         the options and examples of one command

Exit codes: 0 done; 1 judged worse (compare, validate); 2 bad usage or bad input; 3 the environment denies what the job needs;
4 the workload failed; 130 interrupted (what was gathered is written).";

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// Print the result as JSON on stdout, nothing else there
    #[arg(long)]
    json: bool,
    /// No progress and no table
    #[arg(long)]
    quiet: bool,
}

/// What clap knows of the command line, for the tests that hold the documentation against it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The whole command.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(cli) {
        Ok(exit) => exit,
        Err(error) => {
            message(format_args!("error: {error}"));
            error.exit().into()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Error> {
    interrupt::install()?;
    let command = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    match (cli.command, cli.options) {
        (Some(Command::Suite(args)), _) => suite::run(&args, command),
        (Some(Command::Compare(args)), _) => compare::run(&args),
        (Some(Command::Validate(args)), _) => validate::run(&args, command),
        (Some(Command::Record { options, output }), _) => {
            let outcome = record::record(&options, command)?;
            let passed_on = outcome.summary.header.passed_on();
            Ok(show_recording(&outcome, &output)?.unwrap_or_else(|| passed_on.into()))
        }
        (Some(Command::Attach { options, output }), _) => {
            let outcome = record::attach(&options, command)?;
            Ok(show_recording(&outcome, &output)?.unwrap_or_else(|| Exit::Done.into()))
        }
        (Some(Command::Report(options)), _) => {
            let outcome = report::report(&options)?;
            for line in &outcome.messages {
                message(format_args!("raptors-prof: {line}"));
            }
            print(&format!("report: {}\n", outcome.path.display()))?;
            Ok(Exit::Done.into())
        }
        (Some(Command::Convert(options)), _) => convert::run(&options),
        (Some(Command::Doctor(args)), _) => doctor::run(&args),
        (Some(Command::Referee(args)), _) => referee::run(&args),
        (Some(Command::Completions(args)), _) => shell::completions(&args, Cli::command()),
        (Some(Command::Man(args)), _) => shell::man(&args, Cli::command()),
        (None, Some(options)) => measure(options, command, &cli.output),
        (None, None) => Err(Error::Usage),
    }
}

/// The main job.
fn measure(options: Options, command: Vec<String>, output: &OutputArgs) -> Result<ExitCode, Error> {
    let plan = Plan::new(options)?;
    let progress = Progress::new(output.quiet);
    let outcome = job::run(&plan, command, &progress);
    progress.finish();
    let outcome = outcome?;
    show(&outcome, output.json, output.quiet)?;
    Ok(outcome.exit.into())
}

/// Everything goes to stderr but `--json`: stdout may be the program's. Gives the exit code that overrules its own.
fn show_recording(
    outcome: &record::Outcome,
    output: &OutputArgs,
) -> Result<Option<ExitCode>, Error> {
    if let Some(reason) = &outcome.summary.sampling.kernel_reason {
        message(format_args!("raptors-prof: {reason}"));
    }
    if output.json {
        print_json(&outcome.summary)?;
    } else if !output.quiet {
        message(format_args!(
            "{}",
            table::recording(&outcome.summary, &outcome.directory).trim_end()
        ));
    }
    let interrupted = outcome.summary.header.interrupted;
    Ok(interrupted.then(|| Exit::Interrupted.into()))
}

fn show(outcome: &Outcome, json: bool, quiet: bool) -> Result<(), Error> {
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
        print_json(&outcome.summary)
    } else if !quiet {
        print(&table::table(&outcome.summary, &outcome.directory))
    } else {
        Ok(())
    }
}

fn print_json(summary: &impl Serialize) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(summary)
        .map_err(io::Error::from)
        .map_err(Error::Stdout)?;
    print(&(json + "\n"))
}

fn print(text: &str) -> Result<(), Error> {
    write_to(&mut io::stdout().lock(), text)
}

/// Leaves out the colours of `text` where stdout is no terminal, or where the user wants none (`NO_COLOR`).
fn print_styled(text: &str) -> Result<(), Error> {
    write_to(&mut anstream::stdout().lock(), text)
}

/// A reader that closed the pipe (`| head`) has seen what it wanted.
fn write_to(stdout: &mut impl Write, text: &str) -> Result<(), Error> {
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Stdout(error)),
        _ => Ok(()),
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
            print_styled(&error.render().ansi().to_string())
                .map_or_else(|error| error.exit().into(), |()| Exit::Done.into())
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
}
