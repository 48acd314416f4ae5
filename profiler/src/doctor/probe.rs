//! What the kernel tells in files: settings, limits, and what makes timings unsteady.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::facts::{Machine, System};
use crate::native::kallsyms::Kallsyms;
use crate::sampling::events;
use crate::{environment, plan};

const CPUS: &str = "/sys/devices/system/cpu";
const CGROUPS: &str = "/sys/fs/cgroup";

/// Settings of the kernel and of this process.
pub(super) fn system() -> System {
    let status = read("/proc/self/status").unwrap_or_default();
    System {
        kernel: read("/proc/sys/kernel/osrelease"),
        container: environment::container(),
        paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
        seccomp: field(&status, "Seccomp").and_then(|text| text.parse().ok()),
        capabilities: field(&status, "CapEff").and_then(|text| u64::from_str_radix(text, 16).ok()),
        ptrace_scope: number("/proc/sys/kernel/yama/ptrace_scope"),
        max_sample_rate: number("/proc/sys/kernel/perf_event_max_sample_rate"),
        mlock_kb: number("/proc/sys/kernel/perf_event_mlock_kb"),
        memlock: getrlimit(Resource::RLIMIT_MEMLOCK)
            .ok()
            .and_then(|(soft, _)| (soft != RLIM_INFINITY).then_some(soft)),
        kernel_symbols: Kallsyms::read().is_ok_and(|symbols| !symbols.is_empty()),
    }
}

/// What makes timings unsteady.
pub(super) fn machine() -> Machine {
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    Machine {
        online: events::online_cpus().ok().map(|cpus| cpus.len()),
        usable: std::thread::available_parallelism().ok().map(usize::from),
        quota: least(&groups, "cpu", quota),
        memory_limit: least(&groups, "memory", memory_limit),
        memory_left: plan::memory_left().and_then(|bytes| u64::try_from(bytes).ok()),
        load: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
        governors: governors(),
        smt: number::<u8>(&format!("{CPUS}/smt/active")).map(|active| active != 0),
        virtual_machine: field(&cpuinfo, "flags")
            .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
    }
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

fn number<T: FromStr>(path: &str) -> Option<T> {
    read(path)?.parse().ok()
}

/// The value of a line `name: value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(key, value)| (key.trim() == name).then(|| value.trim()))
}

fn governors() -> Vec<String> {
    let Ok(cpus) = std::fs::read_dir(CPUS) else {
        return Vec::new();
    };
    let governor = |cpu: PathBuf| read(cpu.join("cpufreq/scaling_governor"));
    let found: BTreeSet<String> = cpus.filter_map(|cpu| governor(cpu.ok()?.path())).collect();
    found.into_iter().collect()
}

/// The least that `limit` tells of the cgroup directories that hold this process, from its own to the root.
fn least<T: PartialOrd>(
    groups: &str,
    controller: &str,
    limit: fn(&Path) -> Option<T>,
) -> Option<T> {
    directories(groups, controller)
        .iter()
        .filter_map(|directory| limit(directory))
        .reduce(|a, b| if b < a { b } else { a })
}

/// Directories of a controller by `/proc/self/cgroup` (cgroups(7)): of the unified hierarchy, and of its own one. In a container
/// they may be mounted at the root alone.
fn directories(groups: &str, controller: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let root = match controllers {
            "" => PathBuf::from(CGROUPS),
            _ if controllers.split(',').any(|name| name == controller) => {
                Path::new(CGROUPS).join(controller)
            }
            _ => continue,
        };
        let own = root.join(path.trim_start_matches('/'));
        let within = own
            .ancestors()
            .take_while(|directory| directory.starts_with(&root));
        found.extend(within.map(Path::to_path_buf));
    }
    found
}

/// CPUs' worth of time that one cgroup grants.
fn quota(directory: &Path) -> Option<f64> {
    match read(directory.join("cpu.max")) {
        Some(text) => parse_quota(&text),
        None => parse_quota(&format!(
            "{} {}",
            read(directory.join("cpu.cfs_quota_us"))?,
            read(directory.join("cpu.cfs_period_us"))?
        )),
    }
}

/// `QUOTA PERIOD`; no number, or one below 0, is no limit.
fn parse_quota(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// The older files say "none" with a number that no machine has.
fn memory_limit(directory: &Path) -> Option<u64> {
    let text = read(directory.join("memory.max"))
        .or_else(|| read(directory.join("memory.limit_in_bytes")))?;
    text.parse().ok().filter(|bytes| *bytes < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\nCapEff:\t000001ffffffffff\n";
        assert_eq!(field(status, "Seccomp"), Some("2"));
        assert_eq!(field(status, "CapEff"), Some("000001ffffffffff"));
        assert_eq!(field(status, "Cap"), None);
    }

    #[test]
    fn quotas_are_cpus() {
        assert_eq!(parse_quota("150000 100000"), Some(1.5));
        assert_eq!(parse_quota("max 100000"), None);
        assert_eq!(parse_quota("-1 100000"), None);
    }

    #[test]
    fn limits_may_be_set_anywhere_above() {
        let paths = |groups, controller| directories(groups, controller);
        assert_eq!(
            paths("0::/a/b\n", "cpu"),
            ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"].map(PathBuf::from)
        );
        assert_eq!(
            paths("4:cpu,cpuacct:/x\n5:memory:/y\n", "cpu"),
            ["/sys/fs/cgroup/cpu/x", "/sys/fs/cgroup/cpu"].map(PathBuf::from)
        );
    }
}
