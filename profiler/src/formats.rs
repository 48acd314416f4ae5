//! The formats in which a profile leaves, for raptors-prof's own flame graphs and for other tools. docs/formats.md says what each keeps.
//!
//! In: a [`Profile`]. Out: one file. Names in a profile are data: each writer escapes or replaces what its format can't hold.

mod firefox;
mod pprof;
mod speedscope;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use clap::{Args, ValueEnum};

use crate::flamegraph::{self, WriteError};
use crate::profile::Profile;

/// A format of profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Format {
    /// Flame graph for a browser
    Svg,
    /// One stack a line, for flamegraph.pl, inferno and scripts
    Folded,
    /// For speedscope.app
    Speedscope,
    /// For profiler.firefox.com
    Firefox,
    /// For go tool pprof and what else reads profile.proto
    Pprof,
}

impl Format {
    /// Its name among the `outputs` of a summary.
    pub fn key(self) -> &'static str {
        match self {
            Format::Svg => "flamegraph",
            Format::Folded => "folded",
            Format::Speedscope => "speedscope",
            Format::Firefox => "firefox",
            Format::Pprof => "pprof",
        }
    }

    /// How the names of its files end.
    pub fn suffix(self) -> &'static str {
        match self {
            Format::Svg => "svg",
            Format::Folded => "folded",
            Format::Speedscope => "speedscope.json",
            Format::Firefox => "firefox.json.gz",
            Format::Pprof => "pb.gz",
        }
    }
}

/// The option by which commands that measure write more formats.
#[derive(Debug, Clone, Default, Args)]
pub struct Formats {
    /// Write profiles in these formats too (repeatable, or separated by commas); svg and folded are always there, and raptors-prof
    /// convert writes any of them later
    #[arg(
        long = "format",
        value_enum,
        value_name = "FORMAT",
        value_delimiter = ',',
        help_heading = "Output"
    )]
    formats: Vec<Format>,
}

impl Formats {
    /// What was asked for.
    pub fn wanted(&self) -> &[Format] {
        &self.formats
    }
}

/// Writes `profile` to `path`.
///
/// # Errors
/// [`WriteError::Empty`] without samples, [`WriteError::Io`] when the file can't be written.
pub fn write(
    format: Format,
    profile: &Profile,
    title: &str,
    path: &Path,
) -> Result<(), WriteError> {
    if profile.stacks.total() == 0 {
        return Err(WriteError::Empty(path.to_owned()));
    }
    match format {
        Format::Svg => flamegraph::write(profile, title, path),
        Format::Folded => to_file(path, |out| out.write_all(profile.folded().as_bytes())),
        Format::Speedscope => to_file(path, |out| speedscope::write(profile, title, out)),
        Format::Firefox => to_file(path, |out| firefox::write(profile, title, out)),
        Format::Pprof => to_file(path, |out| pprof::write(profile, title, out)),
    }
}

fn to_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), WriteError> {
    let written = File::create(path).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()
    });
    written.map_err(|source| WriteError::Io {
        path: path.to_owned(),
        source,
    })
}
