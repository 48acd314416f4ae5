//! What shells and `man` want to know of the command line: both are made from its definition.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::print;
use crate::error::{Error, Exit};

pub(super) const COMPLETIONS_EXAMPLES: &str = "Examples:\n  \
    raptors-prof completions bash > ~/.local/share/bash-completion/completions/raptors-prof\n  \
    raptors-prof completions fish > ~/.config/fish/completions/raptors-prof.fish\n  \
    raptors-prof completions zsh  > DIR/_raptors-prof      # DIR: one of zsh's $fpath";

pub(super) const MAN_EXAMPLES: &str = "Examples:\n  \
    raptors-prof man | man -l -\n  \
    raptors-prof man --out ~/.local/share/man/man1";

/// For whom.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Which pages, and where they go.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Existing directory for this page and one a command; replaces them [default: this page goes to stdout]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints the completions of `command`.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<ExitCode, Error> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    let script = String::from_utf8_lossy(&script);
    print(&match args.shell {
        Shell::Fish => with_values_in_fish(&script),
        _ => script.into_owned(),
    })?;
    Ok(Exit::Done.into())
}

/// clap's script offers nothing where an option before any command has no value yet, as fish's argparse takes that for an
/// error: then the words before that option decide.
fn with_values_in_fish(script: &str) -> String {
    let parse = "argparse -s (__fish_raptors_prof_global_optspecs) -- $cmd";
    script.replace(
        &format!("{parse} 2>/dev/null\n"),
        &format!("{parse} 2>/dev/null\n\tor {parse}[1..-2] 2>/dev/null\n"),
    )
}

/// Prints or writes the manual pages of `command`.
pub(super) fn man(args: &ManArgs, command: Command) -> Result<ExitCode, Error> {
    match &args.out {
        Some(directory) => clap_mangen::generate_to(command, directory)
            .map_err(|source| cant_write(directory, source))?,
        None => {
            let mut page = Vec::new();
            let rendered = Man::new(command).render(&mut page);
            rendered.map_err(Error::Stdout)?;
            print(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(Exit::Done.into())
}

fn cant_write(directory: &Path, source: std::io::Error) -> Error {
    Error::ManPages {
        directory: directory.to_owned(),
        source,
    }
}
