//! The options of the main job, as the command line gives them.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::formats::Formats;

use super::{Backend, Dtype, Layout, Op, PlanError, Shape, name, names};

/// Options of the main job. Each is valid by itself; whether they fit together is for [`super::Plan::new`] to say.
#[derive(Debug, Clone, Args)]
// Whether they are there at all goes by --op: clap leaves a group empty that has another within.
#[group(args = ["op"])]
#[command(next_help_heading = "What is measured")]
pub struct Options {
    /// The op: one of these, or FILE.py:CLASS for one of your own
    #[arg(long)]
    pub op: Op,
    /// Shape of the array: R or RxC, such as 512x512
    #[arg(long, allow_hyphen_values = true)]
    pub shape: Option<Shape>,
    /// Type of its elements
    #[arg(long, value_enum)]
    pub dtype: Option<Dtype>,
    /// How they lie in memory [default: contiguous]
    #[arg(long, value_enum)]
    pub layout: Option<Layout>,
    /// Who computes
    #[arg(long, value_enum, default_value = "both")]
    pub backend: BackendChoice,
    /// Threads of raptors [default: $RAPTORS_THREADS, else all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<Threads>,
    /// Instruction set of raptors [default: $RAPTORS_SIMD, else auto]
    #[arg(long, value_enum)]
    pub simd: Option<Simd>,
    /// How.
    #[command(flatten)]
    pub how: How,
    /// Directory of the result; new or empty [default: results/runs/<UTC time>-<op>-<shape>-<dtype>]
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// More formats of the profiles.
    #[command(flatten)]
    pub formats: Formats,
}

/// How a cell is measured.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "How")]
pub struct How {
    /// The Python interpreter [default: that of $VIRTUAL_ENV, else python3]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Samples a second
    #[arg(long, value_name = "HZ", default_value = "997")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// Samples inside the op that a profile needs, for each backend; 0: no profile
    #[arg(long, value_name = "N", default_value = "1000")]
    pub min_samples: u64,
    /// Timing ends when the 95 % interval on the ratio is so many per cent long, or the time is spent
    #[arg(long, value_name = "PERCENT", default_value = "1", value_parser = share)]
    pub precision: f64,
    /// Seconds that measuring may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub max_time: Duration,
}

/// What `--backend` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// NumPy alone
    Numpy,
    /// The module `raptors` alone
    Raptors,
    /// The method `baseline` of your own op alone
    Baseline,
    /// The method `candidate` of your own op alone
    Candidate,
    /// Both of the op's, interleaved and compared
    Both,
}

impl BackendChoice {
    /// The backends of `op` that were chosen.
    pub(super) fn of(self, op: &Op) -> Result<Vec<Backend>, PlanError> {
        let backends = op.backends();
        let chosen = match self {
            BackendChoice::Both => return Ok(backends.to_vec()),
            BackendChoice::Numpy => Backend::Numpy,
            BackendChoice::Raptors => Backend::Raptors,
            BackendChoice::Baseline => Backend::Baseline,
            BackendChoice::Candidate => Backend::Candidate,
        };
        if backends.contains(&chosen) {
            Ok(vec![chosen])
        } else {
            Err(PlanError::BackendForeign {
                backend: chosen.name(),
                op: op.clone(),
                allowed: backends.map(Backend::name),
            })
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

/// Seconds: a day bounds what a typing error costs.
pub(crate) const LONGEST: f64 = 86_400.0;

/// Per cent as a share.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    match number.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("allowed are per cent above 0, up to 100".to_owned()),
    }
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("allowed are seconds above 0, up to {LONGEST}")),
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
    fn precision_is_in_per_cent() {
        assert_eq!(share("2.5"), Ok(0.025));
        assert_eq!(share("1%"), Ok(0.01));
        for text in ["0", "-1", "nan", "101", "one", "", "%"] {
            assert!(share(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_are_positive_and_finite() {
        assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2500)));
        for text in ["0", "-1", "nan", "inf", "1e9", "soon", ""] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }
}
