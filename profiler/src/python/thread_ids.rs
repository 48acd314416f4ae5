//! Which kernel thread a Python thread is, for interpreters that do not keep it (before CPython 3.11).
//!
//! They keep the thread's `pthread_t`, which in glibc is the address of a structure that holds the kernel's id of the thread
//! at an offset that differs between versions. In: those addresses and the target's memory. Out: kernel ids. The offset is the one at
//! which every structure holds the id of another thread of the process.

use std::collections::{BTreeSet, HashMap};

use super::memory::Memory;

/// `struct pthread` of glibc is a little over 2 KiB long; the id lies in its first half.
const SEARCHED_BYTES: usize = 1536;

/// Kernel ids of threads that were asked for already.
#[derive(Debug, Default)]
pub struct ThreadIds {
    known: HashMap<u64, u32>,
}

impl ThreadIds {
    /// The kernel ids of all Python threads of process `pid`, by `pthread_t`; what can't be told is not in it.
    pub fn of(&mut self, pid: u32, pthreads: &[u64]) -> &HashMap<u64, u32> {
        let unchanged = pthreads.len() == self.known.len()
            && pthreads
                .iter()
                .all(|pthread| self.known.contains_key(pthread));
        if !unchanged {
            self.known = read(pid, pthreads).unwrap_or_default();
        }
        &self.known
    }
}

fn read(pid: u32, pthreads: &[u64]) -> Option<HashMap<u64, u32>> {
    let memory = Memory::of(pid);
    let structures: Vec<Vec<u8>> = pthreads
        .iter()
        .map(|pthread| memory.bytes(*pthread, SEARCHED_BYTES))
        .collect::<Option<_>>()?;
    let tids = tasks(pid)?;
    let ids = find_ids(&structures, &tids)?;
    Some(pthreads.iter().copied().zip(ids).collect())
}

fn tasks(pid: u32) -> Option<BTreeSet<u32>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    Some(
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect(),
    )
}

/// The ids at the first offset at which every structure holds another one of `tids`.
fn find_ids(structures: &[Vec<u8>], tids: &BTreeSet<u32>) -> Option<Vec<u32>> {
    let word = |structure: &Vec<u8>, offset: usize| {
        let bytes = structure.get(offset..offset + 4)?;
        bytes.try_into().ok().map(u32::from_ne_bytes)
    };
    (0..SEARCHED_BYTES).step_by(4).find_map(|offset| {
        let ids: Vec<u32> = structures
            .iter()
            .map(|structure| word(structure, offset))
            .collect::<Option<_>>()?;
        let distinct: BTreeSet<u32> = ids.iter().copied().collect();
        (distinct.len() == ids.len() && distinct.is_subset(tids)).then_some(ids)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(words: &[(usize, u32)]) -> Vec<u8> {
        let mut bytes = vec![0; SEARCHED_BYTES];
        for (offset, word) in words {
            bytes[*offset..offset + 4].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn the_offset_holds_another_thread_in_every_structure() {
        let tids = BTreeSet::from([10, 11, 12]);
        let structures = [
            structure(&[(16, 10), (720, 10), (724, 10)]),
            structure(&[(16, 99), (720, 12), (724, 10)]),
        ];
        assert_eq!(find_ids(&structures, &tids), Some(vec![10, 12]));
        assert_eq!(find_ids(&structures, &BTreeSet::from([10])), None);
    }

    #[test]
    fn this_very_thread_is_found() {
        // SAFETY: a call without arguments that cannot fail.
        let pthread = unsafe { libc::pthread_self() };
        let own = std::fs::read_link("/proc/thread-self").unwrap();
        let own: u32 = own.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let mut ids = ThreadIds::default();
        assert_eq!(
            ids.of(std::process::id(), &[pthread]),
            &HashMap::from([(pthread, own)])
        );
    }
}
