//! What is to be measured, and how: checked in full before anything is started.
//!
//! In: the options of the command line and the environment variables `RAPTORS_THREADS` and `RAPTORS_SIMD`.
//! Out: a [`Plan`] that every later step reads and none changes.

mod cell;
pub(crate) mod memory;
mod op;
mod options;
mod profiling;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use cell::BuiltInCell;
pub use cell::{Backend, Cell, Dtype, Layout, Shape};
use clap::ValueEnum;
pub(crate) use memory::available as memory_left;
pub use op::{BuiltIn, Op, OpParser, OwnOp};
pub(crate) use options::LONGEST;
pub use options::{BackendChoice, How, Options, Simd, Threads};
pub(crate) use options::{seconds, share};
pub use profiling::Profiling;

use crate::formats::Format;

/// A checked plan of the main job.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is measured.
    pub cell: Cell,
    /// By which backends; the baseline first.
    pub backends: Vec<Backend>,
    /// Samples a second that are asked for.
    pub rate_hz: u32,
    /// Samples inside the op that a profile wants, per backend; 0 for no profile.
    pub min_samples: u64,
    /// Length of the 95 % interval on the ratio at which timing may end, as a share of the ratio.
    pub precision: f64,
    /// Whether a profile is taken, where that depends on the verdict.
    pub profiling: Profiling,
    /// Time that measuring may take, start-up aside.
    pub max_time: Duration,
    /// Threads asked for; None leaves it to the backend.
    pub threads: Option<Threads>,
    /// Instruction set asked for; None leaves it to the backend.
    pub simd: Option<Simd>,
    /// The interpreter that runs the worker: a path, or a name to be looked up in PATH.
    pub python: PathBuf,
    /// Where the result goes; None for a new directory under `results/runs`.
    pub out: Option<PathBuf>,
    /// In which formats the profiles are written beside flame graph and folded stacks.
    pub formats: Vec<Format>,
}

/// Why a plan can't be carried out. Each message is one line that names the value and what is allowed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// A built-in op needs to know its arrays.
    #[error("--op {op} needs {missing}")]
    Incomplete {
        /// The op.
        op: BuiltIn,
        /// The options that are missing.
        missing: &'static str,
    },
    /// The file of an own op can't be read.
    #[error("--op {op}: can't read {}: {reason}", .op.file().display())]
    OwnFile {
        /// The op.
        op: OwnOp,
        /// Why not.
        reason: String,
    },
    /// An own op makes its arrays itself.
    #[error("--layout {} is for built-in ops: {op} makes its arrays itself, in setup", name(.layout))]
    LayoutOwn {
        /// The layout.
        layout: Layout,
        /// The op.
        op: OwnOp,
    },
    /// The backend is one of the other kind of ops.
    #[error("--backend {backend} is none of --op {op}; it has: {}, both", .allowed.join(", "))]
    BackendForeign {
        /// The backend.
        backend: &'static str,
        /// The op.
        op: Op,
        /// The backends of the op.
        allowed: [&'static str; 2],
    },
    /// The op reduces along an axis, or adds along one, that the shape lacks.
    #[error("--op {op} needs a shape of two axes, such as 512x512, and --shape is {shape}")]
    AxisMissing {
        /// The op.
        op: BuiltIn,
        /// The shape.
        shape: Shape,
    },
    /// The layout is that of any array of one axis.
    #[error("--layout {} makes no difference to a shape of one axis, and --shape is {shape}: leave it out", name(.layout))]
    LayoutIdle {
        /// The layout.
        layout: Layout,
        /// The shape.
        shape: Shape,
    },
    /// The cell does not fit into memory.
    #[error("--shape {shape} of {dtype} needs {} for its inputs and results, and {} are available", mebibytes(*.needed), mebibytes(*.available))]
    Memory {
        /// The shape.
        shape: Shape,
        /// The dtype.
        dtype: Dtype,
        /// Bytes that the worker would need.
        needed: u128,
        /// Bytes that the machine, or the container's limit, has left.
        available: u128,
    },
    /// An environment variable has a value that is not allowed.
    #[error("{name}={value:?} in the environment: {reason}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        reason: String,
    },
    /// The kernel does not sample that fast.
    #[error(
        "--rate {rate} is above the {allowed} Hz that the kernel allows (sysctl kernel.perf_event_max_sample_rate)"
    )]
    Rate {
        /// The rate asked for.
        rate: u32,
        /// The highest allowed.
        allowed: u32,
    },
}

