//! The command line: from arguments to a plan, from an outcome to output and exit code.
//!
//! Results go to stdout, everything else to stderr.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser};

use crate::error::{Error, Exit};
use crate::job::{self, Outcome};
use crate::plan::{Options, Plan};
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
    options: Options,
    #[command(flatten)]
    output: OutputArgs,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 2 bad usage or bad input; 3 the environment denies what the job needs; 4 the workload failed;
130 interrupted (what was gathered is written).";

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// Print summary.json on stdout, nothing else there
    #[arg(long)]
    json: bool,
    /// No progress and no table
    #[arg(long)]
    quiet: bool,
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
    let Cli { options, output } = cli;
    let plan = Plan::new(options)?;
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
}
