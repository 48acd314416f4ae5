//! `summary.json` of a recording. Its JSON Schema is docs/record.schema.json.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde::Serialize;

use super::Ended;
use crate::profile::{Sampling, TopFrame};
use crate::source_lines::HotLine;

/// Name and number of the schema. Fields are only added within a number.
pub const SCHEMA: &str = "raptors-prof/record/1";

/// A recording.
#[derive(Debug, Serialize)]
pub struct RecordSummary {
    /// Name and number of the schema.
    pub schema: &'static str,
    /// What is known before the samples are.
    #[serde(flatten)]
    pub header: Header,
    /// All processes together.
    pub sampling: Sampling,
    /// The frames with the largest share of their own, over all processes.
    pub top: Vec<TopFrame>,
    /// The lines of source with the largest share of their own, over all processes.
    pub lines: Vec<HotLine>,
    /// Files of all processes together, by kind.
    pub outputs: BTreeMap<String, String>,
    /// The programs that were sampled, in the order in which they began.
    pub processes: Vec<ProcessSummary>,
}

/// What is known of a recording before its samples are.
#[derive(Debug, Serialize)]
pub struct Header {
    /// When the recording ended: UTC, RFC 3339.
    pub created: String,
    /// Version of raptors-prof.
    pub tool_version: &'static str,
    /// The command line.
    pub command: Vec<String>,
    /// Length of the recording.
    pub duration_s: f64,
    /// Exit code of the program; None where it was ended by a signal, goes on, or was attached to.
    pub exit_code: Option<i32>,
    /// Signal that ended the program.
    pub signal: Option<i32>,
    /// Whether the user ended the recording.
    pub interrupted: bool,
}

impl Header {
    pub(super) fn new(command: Vec<String>, duration: Duration, ended: &Ended) -> Header {
        Header {
            created: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            tool_version: env!("CARGO_PKG_VERSION"),
            command,
            duration_s: duration.as_secs_f64(),
            exit_code: ended.status.as_ref().and_then(ExitStatus::code),
            signal: ended.status.as_ref().and_then(ExitStatusExt::signal),
            interrupted: ended.interrupted,
        }
    }

    /// The exit code that passes the program's own on: 128 + N where signal N ended it, as shells do.
    pub fn passed_on(&self) -> u8 {
        let code = self.exit_code.or(self.signal.map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(0)
    }
}

/// One program in one process.
#[derive(Debug, Serialize)]
pub struct ProcessSummary {
    /// The process.
    pub pid: u32,
    /// Name of the program, as the kernel keeps it.
    pub name: String,
    /// How it was sampled.
    pub sampling: Sampling,
    /// Its own files, where there are several processes.
    pub outputs: BTreeMap<String, String>,
}