impl Plan {
    /// Checks `options` against each other, the environment variables and the machine.
    ///
    /// # Errors
    /// [`PlanError`] for the first thing that is wrong.
    pub fn new(options: Options) -> Result<Plan, PlanError> {
        let backends = options.backend.of(&options.op)?;
        let cell = match options.op {
            Op::BuiltIn(op) => {
                let cell = built_in(op, options.shape, options.dtype, options.layout)?;
                memory::check(&cell, backends.len())?;
                cell.into()
            }
            Op::Own(op) => own(op, options.shape, options.dtype, options.layout)?,
        };
        check_rate(options.how.rate)?;
        let threads = match options.threads {
            Some(threads) => Some(threads),
            None => variable("RAPTORS_THREADS")?,
        };
        let simd = match options.simd {
            Some(simd) => Some(simd),
            None => variable("RAPTORS_SIMD")?,
        };
        let how = options.how;
        Ok(Plan {
            cell,
            backends,
            rate_hz: how.rate,
            min_samples: how.min_samples,
            precision: how.precision,
            profiling: Profiling::All,
            max_time: how.max_time,
            threads,
            simd,
            python: how
                .python
                .unwrap_or_else(|| default_python(std::env::var_os("VIRTUAL_ENV"))),
            out: options.out,
            formats: options.formats.wanted().to_vec(),
        })
    }
}

fn built_in(
    op: BuiltIn,
    shape: Option<Shape>,
    dtype: Option<Dtype>,
    layout: Option<Layout>,
) -> Result<BuiltInCell, PlanError> {
    let missing = |missing| PlanError::Incomplete { op, missing };
    let (shape, dtype) = match (shape, dtype) {
        (Some(shape), Some(dtype)) => (shape, dtype),
        (None, Some(_)) => return Err(missing("--shape")),
        (Some(_), None) => return Err(missing("--dtype")),
        (None, None) => return Err(missing("--shape and --dtype")),
    };
    let cell = BuiltInCell {
        op,
        shape,
        dtype,
        layout: layout.unwrap_or(Layout::Contiguous),
    };
    cell.check()?;
    Ok(cell)
}

fn own(
    op: OwnOp,
    shape: Option<Shape>,
    dtype: Option<Dtype>,
    layout: Option<Layout>,
) -> Result<Cell, PlanError> {
    if let Some(layout) = layout {
        return Err(PlanError::LayoutOwn { layout, op });
    }
    if let Err(reason) = readable(op.file()) {
        return Err(PlanError::OwnFile { op, reason });
    }
    Ok(Cell {
        op: Op::Own(op),
        shape,
        dtype,
        layout: None,
    })
}

fn readable(path: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it isn't a file".to_owned());
    }
    let opened = std::fs::File::open(path);
    opened.map(drop).map_err(|error| error.to_string())
}

/// The name of a value as the command line spells it.
fn name<T: ValueEnum>(value: &T) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

fn names<T: ValueEnum>(values: &[T]) -> String {
    values.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn mebibytes(bytes: u128) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Reads an environment variable; unset and empty are the same.
fn variable<T: FromStr<Err = String>>(name: &'static str) -> Result<Option<T>, PlanError> {
    let value = std::env::var_os(name)
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if value.is_empty() {
        return Ok(None);
    }
    value
        .parse()
        .map(Some)
        .map_err(|reason| PlanError::Variable {
            name,
            value,
            reason,
        })
}

fn default_python(virtual_env: Option<OsString>) -> PathBuf {
    match virtual_env {
        Some(directory) if !directory.is_empty() => PathBuf::from(directory).join("bin/python"),
        _ => PathBuf::from("python3"),
    }
}

/// Refuses a rate that the kernel does not allow.
///
/// # Errors
/// [`PlanError::Rate`].
pub(crate) fn check_rate(rate: u32) -> Result<(), PlanError> {
    // Without the file there is no perf_event_open either: the sampler will say so.
    let limit = std::fs::read_to_string("/proc/sys/kernel/perf_event_max_sample_rate");
    match limit.ok().and_then(|text| text.trim().parse().ok()) {
        Some(allowed) if rate > allowed => Err(PlanError::Rate { rate, allowed }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_active_virtual_environment_comes_before_python3() {
        assert_eq!(
            default_python(Some("/v".into())),
            PathBuf::from("/v/bin/python")
        );
        assert_eq!(default_python(Some("".into())), PathBuf::from("python3"));
        assert_eq!(default_python(None), PathBuf::from("python3"));
    }
}
