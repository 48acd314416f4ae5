//! Which file is mapped where in the target: read from `/proc/PID/maps`, kept current by mmap records.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One executable mapping of the target's address space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    /// Offset of `start` in the file, bytes.
    pub offset: u64,
    /// The file's path as the target sees it, or a bracketed name such as `[vdso]`, or nothing (JIT code).
    pub path: Arc<Path>,
}

impl Mapping {
    /// Whether code at `address` belongs to this mapping.
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// All executable mappings of one process, ordered by address.
#[derive(Debug, Default, Clone)]
pub struct Maps {
    mappings: Vec<Mapping>,
}

impl Maps {
    /// Reads `/proc/PID/maps`.
    ///
    /// # Errors
    /// When the process is gone or belongs to somebody else.
    pub fn read(pid: u32) -> io::Result<Maps> {
        Ok(Maps::parse(&std::fs::read_to_string(format!(
            "/proc/{pid}/maps"
        ))?))
    }

    /// Reads the text of `/proc/PID/maps`; what is no such line is left out.
    pub fn parse(text: &str) -> Maps {
        let mut maps = Maps::default();
        for mapping in text.lines().filter_map(parse_line) {
            maps.insert(mapping);
        }
        maps
    }

    /// Adds a mapping; what it covers of older ones is gone, as in the target.
    pub fn insert(&mut self, new: Mapping) {
        self.mappings
            .retain(|old| old.end <= new.start || new.end <= old.start);
        let at = self.mappings.partition_point(|old| old.start < new.start);
        self.mappings.insert(at, new);
    }

    /// The mappings in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter()
    }

    /// Whether a file is mapped whose name `matches`.
    pub fn any_file(&self, matches: impl Fn(&str) -> bool) -> bool {
        let name = |mapping: &Mapping| {
            mapping
                .path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        self.mappings
            .iter()
            .filter_map(name)
            .any(|name| matches(&name))
    }

    /// The mapping that holds `address`.
    pub fn find(&self, address: u64) -> Option<&Mapping> {
        let after = self
            .mappings
            .partition_point(|mapping| mapping.start <= address);
        self.mappings[..after]
            .last()
            .filter(|mapping| mapping.contains(address))
    }
}

/// One line of `/proc/PID/maps` (format: proc_pid_maps(5)), if it is executable.
fn parse_line(line: &str) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let (head, tail) = rest
            .trim_start()
            .split_once(' ')
            .unwrap_or((rest.trim_start(), ""));
        rest = tail;
        head
    };
    let (range, permissions, offset, _device, _inode) =
        (field(), field(), field(), field(), field());
    if permissions.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        offset: u64::from_str_radix(offset, 16).ok()?,
        path: PathBuf::from(rest.trim_start()).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
55d0c0a00000-55d0c0a01000 r--p 00000000 fe:00 1234 /usr/bin/my program
55d0c0a01000-55d0c0a02000 r-xp 00001000 fe:00 1234                       /usr/bin/my program
7ffd0000-7ffd2000 r-xp 00000000 00:00 0                                  [vdso]
7fff0000-7fff1000 r-xp 00000000 00:00 0
";

    #[test]
    fn keeps_executable_mappings_with_their_whole_path() {
        let maps = Maps::parse(TEXT);
        assert_eq!(maps.mappings.len(), 3);
        let found = maps.find(0x55d0_c0a0_1fff).unwrap();
        assert_eq!(&*found.path, Path::new("/usr/bin/my program"));
        assert_eq!(found.offset, 0x1000);
        assert_eq!(&*maps.find(0x7ffd_0000).unwrap().path, Path::new("[vdso]"));
        assert_eq!(&*maps.find(0x7fff_0000).unwrap().path, Path::new(""));
        assert_eq!(maps.find(0x55d0_c0a0_2000), None);
        assert_eq!(maps.find(0), None);
    }

    #[test]
    fn a_new_mapping_replaces_what_it_covers() {
        let mut maps = Maps::parse(TEXT);
        let new = Mapping {
            start: 0x7ffd_1000,
            end: 0x7fff_2000,
            offset: 0,
            path: Path::new("/x.so").into(),
        };
        maps.insert(new.clone());
        assert_eq!(maps.find(0x7fff_0000), Some(&new));
        assert_eq!(maps.find(0x7ffd_0000), None);
    }
}
