//! The events that the PMUs of this machine name, read from sysfs.
//!
//! In: the directory of the PMUs and names. Out: what `perf_event_open` takes for them. The files are those of the kernel's
//! `Documentation/ABI/testing/sysfs-bus-event_source-devices-{events,format}`: `events/NAME` holds terms such as
//! `event=0x3c,umask=0x01,any`, and `format/TERM` says which bits of which config word a term fills (`config:0-7,32-35`).

use std::io;
use std::path::Path;

/// Where the kernel lists its PMUs.
pub const DEVICES: &str = "/sys/bus/event_source/devices";

/// Files beside an event's own that tell its unit and the like.
const ATTRIBUTES: [&str; 4] = [".scale", ".unit", ".snapshot", ".per-pkg"];
const WORDS: [&str; 3] = ["config", "config1", "config2"];

/// An event as `perf_event_open` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PmuEvent {
    /// The PMU.
    pub type_: u32,
    /// `config`, `config1` and `config2`.
    pub config: [u64; 3],
}

/// The names of the PMUs, sorted.
pub fn pmus(devices: &Path) -> Vec<String> {
    names(devices)
}

/// The names of the events that a PMU names, sorted.
pub fn events(devices: &Path, pmu: &str) -> Vec<String> {
    let mut events = names(&devices.join(pmu).join("events"));
    events.retain(|name| !ATTRIBUTES.iter().any(|suffix| name.ends_with(suffix)));
    events
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Reads an event that [`events`] lists.
///
/// # Errors
/// What can't be read or understood.
pub fn read(devices: &Path, pmu: &str, event: &str) -> io::Result<PmuEvent> {
    let pmu = devices.join(pmu);
    let type_ = std::fs::read_to_string(pmu.join("type"))?;
    let terms = std::fs::read_to_string(pmu.join("events").join(event))?;
    let format = |term: &str| std::fs::read_to_string(pmu.join("format").join(term));
    Ok(PmuEvent {
        type_: type_.trim().parse().map_err(|_| unreadable(&type_))?,
        config: encode(terms.trim(), format)?,
    })
}

fn unreadable(text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{:?} is not understood", text.trim()),
    )
}

/// Fills the config words with `terms`; `format` gives the text that says where a term goes.
fn encode(terms: &str, format: impl Fn(&str) -> io::Result<String>) -> io::Result<[u64; 3]> {
    let mut config = [0; 3];
    for term in terms.split(',') {
        let (name, value) = term.split_once('=').unwrap_or((term, "1"));
        let value = number(value).ok_or_else(|| unreadable(term))?;
        if let Some(word) = WORDS.iter().position(|word| *word == name) {
            config[word] |= value;
            continue;
        }
        let text = format(name)?;
        let field = Field::parse(text.trim()).ok_or_else(|| unreadable(&text))?;
        config[field.word] |= field.place(value).ok_or_else(|| unreadable(term))?;
    }
    Ok(config)
}

/// The value of a term; `?` asks for a parameter, which nobody gives here.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Where a term goes: a config word, and in it bit numbers from the lowest bit of the value to its highest.
struct Field {
    word: usize,
    bits: Vec<u32>,
}

impl Field {
    fn parse(text: &str) -> Option<Field> {
        let (word, ranges) = text.split_once(':')?;
        let mut bits = Vec::new();
        for range in ranges.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            bits.extend(
                first.parse::<u32>().ok()?..=last.parse::<u32>().ok().filter(|bit| *bit < 64)?,
            );
        }
        Some(Field {
            word: WORDS.iter().position(|known| *known == word)?,
            bits,
        })
    }

    /// The value's bits in their places; `None` where it has more bits than there are places.
    fn place(&self, value: u64) -> Option<u64> {
        let fits = self.bits.len() >= 64 || value >> self.bits.len() == 0;
        let bits = self.bits.iter().take(64).enumerate();
        fits.then(|| bits.fold(0, |word, (from, to)| word | (value >> from & 1) << to))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    /// A machine with the PMUs `cpu` and `software`, as sysfs shows them.
    pub fn devices() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let files = [
            ("software/type", "1\n"),
            ("cpu/type", "4\n"),
            ("cpu/format/event", "config:0-7,32-35\n"),
            ("cpu/format/umask", "config:8-15\n"),
            ("cpu/format/any", "config:21\n"),
            ("cpu/format/ldlat", "config1:0-15\n"),
            ("cpu/events/mem-loads", "event=0x1cd,umask=0x1,ldlat=3\n"),
            ("cpu/events/slots", "event=0x00,umask=0x4,any\n"),
            ("cpu/events/slots.scale", "2\n"),
            ("cpu/events/raw", "config=0x10,config2=7\n"),
            ("cpu/events/of-core", "event=1,core=?\n"),
            ("cpu/events/wide", "event=1,umask=0x100\n"),
        ];
        for (path, text) in files {
            let path = directory.path().join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, text).unwrap();
        }
        directory
    }

    fn config(event: &str) -> io::Result<[u64; 3]> {
        read(devices().path(), "cpu", event).map(|event| event.config)
    }

    #[test]
    fn terms_fill_the_bits_that_their_format_names() {
        // The low byte of 0x1cd goes to bits 0-7, the rest to bits 32 on.
        assert_eq!(config("mem-loads").unwrap(), [0x1_0000_01cd, 3, 0]);
        assert_eq!(config("slots").unwrap(), [1 << 21 | 0x400, 0, 0]);
        assert_eq!(config("raw").unwrap(), [0x10, 0, 7]);
        assert_eq!(read(devices().path(), "cpu", "raw").unwrap().type_, 4);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (event, named) in [("of-core", "core=?"), ("wide", "umask=0x100")] {
            let error = config(event).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(config("none").is_err());
        for text in [
            "",
            "config",
            "config9:0",
            "config:x",
            "config:0-64",
            "config:3-",
        ] {
            assert!(Field::parse(text).is_none(), "{text:?}");
        }
        let whole = Field::parse("config:0-63").unwrap();
        assert_eq!(whole.place(u64::MAX), Some(u64::MAX));
    }

    #[test]
    fn events_are_listed_without_their_attributes() {
        let devices = devices();
        assert_eq!(pmus(devices.path()), ["cpu", "software"]);
        let events = |pmu| events(devices.path(), pmu);
        assert_eq!(
            events("cpu"),
            ["mem-loads", "of-core", "raw", "slots", "wide"]
        );
        assert!(events("software").is_empty());
    }
}
