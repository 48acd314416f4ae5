//! A perf ring buffer: memory that the kernel writes records to and that we read them from.
//!
//! Layout and protocol: perf_event_open(2), section "MMAP layout". Byte order is the machine's own.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use linux_perf_event_reader::RawData;
use memmap2::{MmapOptions, MmapRaw};
use nix::unistd::{SysconfVar, sysconf};
use perf_event_open_sys::bindings::perf_event_mmap_page;

const HEADER_BYTES: usize = 8;

/// The ring buffer of one event.
pub struct Ring {
    memory: MmapRaw,
    page_bytes: usize,
    mask: u64,
}

impl Ring {
    /// Maps a ring of `data_bytes` (a power of two of whole pages) for the event `fd`.
    ///
    /// # Errors
    /// What mmap says: `EPERM` when the size is over what `perf_event_mlock_kb` and `RLIMIT_MEMLOCK` allow.
    pub fn map(fd: &impl AsRawFd, data_bytes: usize) -> io::Result<Ring> {
        let page_bytes = page_bytes()?;
        let memory = MmapOptions::new()
            .len(page_bytes + data_bytes)
            .map_raw(fd.as_raw_fd())?;
        Ok(Ring {
            memory,
            page_bytes,
            mask: data_bytes as u64 - 1,
        })
    }

    /// Size of the ring, bytes.
    pub fn bytes(&self) -> usize {
        self.memory.len() - self.page_bytes
    }

    /// Calls `visit` with type, misc flags and body of each record that is waiting, then frees their room.
    pub fn drain(&mut self, mut visit: impl FnMut(u32, u16, RawData<'_>)) {
        let head = self.position(std::mem::offset_of!(perf_event_mmap_page, data_head));
        let tail = self.position(std::mem::offset_of!(perf_event_mmap_page, data_tail));
        // Acquire: what the kernel wrote before it moved `data_head` is visible after this.
        let end = head.load(Ordering::Acquire);
        let mut at = tail.load(Ordering::Relaxed);
        while end.wrapping_sub(at) >= HEADER_BYTES as u64 {
            let header = flat(self.bytes_at(at, HEADER_BYTES));
            let kind = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
            let misc = u16::from_ne_bytes([header[4], header[5]]);
            let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
            if size < HEADER_BYTES || size as u64 > end.wrapping_sub(at) {
                at = end;
                break;
            }
            visit(
                kind,
                misc,
                self.bytes_at(at.wrapping_add(HEADER_BYTES as u64), size - HEADER_BYTES),
            );
            at = at.wrapping_add(size as u64);
        }
        // Release: all reads above are done before the kernel may overwrite the room.
        tail.store(at, Ordering::Release);
    }

    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the mapping starts with a perf_event_mmap_page, page-aligned, in which `offset` is that of an
        // aligned u64; it lives as long as `self`. The kernel changes it concurrently, hence the atomic.
        unsafe { AtomicU64::from_ptr(self.memory.as_mut_ptr().add(offset).cast::<u64>()) }
    }

    /// `length` bytes of the data area from the running position `at`; in two parts where they wrap.
    fn bytes_at(&self, at: u64, length: usize) -> RawData<'_> {
        let start = (at & self.mask) as usize;
        let first = length.min(self.bytes() - start);
        // SAFETY: both ranges lie within the data area (start <= mask, first + start <= its size, and records
        // are shorter than the ring). They lie between `data_tail` and `data_head`, which the kernel does not
        // write to until `drain` moves `data_tail` behind them.
        let (front, back) = unsafe {
            let data = self.memory.as_ptr().add(self.page_bytes);
            (
                std::slice::from_raw_parts(data.add(start), first),
                std::slice::from_raw_parts(data, length - first),
            )
        };
        if back.is_empty() {
            RawData::Single(front)
        } else {
            RawData::Split(front, back)
        }
    }
}

fn page_bytes() -> io::Result<usize> {
    let bytes = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| io::Error::other("the system does not tell its page size"))
}

/// The eight bytes of a record's header; records are 8-byte aligned, so a header never wraps.
fn flat(data: RawData<'_>) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes.copy_from_slice(&data.as_slice());
    bytes
}
