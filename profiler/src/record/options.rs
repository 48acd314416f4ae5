//! What the command line says to `record` and `attach`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Args};

use super::RecordError;
use super::write::Wanted;
use crate::formats::Formats;
use crate::plan;
use crate::sampling::event_names::SampledEvent;
use crate::sampling::pmu;
use crate::sampling::request::Subject;

const DEFAULT_RATE_HZ: u32 = 997;

/// Options of both.
#[derive(Debug, Args)]
#[command(next_help_heading = "How")]
pub struct Common {
    /// Samples a second of every thread's CPU time; of events, only clocks and those of the hardware go by it [default: 997]
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Samples an event instead of CPU time, and counts it: page-faults, task-clock, cache-misses, PMU/NAME/ …; a wrong name
    /// gets the list
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Records where threads wait and for how long, instead of CPU time; the kernel must be open to sampling
    #[arg(long, conflicts_with_all = ["event", "rate"])]
    off_cpu: bool,
    /// Whether to record the processes that it starts too
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, help_heading = "What is recorded")]
    subprocesses: bool,
    /// Directory of the result; new or empty [default: one under results/runs]
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    formats: Formats,
}

impl Common {
    /// What is to be written.
    pub(super) fn wanted(&self, root: u32) -> Wanted<'_> {
        Wanted {
            root,
            subprocesses: self.subprocesses,
            root_frame: None,
            title: None,
            formats: self.formats.wanted(),
        }
    }

    /// What is to be recorded.
    pub(super) fn subject(&self) -> Result<Subject, RecordError> {
        let rate_hz = self.rate.unwrap_or(DEFAULT_RATE_HZ);
        plan::check_rate(rate_hz)?;
        let Some(name) = &self.event else {
            return Ok(match self.off_cpu {
                true => Subject::OffCpu,
                false => Subject::CpuTime { rate_hz },
            });
        };
        let event = SampledEvent::find(name, Path::new(pmu::DEVICES))?;
        match (event.period, self.rate) {
            (Some(period), Some(_)) => Err(RecordError::NoRate {
                event: event.name,
                period,
            }),
            _ => Ok(Subject::Event { event, rate_hz }),
        }
    }
}

/// Options of `record`.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is recorded")]
pub struct RecordOptions {
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
    /// Ends the recording, not the program, after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    duration: Option<f64>,
    #[command(flatten)]
    pub(super) common: Common,
}

impl RecordOptions {
    pub(super) fn duration(&self) -> Option<Duration> {
        self.duration.map(Duration::from_secs_f64)
    }

    /// What the result is called by default.
    pub(super) fn name(&self) -> String {
        let program = self
            .command
            .first()
            .map(Path::new)
            .and_then(Path::file_name);
        format!("record-{}", program.unwrap_or_default().to_string_lossy())
    }
}

/// Options of `attach`.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is recorded")]
pub struct AttachOptions {
    /// The process
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub(super) pid: u32,
    /// How many seconds to record
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, allow_negative_numbers = true)]
    duration: f64,
    /// For programs: says `sampling` on stdout once it does, and goes on until a byte or the end comes on stdin
    #[arg(long, hide = true, conflicts_with = "duration")]
    pub(super) until_told: bool,
    /// For programs: the title of the flame graph [default: the command line]
    #[arg(long, hide = true, value_name = "TEXT")]
    pub(super) title: Option<String>,
    /// For programs: Python frames outside of the outermost that begins so are left out
    #[arg(long, hide = true, value_name = "PREFIX")]
    pub(super) root_frame: Option<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

impl AttachOptions {
    /// `None`: until it is told.
    pub(super) fn duration(&self) -> Option<Duration> {
        (!self.until_told).then(|| Duration::from_secs_f64(self.duration))
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e6 => Ok(seconds),
        _ => Err("allowed are seconds above 0 and up to 1000000".to_owned()),
    }
}
