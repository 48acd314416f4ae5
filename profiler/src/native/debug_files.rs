//! Finds the file that holds what was stripped off another one, and what several share, where distributions put them.
//!
//! In: a stripped file's path, build id and debug link. Out: where the debug file is, which has the same build id, and what it says.
//! The places are those of gdb ("Debugging Information in Separate Files").

use std::path::{Path, PathBuf};

use super::symbol_table::SymbolTable;

const DEBUG_ROOT: &str = "/usr/lib/debug";

/// The debug file of `stripped`, which lies at `path`.
pub fn find(path: &Path, stripped: &SymbolTable) -> Option<(PathBuf, SymbolTable)> {
    let build_id = stripped.build_id()?;
    first_with(build_id, candidates(path, build_id, stripped.debug_link()))
}

/// The file that shares its debug information with `debug`, which lies at `path`.
pub fn find_shared(path: &Path, debug: &SymbolTable) -> Option<PathBuf> {
    let link = debug.shared_debug_link()?;
    let mut places = vec![path.parent()?.join(&link.path)];
    places.extend(by_build_id(&link.build_id));
    first_with(&link.build_id, places).map(|(path, _)| path)
}

fn first_with(build_id: &[u8], places: Vec<PathBuf>) -> Option<(PathBuf, SymbolTable)> {
    places
        .into_iter()
        .filter(|place| place.is_file())
        .filter_map(|place| {
            let debug = SymbolTable::parse(&std::fs::read(&place).ok()?).ok()?;
            Some((place, debug))
        })
        .find(|(_, debug)| debug.build_id() == Some(build_id))
}

fn by_build_id(build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id.split_first()?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{DEBUG_ROOT}/.build-id/{first:02x}/{rest}.debug").into())
}

fn candidates(path: &Path, build_id: &[u8], debug_link: Option<&str>) -> Vec<PathBuf> {
    let mut places = Vec::from_iter(by_build_id(build_id));
    // The name alone: a file must not lead its reader to another directory, or to a device.
    let link = debug_link.and_then(|link| Path::new(link).file_name());
    if let (Some(link), Some(directory)) = (link, path.parent()) {
        let below_root = directory.strip_prefix("/").unwrap_or(directory);
        places.push(directory.join(link));
        places.push(directory.join(".debug").join(link));
        places.push(Path::new(DEBUG_ROOT).join(below_root).join(link));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_gdb() {
        let places = candidates(
            Path::new("/usr/lib/libx.so.1"),
            &[0xab, 0xcd, 0x01],
            Some("../secret/x.debug"),
        );
        let places: Vec<_> = places.iter().map(|place| place.to_str().unwrap()).collect();
        assert_eq!(
            places,
            [
                "/usr/lib/debug/.build-id/ab/cd01.debug",
                "/usr/lib/x.debug",
                "/usr/lib/.debug/x.debug",
                "/usr/lib/debug/usr/lib/x.debug",
            ]
        );
    }

    #[test]
    fn a_debug_file_must_have_the_same_build_id() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let own = SymbolTable::parse(&bytes).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let other = directory.path().join("x.debug");
        std::fs::write(&other, &bytes).unwrap();
        let found = |id: Vec<u8>| {
            find(
                &directory.path().join("x"),
                &SymbolTable::stripped_with(id, "x.debug"),
            )
        };
        assert!(found(own.build_id().unwrap().to_vec()).is_some());
        assert!(found(vec![1, 2, 3]).is_none());
    }
}
