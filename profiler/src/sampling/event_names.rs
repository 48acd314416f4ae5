//! From the name of an event, as perf users write it, to what is sampled.
//!
//! In: `--event NAME` and the PMUs of the machine. Out: [`SampledEvent`], which says by what a sample is taken and how many
//! events it stands for.

use std::io;
use std::path::Path;

use perf_event::events::{Cache, CacheOp, CacheResult, Event, Hardware, Software, WhichCache};

use super::pmu::{self, PmuEvent};
use super::weight::Unit;

/// Page faults may come a million a second, and each sample takes a stack copy from its thread and 32 KiB of the ring. Of so
/// many one is sampled: measured in docs/performance.md. A prime, so that work with the same number of faults a round is
/// sampled all over.
const FAULTS_A_SAMPLE: u64 = 127;

/// Why an event can't be had.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Nobody knows it.
    #[error("--event {name}: there is no event of that name; there are {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Its PMU is not here.
    #[error("--event {name}: this machine has no PMU {pmu}; it has {}", present.join(", "))]
    NoPmu {
        /// What was asked for.
        name: String,
        /// The PMU.
        pmu: String,
        /// Those that there are.
        present: Vec<String>,
    },
    /// The kernel describes it in a way that is not understood.
    #[error("--event {name}: its description in sysfs can't be used: {source}")]
    Description {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
        source: io::Error,
    },
}

/// What `perf_event_open` takes for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// One that every kernel names.
    Generic(Event),
    /// One of a PMU.
    Pmu(PmuEvent),
}

/// An event to sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampledEvent {
    /// Its name, as it was given.
    pub name: String,
    /// Of how many events one is sampled; `None` where a rate decides.
    pub period: Option<u64>,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    /// It happens in the kernel only: who may not sample there sees none.
    pub(super) in_kernel: bool,
}

impl SampledEvent {
    /// The event called `name` among the generic ones and those of the PMUs in `devices`: `NAME` or `PMU/NAME/`.
    ///
    /// # Errors
    /// [`EventError`].
    pub fn find(name: &str, devices: &Path) -> Result<SampledEvent, EventError> {
        if let Some(event) = generic(name) {
            return Ok(event);
        }
        let named = match name.strip_suffix('/').and_then(|name| name.split_once('/')) {
            Some((pmu, event)) => in_pmu(name, pmu, event, devices)?,
            None => pmu::pmus(devices)
                .into_iter()
                .find(|pmu| pmu::events(devices, pmu).iter().any(|event| event == name))
                .map(|pmu| (pmu, name.to_owned())),
        };
        let Some((pmu, event)) = named else {
            return Err(EventError::Unknown {
                name: name.to_owned(),
                known: known(devices),
            });
        };
        let described = pmu::read(devices, &pmu, &event);
        let described = described.map_err(|source| EventError::Description {
            name: name.to_owned(),
            source,
        })?;
        Ok(by_rate(name, Kind::Pmu(described)))
    }

    pub(super) fn hardware(&self) -> bool {
        !matches!(self.kind, Kind::Generic(Event::Software(_)))
    }
}

fn in_pmu(
    name: &str,
    pmu: &str,
    event: &str,
    devices: &Path,
) -> Result<Option<(String, String)>, EventError> {
    let present = pmu::pmus(devices);
    if !present.iter().any(|present| present == pmu) {
        return Err(EventError::NoPmu {
            name: name.to_owned(),
            pmu: pmu.to_owned(),
            present,
        });
    }
    let known = pmu::events(devices, pmu).iter().any(|known| known == event);
    Ok(known.then(|| (pmu.to_owned(), event.to_owned())))
}

/// The names that [`SampledEvent::find`] knows.
fn known(devices: &Path) -> Vec<String> {
    let generic = HARDWARE.iter().map(|(name, _)| *name);
    let generic = generic
        .chain(CACHE.iter().map(|(name, _, _)| *name))
        .chain(SOFTWARE.iter().map(|(name, ..)| *name));
    let of_pmus = pmu::pmus(devices).into_iter().flat_map(|pmu| {
        let events = pmu::events(devices, &pmu);
        events
            .into_iter()
            .map(move |event| format!("{pmu}/{event}/"))
    });
    generic.map(str::to_owned).chain(of_pmus).collect()
}

const HARDWARE: [(&str, Hardware); 9] = [
    ("cycles", Hardware::CPU_CYCLES),
    ("instructions", Hardware::INSTRUCTIONS),
    ("branches", Hardware::BRANCH_INSTRUCTIONS),
    ("branch-misses", Hardware::BRANCH_MISSES),
    ("cache-references", Hardware::CACHE_REFERENCES),
    ("cache-misses", Hardware::CACHE_MISSES),
    ("bus-cycles", Hardware::BUS_CYCLES),
    ("stalled-cycles-frontend", Hardware::STALLED_CYCLES_FRONTEND),
    ("stalled-cycles-backend", Hardware::STALLED_CYCLES_BACKEND),
];

