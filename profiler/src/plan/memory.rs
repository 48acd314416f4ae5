//! Whether a cell fits into memory: what the worker needs against what the machine and the cgroup have left.

use std::path::Path;

use super::cell::BuiltInCell;
use super::{Layout, PlanError};

/// Refuses a cell that needs more than is available.
pub(super) fn check(cell: &BuiltInCell, backends: usize) -> Result<(), PlanError> {
    let needed = needed(cell, backends);
    match available() {
        Some(available) if needed > available => Err(PlanError::Memory {
            shape: cell.shape.clone(),
            dtype: cell.dtype,
            needed,
            available,
        }),
        _ => Ok(()),
    }
}

/// Bytes that the worker holds at its peak: inputs, the result of each backend, and what the check of the results takes.
fn needed(cell: &BuiltInCell, backends: usize) -> u128 {
    let size = u128::from(cell.dtype.size());
    let arrays = 1 + u128::from(cell.op.reads_two());
    // Column order is made from a row-ordered copy.
    let copies = u128::from(cell.layout == Layout::Fortran);
    let inputs = cell
        .shape
        .elements()
        .saturating_mul(size)
        .saturating_mul(arrays + copies);
    let row = cell.shape.row_len() * size;
    // Integer sums and means have 8 bytes an element; the check holds three float64 arrays, and the judge of float32 sums one more.
    let result = cell.op.result_elements(&cell.shape);
    let results = result.saturating_mul(8 * backends as u128);
    let check = match backends {
        2.. if cell.op.reduces() => result.saturating_mul(4 * 8),
        2.. => result.saturating_mul(3 * 8),
        _ => 0,
    };
    inputs
        .saturating_add(row)
        .saturating_add(results)
        .saturating_add(check)
}

/// Bytes that can still be had: the kernel's estimate, or what the cgroup's limit leaves where that is less.
pub(crate) fn available() -> Option<u128> {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| mem_available(&text));
    machine.into_iter().chain(cgroup_available()).min()
}

fn mem_available(meminfo: &str) -> Option<u128> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u128 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Bytes that the cgroup allows, by the tightest limit on the way from ours to the root; None without a limit.
pub(crate) fn cgroup_limit() -> Option<u64> {
    let limit = least_of_cgroups(limit)?;
    u64::try_from(limit).ok()
}

/// The least that any limit on the way from our cgroup to the root leaves; None without a limit.
fn cgroup_available() -> Option<u128> {
    least_of_cgroups(left)
}

/// The files of a version of cgroups.
struct Files {
    limit: &'static str,
    usage: &'static str,
}

const V2: Files = Files {
    limit: "memory.max",
    usage: "memory.current",
};

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
};

/// Without a limit, the first version of cgroups has the largest number of whole pages.
const NO_LIMIT: u128 = 1 << 62;

type Measure = fn(&Path, &Files) -> Option<u128>;

fn least_of_cgroups(measure: Measure) -> Option<u128> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let unified = Path::new("/sys/fs/cgroup");
    let v1 = Path::new("/sys/fs/cgroup/memory");
    own.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            match (fields.next()?, fields.next()?) {
                ("", path) => least(unified, path, &V2, measure),
                (controllers, path) if controllers.split(',').any(|name| name == "memory") => {
                    least(v1, path, &V1, measure)
                }
                _ => None,
            }
        })
        .min()
}

fn least(root: &Path, path: &str, files: &Files, measure: Measure) -> Option<u128> {
    let own = root.join(path.trim_start_matches('/'));
    let within = own
        .ancestors()
        .take_while(|directory| directory.starts_with(root));
    within
        .filter_map(|directory| measure(directory, files))
        .min()
}

fn limit(directory: &Path, files: &Files) -> Option<u128> {
    let text = std::fs::read_to_string(directory.join(files.limit)).ok()?;
    let limit = text.trim().parse().ok()?;
    (limit < NO_LIMIT).then_some(limit)
}

/// What the limit of one cgroup leaves, counting the page cache that can be dropped as free.
fn left(directory: &Path, files: &Files) -> Option<u128> {
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
    let limit = limit(directory, files)?;
    let usage: u128 = read(files.usage)?.trim().parse().ok()?;
    let cache = read("memory.stat")
        .and_then(|text| inactive_file(&text))
        .unwrap_or(0);
    Some(limit.saturating_sub(usage.saturating_sub(cache)))
}

fn inactive_file(stat: &str) -> Option<u128> {
    stat.lines()
        .find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{BuiltIn, Dtype};

    fn cell(op: BuiltIn, shape: &str, layout: Layout) -> BuiltInCell {
        BuiltInCell {
            op,
            shape: shape.parse().unwrap(),
            dtype: Dtype::Float32,
            layout,
        }
    }

    #[test]
    fn inputs_results_and_the_check_are_counted() {
        let n = 1000 * 1000;
        assert_eq!(
            needed(&cell(BuiltIn::Sum, "1000x1000", Layout::Contiguous), 1),
            4 * n + 4000 + 8
        );
        assert_eq!(
            needed(&cell(BuiltIn::Add, "1000x1000", Layout::Contiguous), 2),
            8 * n + 4000 + 16 * n + 24 * n
        );
        assert_eq!(
            needed(&cell(BuiltIn::Sum, "1000x1000", Layout::Fortran), 1),
            8 * n + 4000 + 8
        );
        assert_eq!(
            needed(&cell(BuiltIn::SumAxis1, "1000x1000", Layout::Contiguous), 2),
            4 * n + 4000 + 16 * 1000 + 32 * 1000
        );
    }

    #[test]
    fn a_shape_beyond_all_memory_is_refused() {
        let huge = cell(
            BuiltIn::Scale,
            "18446744073709551615x18446744073709551615",
            Layout::Contiguous,
        );
        let error = check(&huge, 2).unwrap_err().to_string();
        assert!(error.contains("18446744073709551615x"), "{error}");
    }

    #[test]
    fn meminfo_is_in_kibibytes() {
        assert_eq!(
            mem_available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(mem_available("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn the_tightest_limit_on_the_way_to_the_root_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("pod/container");
        let outer = root.path().join("pod");
        std::fs::create_dir_all(&inner).unwrap();
        let write = |directory: &Path, name: &str, text: &str| {
            std::fs::write(directory.join(name), text).unwrap()
        };
        write(&inner, "memory.max", "max\n");
        write(&inner, "memory.current", "10\n");
        write(&outer, "memory.max", "1000\n");
        write(&outer, "memory.current", "400\n");
        let of = |measure| least(root.path(), "/pod/container", &V2, measure);
        assert_eq!(of(left), Some(600));
        write(&outer, "memory.stat", "anon 300\ninactive_file 100\n");
        assert_eq!(of(left), Some(700));
        assert_eq!(of(limit), Some(1000));
    }

    #[test]
    fn the_largest_number_is_no_limit() {
        let root = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(root.path().join(V1.limit), text).unwrap();
        write("9223372036854771712\n");
        assert_eq!(limit(root.path(), &V1), None);
        write("67108864\n");
        assert_eq!(limit(root.path(), &V1), Some(64 << 20));
    }
}
