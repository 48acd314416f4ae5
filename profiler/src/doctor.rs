//! `raptors-prof doctor`: what works on this machine, what is lost where something does not, and how to mend it.
//!
//! [`probe`], [`access`] and [`interpreter`] find out the [`facts`], by trying what the main job does wherever that can be tried;
//! [`judge`] and [`noise`] (pure) make checks of them, [`table`] (pure) shows those.

mod access;
pub mod facts;
mod interpreter;
mod judge;
mod noise;
mod probe;
mod table;

use std::path::PathBuf;

use serde::Serialize;

use crate::error::{Error, Exit};
use crate::formats::Formats;
use crate::plan::{BackendChoice, BuiltIn, Dtype, How, Op, Options, Plan, Shape};
use facts::{EventFact, Facts};
pub use table::table;

/// Version of the form of what `--json` prints.
const SCHEMA: &str = "raptors-prof/doctor/1";
/// Samples a second that the main job takes unless told otherwise.
const RATE_HZ: u32 = 997;

/// What was found out, judged.
#[derive(Debug, Serialize)]
pub struct Doctor {
    schema: &'static str,
    tool_version: &'static str,
    /// Whether the main job can run: no check that it needs is missing.
    pub main_job: bool,
    /// One thing each.
    pub checks: Vec<Check>,
    /// The counters of the main job, each as it was opened.
    pub events: Vec<EventFact>,
}

/// How one thing is.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What it is about.
    pub group: Group,
    /// The thing.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// Whether the main job can't run where it is missing.
    pub needed: bool,
    /// What was found.
    pub found: String,
    /// What is lost; None where it is ok.
    pub lost: Option<String>,
    /// What to do; None where it is ok.
    pub mend: Option<String>,
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Leave to watch processes.
    Access,
    /// The interpreter and its modules.
    Python,
    /// What makes timings unsteady.
    Noise,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is lost.
    Ok,
    /// Something is lost.
    Limited,
    /// It is not there.
    Missing,
}

impl Check {
    fn ok(group: Group, name: &'static str, found: impl Into<String>) -> Check {
        Check {
            group,
            name,
            status: Status::Ok,
            needed: false,
            found: found.into(),
            lost: None,
            mend: None,
        }
    }

    fn limited(self, lost: impl Into<String>, mend: impl Into<String>) -> Check {
        Check {
            status: Status::Limited,
            lost: Some(lost.into()),
            mend: Some(mend.into()),
            ..self
        }
    }

    fn missing(self, lost: impl Into<String>, mend: impl Into<String>) -> Check {
        Check {
            status: Status::Missing,
            ..self.limited(lost, mend)
        }
    }

    fn needed(self) -> Check {
        Check {
            needed: true,
            ..self
        }
    }
}

impl Doctor {
    fn of(facts: Facts) -> Doctor {
        let mut checks = judge::access(&facts.system, &facts.access);
        checks.extend(judge::python(&facts.interpreter, &facts.access));
        checks.extend(noise::noise(&facts.machine));
        let blocks = |check: &Check| check.needed && check.status == Status::Missing;
        Doctor {
            schema: SCHEMA,
            tool_version: env!("CARGO_PKG_VERSION"),
            main_job: !checks.iter().any(blocks),
            checks,
            events: facts.access.counters,
        }
    }

    /// Done where the main job can run, else denied.
    pub fn exit(&self) -> Exit {
        match self.main_job {
            true => Exit::Done,
            false => Exit::Denied,
        }
    }
}

/// Looks at this machine and the interpreter `python` (by default that of the main job).
///
/// # Errors
/// [`Error::Plan`] for bad environment variables, [`Error::Worker`] when the user interrupts.
pub fn examine(python: Option<PathBuf>) -> Result<Doctor, Error> {
    let plan = Plan::new(smallest_cell(python))?;
    let (interpreter, access) = interpreter::look(&plan)?;
    Ok(Doctor::of(Facts {
        system: probe::system(),
        machine: probe::machine(),
        interpreter,
        access,
    }))
}

/// The least that the worker can prepare.
fn smallest_cell(python: Option<PathBuf>) -> Options {
    Options {
        op: Op::BuiltIn(BuiltIn::Sum),
        shape: Some(Shape::of(&[8])),
        dtype: Some(Dtype::Float64),
        layout: None,
        backend: BackendChoice::Both,
        threads: None,
        simd: None,
        how: How {
            python,
            // The check of the rate is the doctor's own: too high a one is a row, not an error.
            rate: 1,
            min_samples: 0,
            precision: 0.01,
            max_time: std::time::Duration::from_secs(1),
        },
        out: None,
        formats: Formats::default(),
    }
}