const CACHE: [(&str, WhichCache, CacheResult); 6] = [
    ("L1-dcache-loads", WhichCache::L1D, CacheResult::ACCESS),
    ("L1-dcache-load-misses", WhichCache::L1D, CacheResult::MISS),
    ("LLC-loads", WhichCache::LL, CacheResult::ACCESS),
    ("LLC-load-misses", WhichCache::LL, CacheResult::MISS),
    ("dTLB-loads", WhichCache::DTLB, CacheResult::ACCESS),
    ("dTLB-load-misses", WhichCache::DTLB, CacheResult::MISS),
];

/// Name, event, of how many one is sampled (none: by rate), and whether it happens in the kernel only.
const SOFTWARE: [(&str, Software, Option<u64>, bool); 7] = [
    ("cpu-clock", Software::CPU_CLOCK, None, false),
    ("task-clock", Software::TASK_CLOCK, None, false),
    (
        "page-faults",
        Software::PAGE_FAULTS,
        Some(FAULTS_A_SAMPLE),
        false,
    ),
    (
        "minor-faults",
        Software::PAGE_FAULTS_MIN,
        Some(FAULTS_A_SAMPLE),
        false,
    ),
    ("major-faults", Software::PAGE_FAULTS_MAJ, Some(1), false),
    (
        "context-switches",
        Software::CONTEXT_SWITCHES,
        Some(1),
        true,
    ),
    ("cpu-migrations", Software::CPU_MIGRATIONS, Some(1), true),
];

/// Other names that perf has for them.
const ALIASES: [(&str, &str); 6] = [
    ("cpu-cycles", "cycles"),
    ("branch-instructions", "branches"),
    ("faults", "page-faults"),
    ("cs", "context-switches"),
    ("migrations", "cpu-migrations"),
    ("idle-cycles-frontend", "stalled-cycles-frontend"),
];

fn generic(name: &str) -> Option<SampledEvent> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = alias.map_or(name, |(_, name)| name);
    let hardware = HARDWARE.iter().find(|(known, _)| *known == name);
    let cache = CACHE.iter().find(|(known, ..)| *known == name);
    let software = SOFTWARE.iter().find(|(known, ..)| *known == name);
    let event = |event| by_rate(name, Kind::Generic(event));
    hardware
        .map(|(_, hardware)| event((*hardware).into()))
        .or_else(|| {
            let &(_, which, result) = cache?;
            let operation = CacheOp::READ;
            let cache = Cache {
                which,
                operation,
                result,
            };
            Some(event(cache.into()))
        })
        .or_else(|| {
            let &(_, software, period, in_kernel) = software?;
            let unit = period.map_or(Unit::Microseconds, |_| Unit::Events);
            Some(SampledEvent {
                period,
                unit,
                in_kernel,
                ..event(software.into())
            })
        })
}

fn by_rate(name: &str, kind: Kind) -> SampledEvent {
    SampledEvent {
        name: name.to_owned(),
        period: None,
        kind,
        unit: Unit::Events,
        in_kernel: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::pmu::tests::devices;

    fn find(name: &str) -> Result<SampledEvent, EventError> {
        SampledEvent::find(name, devices().path())
    }

    #[test]
    fn all_names_and_aliases_are_found() {
        let listed = known(devices().path());
        for name in listed.iter().filter(|name| !name.starts_with("cpu/")) {
            assert_eq!(find(name).unwrap().name, *name);
        }
        for (alias, name) in ALIASES {
            assert_eq!(find(alias).unwrap(), find(name).unwrap());
        }
    }

    #[test]
    fn clocks_and_hardware_go_by_rate_and_the_rest_by_number() {
        let found = |name| {
            let event = find(name).unwrap();
            (event.period, event.unit)
        };
        assert_eq!(found("cycles"), (None, Unit::Events));
        assert_eq!(found("task-clock"), (None, Unit::Microseconds));
        assert_eq!(found("faults"), (Some(FAULTS_A_SAMPLE), Unit::Events));
        assert_eq!(found("cs"), (Some(1), Unit::Events));
    }

    #[test]
    fn events_of_a_pmu_have_two_names() {
        let kind = Kind::Pmu(PmuEvent {
            type_: 4,
            config: [1 << 21 | 0x400, 0, 0],
        });
        assert_eq!(find("cpu/slots/").unwrap().kind, kind);
        assert_eq!(find("slots").unwrap().kind, kind);
    }

    #[test]
    fn what_is_not_there_is_told_apart() {
        for name in [
            "",
            "cpu",
            "cycle",
            "cpu/cycle/",
            "slots.scale",
            "cpu/../",
            "/",
        ] {
            let error = find(name).unwrap_err();
            assert!(
                matches!(error, EventError::Unknown { .. }),
                "{name}: {error}"
            );
            let text = error.to_string();
            assert!(
                text.contains("page-faults") && text.contains("cpu/slots/"),
                "{text}"
            );
        }
        let error = find("uncore/reads/").unwrap_err();
        assert!(matches!(error, EventError::NoPmu { .. }), "{error}");
        assert!(
            error.to_string().contains("it has cpu, software"),
            "{error}"
        );
        let error = find("of-core").unwrap_err();
        assert!(matches!(error, EventError::Description { .. }), "{error}");
    }
}
