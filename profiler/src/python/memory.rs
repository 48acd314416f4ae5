//! Reads the memory of another process, many places in one system call.

use std::io::IoSliceMut;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// The kernel takes no more places in one call (`IOV_MAX`).
const MAX_PLACES: usize = 1024;
/// Memory begins and ends at a multiple of this.
const PAGE_BYTES: u64 = 4096;

/// The memory of a process.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pid: Pid,
}

impl Memory {
    /// Of process `pid`.
    pub fn of(pid: u32) -> Memory {
        Memory {
            pid: Pid::from_raw(pid.cast_signed()),
        }
    }

    /// The process.
    pub fn pid(self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// `length` bytes at `address`; `None` where they are not all there.
    pub fn bytes(self, address: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        (self.read(&[address], length, &mut bytes) == length).then_some(bytes)
    }

    /// What there is from `address` on, up to `length` bytes: memory may end before.
    pub fn some(self, address: u64, length: usize) -> Vec<u8> {
        let end = address.saturating_add(length as u64);
        let mut at = address;
        let pages = std::iter::from_fn(|| {
            let next = (at / PAGE_BYTES + 1).saturating_mul(PAGE_BYTES).min(end);
            let page = RemoteIoVec {
                base: usize::try_from(at).ok()?,
                len: usize::try_from(next - at).ok()?,
            };
            at = next;
            (page.len > 0).then_some(page)
        });
        let pages: Vec<RemoteIoVec> = pages.take(MAX_PLACES).collect();
        let mut bytes = vec![0; length];
        let read = self.read_places(&pages, &mut bytes);
        bytes.truncate(read);
        bytes
    }

    /// The word at `address`.
    pub fn word(self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.read(&[address], 8, &mut bytes) == 8).then(|| u64::from_ne_bytes(bytes))
    }

    /// `length` bytes at each of `addresses`, one after the other, until one can't be read or [`MAX_PLACES`] are.
    pub fn many(self, addresses: &[u64], length: usize) -> Vec<u8> {
        let addresses = &addresses[..addresses.len().min(MAX_PLACES)];
        let mut bytes = vec![0; addresses.len() * length];
        let read = self.read(addresses, length, &mut bytes);
        bytes.truncate(read - read % length);
        bytes
    }

    fn read(self, addresses: &[u64], length: usize, into: &mut [u8]) -> usize {
        let places: Vec<RemoteIoVec> = addresses
            .iter()
            .filter_map(|&address| usize::try_from(address).ok())
            .map(|base| RemoteIoVec { base, len: length })
            .collect();
        self.read_places(&places, into)
    }

    /// Reads these places one after the other, until one can't be read. Says how many bytes that are.
    fn read_places(self, places: &[RemoteIoVec], into: &mut [u8]) -> usize {
        process_vm_readv(self.pid, &mut [IoSliceMut::new(into)], places).unwrap_or(0)
    }
}

/// The word at `offset` of `bytes`.
pub fn word_at(bytes: &[u8], offset: u64) -> Option<u64> {
    let at = usize::try_from(offset).ok()?;
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    bytes.try_into().ok().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_first_bad_place() {
        let here = [1_u64, 2, 3];
        let memory = Memory::of(std::process::id());
        let start = here.as_ptr() as u64;
        assert_eq!(memory.word(start + 8), Some(2));
        assert_eq!(memory.word(8), None);
        let read = memory.many(&[start, start + 16, 8, start], 8);
        let read: Vec<&[u8]> = read.chunks_exact(8).collect();
        assert_eq!(read, [1_u64.to_ne_bytes(), 3_u64.to_ne_bytes()]);
        assert_eq!(memory.bytes(start, 24).map(|bytes| bytes.len()), Some(24));
        assert_eq!(word_at(&[0; 8], 1), None);
    }
}
