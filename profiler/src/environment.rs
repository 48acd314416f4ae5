//! The environment of a run: what one must know to judge whether two runs may be compared.
//!
//! In: files of the kernel, what the worker said, the statuses of the counters. Out: [`Environment`] for the summary.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::counters::{CounterReading, Status};
use crate::plan::{Plan, memory};
use crate::worker::{Choice, Hello, Ready};

/// Machine, kernel, interpreter and libraries of a run. What could not be found out is None.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Environment {
    /// Model of the CPU.
    pub cpu: Option<String>,
    /// Logical CPUs that the run may use.
    pub cores: Option<usize>,
    /// Bytes of memory that the cgroup allows; None without a limit.
    #[serde(default)]
    pub memory_limit: Option<u64>,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// `none`, or which kind of container.
    pub container: String,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i32>,
    /// Whether hardware counters work; None where no counter was read.
    pub pmu: Option<bool>,
    /// The interpreter.
    pub python: Python,
    /// Version of NumPy.
    pub numpy: Option<String>,
    /// Version of `raptors`.
    pub raptors: Option<String>,
    /// Commit of the repository that the command ran in; in an image, the one it was built from ([`IMAGE_COMMIT`]).
    pub git_sha: Option<String>,
    /// Threads of `raptors`.
    pub threads: Choice<u32>,
    /// Instruction set of `raptors`.
    pub simd: Choice<String>,
}

/// The interpreter of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Python {
    /// Its path.
    pub path: String,
    /// Its version; None when the run ended before it was known.
    pub version: Option<String>,
}

impl Environment {
    /// Looks at the machine, and takes over what the worker said.
    pub fn look(
        plan: &Plan,
        hello: Option<&Hello>,
        ready: Option<&Ready>,
        counters: &[CounterReading],
    ) -> Environment {
        let config = ready.and_then(|ready| ready.config.as_ref());
        Environment {
            cpu: cpu_model(),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            memory_limit: memory::cgroup_limit(),
            kernel: read("/proc/sys/kernel/osrelease"),
            container: container().to_owned(),
            perf_event_paranoid: read("/proc/sys/kernel/perf_event_paranoid")
                .and_then(|text| text.parse().ok()),
            pmu: pmu(counters),
            python: Python {
                path: hello.map_or_else(
                    || plan.python.display().to_string(),
                    |hello| hello.executable.clone(),
                ),
                version: hello.map(|hello| hello.python.clone()),
            },
            numpy: ready.and_then(|ready| ready.numpy.clone()),
            raptors: config.map(|config| config.version.clone()),
            git_sha: git_sha(),
            threads: config.map_or_else(
                || Choice {
                    requested: plan.threads.map(|threads| threads.to_string()),
                    used: None,
                },
                |config| config.threads.clone(),
            ),
            simd: config.map_or_else(
                || Choice {
                    requested: plan.simd.map(|simd| simd.to_string()),
                    used: None,
                },
                |config| config.simd.clone(),
            ),
        }
    }
}

fn read(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// x86 names the model; other architectures name implementer and part at best.
fn cpu_model() -> Option<String> {
    let cpuinfo = read("/proc/cpuinfo")?;
    let value = |key: &str| {
        let line = cpuinfo.lines().find(|line| {
            line.split(':')
                .next()
                .is_some_and(|name| name.trim() == key)
        })?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    value("model name").or_else(|| {
        Some(format!(
            "{} {}",
            value("CPU implementer")?,
            value("CPU part")?
        ))
    })
}

/// `none`, or which kind of container this is.
pub(crate) fn container() -> &'static str {
    if Path::new("/.dockerenv").exists() {
        return "docker";
    }
    if Path::new("/run/.containerenv").exists() {
        return "podman";
    }
    container_of_cgroup(&read("/proc/1/cgroup").unwrap_or_default())
}

fn container_of_cgroup(cgroup: &str) -> &'static str {
    let known = [
        ("docker", "docker"),
        ("libpod", "podman"),
        ("kubepods", "kubernetes"),
        ("containerd", "containerd"),
        ("lxc", "lxc"),
    ];
    known
        .iter()
        .find(|(mark, _)| cgroup.contains(mark))
        .map_or("none", |(_, name)| name)
}

/// Cycles are what every core PMU counts.
fn pmu(counters: &[CounterReading]) -> Option<bool> {
    let cycles = counters.iter().find(|reading| reading.event == "cycles")?;
    match cycles.status {
        Status::Counted | Status::Multiplexed => Some(true),
        Status::Unsupported => Some(false),
        Status::Denied => None,
    }
}

/// What the image says of its own source: the repository that a container sees need not be that one.
const IMAGE_COMMIT: &str = "RAPTORS_GIT_SHA";

fn git_sha() -> Option<String> {
    let of_image = std::env::var(IMAGE_COMMIT).unwrap_or_default();
    if !of_image.is_empty() {
        return Some(of_image);
    }
    let output = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .output()
        .ok()?;
    let sha = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !sha.is_empty()).then_some(sha)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_tell_the_container() {
        assert_eq!(container_of_cgroup("0::/"), "none");
        assert_eq!(container_of_cgroup("12:memory:/docker/0123"), "docker");
        assert_eq!(
            container_of_cgroup("0::/kubepods/besteffort/pod1"),
            "kubernetes"
        );
        assert_eq!(
            container_of_cgroup("0::/machine.slice/libpod-1.scope"),
            "podman"
        );
    }
}
