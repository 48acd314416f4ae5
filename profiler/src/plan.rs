//! What is to be measured, and how: checked in full before anything is started.
//!
//! In: the options of the command line and the environment variables `RAPTORS_THREADS` and `RAPTORS_SIMD`.
//! Out: a [`Plan`] that every later step reads and none changes.

mod cell;
mod memory;

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use cell::{Backend, Cell, Dtype, Layout, Op, Shape};
use clap::ValueEnum;

/// A checked plan of the main job.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is measured.
    pub cell: Cell,
    /// By which backends; NumPy first.
    pub backends: Vec<Backend>,
    /// Samples a second that are asked for.
    pub rate_hz: u32,
    /// Samples inside the op that a profile wants, per backend.
    pub min_samples: u64,
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
}

/// Options as the command line gives them.
#[derive(Debug, Clone)]
pub struct Options {
    /// `--op`
    pub op: Op,
    /// `--shape`
    pub shape: Shape,
    /// `--dtype`
    pub dtype: Dtype,
    /// `--layout`
    pub layout: Layout,
    /// `--backend`
    pub backend: BackendChoice,
    /// `--rate`
    pub rate_hz: u32,
    /// `--min-samples`
    pub min_samples: u64,
    /// `--max-time`
    pub max_time: Duration,
    /// `--threads`
    pub threads: Option<Threads>,
    /// `--simd`
    pub simd: Option<Simd>,
    /// `--python`
    pub python: Option<PathBuf>,
    /// `--out`
    pub out: Option<PathBuf>,
}

/// Why a plan can't be carried out. Each message is one line that names the value and what is allowed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// The op reduces along an axis, or adds along one, that the shape lacks.
    #[error("--op {op} needs a shape of two axes, such as 512x512, and --shape is {shape}")]
    AxisMissing {
        /// The op.
        op: Op,
        /// The shape.
        shape: Shape,
    },
    /// The op has no kernel for the dtype.
    #[error("--op {op} has no {dtype} kernel; it has: {}", names(.op.dtypes()))]
    DtypeMissing {
        /// The op.
        op: Op,
        /// The dtype.
        dtype: Dtype,
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
        let cell = Cell {
            op: options.op,
            shape: options.shape,
            dtype: options.dtype,
            layout: options.layout,
        };
        cell.check()?;
        check_rate(options.rate_hz)?;
        let threads = match options.threads {
            Some(threads) => Some(threads),
            None => variable("RAPTORS_THREADS")?,
        };
        let simd = match options.simd {
            Some(simd) => Some(simd),
            None => variable("RAPTORS_SIMD")?,
        };
        let backends = options.backend.backends();
        memory::check(&cell, backends.len())?;
        Ok(Plan {
            cell,
            backends,
            rate_hz: options.rate_hz,
            min_samples: options.min_samples,
            max_time: options.max_time,
            threads,
            simd,
            python: options
                .python
                .unwrap_or_else(|| default_python(std::env::var_os("VIRTUAL_ENV"))),
            out: options.out,
        })
    }
}

/// What `--backend` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// NumPy alone
    Numpy,
    /// The module `raptors` alone
    Raptors,
    /// Both, interleaved and compared
    Both,
}

impl BackendChoice {
    fn backends(self) -> Vec<Backend> {
        match self {
            BackendChoice::Numpy => vec![Backend::Numpy],
            BackendChoice::Raptors => vec![Backend::Raptors],
            BackendChoice::Both => vec![Backend::Numpy, Backend::Raptors],
        }
    }
}

/// A number of threads: 1 to 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads(u32);

impl Threads {
    const MOST: u32 = 1024;
}

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(threads) if (1..=Threads::MOST).contains(&threads) => Ok(Threads(threads)),
            _ => Err(format!(
                "allowed are whole numbers from 1 to {}",
                Threads::MOST
            )),
        }
    }
}

impl std::fmt::Display for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An instruction set for the kernels of `raptors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Simd {
    /// The best that the CPU has
    Auto,
    /// No vector kernel at all
    Off,
    /// 128 bits
    Sse2,
    /// 256 bits
    Avx2,
    /// 512 bits
    Avx512,
}

impl FromStr for Simd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Simd as ValueEnum>::from_str(text, false)
            .map_err(|_| format!("allowed are: {}", names(Simd::value_variants())))
    }
}

impl std::fmt::Display for Simd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&name(self))
    }
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

fn check_rate(rate: u32) -> Result<(), PlanError> {
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
    fn threads_are_whole_numbers_from_one() {
        assert_eq!("2".parse(), Ok(Threads(2)));
        for text in ["0", "-1", "two", "1.5", "1025", "", " 1"] {
            assert!(text.parse::<Threads>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn simd_names_are_exact() {
        assert_eq!("avx512".parse(), Ok(Simd::Avx512));
        assert_eq!(Simd::Off.to_string(), "off");
        assert_eq!(
            "AVX2".parse::<Simd>(),
            Err("allowed are: auto, off, sse2, avx2, avx512".to_owned())
        );
    }

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
