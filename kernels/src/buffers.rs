//! Memory for large results, used again and again: fresh pages cost more than the arithmetic that fills them.
//!
//! In: sizes, and buffers that are no longer needed. Out: buffers, aligned to pages; from 2 MiB on, huge pages are asked for. What is
//! idle is bounded, the longest idle goes first. Any thread may take and give. Nothing here ever waits: while another thread is at
//! the list, or was when this process was forked from its parent, the system's allocator serves.

use std::alloc::{Layout, alloc, dealloc};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a buffer's data is aligned to; its capacity stands one such unit before the data.
const PAGE: usize = 4096;
/// The size of a huge page, which buffers of that size and more are aligned to (with their first page).
const HUGE: usize = 2 << 20;
/// Capacities are whole multiples of this.
const UNIT: usize = 64 << 10;

/// A bounded stock of buffers.
#[derive(Debug)]
pub struct Buffers {
    limit: usize,
    idle: Mutex<Idle>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Buffers that nobody uses, the longest idle first.
#[derive(Debug, Default)]
struct Idle {
    buffers: Vec<Buffer>,
    bytes: usize,
}

/// How a stock of buffers has been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The bytes that are idle now; 0 while another thread is at the list.
    pub idle: usize,
    /// How many buffers were taken that had been used before.
    pub hits: u64,
    /// How many had to be allocated.
    pub misses: u64,
}

impl Buffers {
    /// An empty stock that keeps at most `limit` bytes for later.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            idle: Mutex::new(Idle {
                buffers: Vec::new(),
                bytes: 0,
            }),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The most bytes that are kept for later.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A buffer of at least `size` bytes, uninitialised; `None` if there is no memory for it.
    pub fn take(&self, size: usize) -> Option<NonNull<u8>> {
        let capacity = capacity_for(size)?;
        let used = self
            .idle
            .try_lock()
            .ok()
            .and_then(|mut idle| idle.take(capacity));
        let count = if used.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        count.fetch_add(1, Ordering::Relaxed);
        Some(used.or_else(|| Buffer::allocate(capacity))?.into_data())
    }

    /// Takes a buffer back.
    ///
    /// # Safety
    /// `data` comes from [`Buffers::take`] and is not used any more.
    pub unsafe fn give(&self, data: NonNull<u8>) {
        let buffer = Buffer { data };
        match self.idle.try_lock() {
            Ok(mut idle) => idle.put(buffer, self.limit),
            Err(_) => drop(buffer),
        }
    }

    /// How many bytes a buffer has.
    ///
    /// # Safety
    /// `data` comes from [`Buffers::take`] and has not been given back.
    pub unsafe fn capacity(data: NonNull<u8>) -> usize {
        // SAFETY: the caller's buffer, which is not dropped here.
        unsafe { capacity_of(data) }
    }

    /// How the stock has been used so far.
    pub fn usage(&self) -> Usage {
        Usage {
            idle: self.idle.try_lock().map_or(0, |idle| idle.bytes),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

impl Idle {
    /// The buffer of that capacity that was used last: its memory is the likeliest to be in a cache.
    fn take(&mut self, capacity: usize) -> Option<Buffer> {
        let found = self
            .buffers
            .iter()
            .rposition(|buffer| buffer.capacity() == capacity)?;
        self.bytes -= capacity;
        Some(self.buffers.remove(found))
    }

    fn put(&mut self, buffer: Buffer, limit: usize) {
        let capacity = buffer.capacity();
        if capacity > limit {
            return;
        }
        let mut bytes = self.bytes + capacity;
        let over = self.buffers.iter().take_while(|old| {
            let over = bytes > limit;
            if over {
                bytes -= old.capacity();
            }
            over
        });
        let over = over.count();
        self.buffers.drain(..over);
        self.buffers.push(buffer);
        self.bytes = bytes;
    }
}

/// The capacity of the buffer for `size` bytes: rounded up so that at most an eighth is spare and sizes that are nearly the same share
/// buffers. `None` if no memory is that large.
fn capacity_for(size: usize) -> Option<usize> {
    let step = (size / 8).checked_next_power_of_two()?.max(UNIT);
    // The step may be up to size/4 rounded up; halve it where it is above an eighth.
    let step = if step > size / 8 {
        (step / 2).max(UNIT)
    } else {
        step
    };
    let capacity = size.max(1).checked_next_multiple_of(step)?;
    (capacity <= isize::MAX as usize - 2 * HUGE).then_some(capacity)
}

/// Memory from the system: the capacity in a page of its own, then the data.
#[derive(Debug)]
struct Buffer {
    data: NonNull<u8>,
}

// SAFETY: a buffer owns its memory; nobody else has its address.
unsafe impl Send for Buffer {}

impl Buffer {
    fn allocate(capacity: usize) -> Option<Self> {
        let layout = layout(capacity)?;
        // SAFETY: the layout has a size.
        let start = NonNull::new(unsafe { alloc(layout) })?;
        if layout.align() == HUGE {
            ask_for_huge_pages(start, layout.size());
        }
        // SAFETY: the allocation begins with a page for the capacity, and is aligned for it.
        unsafe {
            start.cast::<usize>().write(capacity);
            Some(Self {
                data: start.add(PAGE),
            })
        }
    }

    /// The data, which is the caller's to give back.
    fn into_data(self) -> NonNull<u8> {
        ManuallyDrop::new(self).data
    }

    fn capacity(&self) -> usize {
        // SAFETY: a live buffer.
        unsafe { capacity_of(self.data) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.capacity()) {
            // SAFETY: allocated with this layout, `PAGE` bytes before the data.
            unsafe { dealloc(self.data.as_ptr().sub(PAGE), layout) };
        }
    }
}

/// # Safety
/// `data` is a live buffer's.
unsafe fn capacity_of(data: NonNull<u8>) -> usize {
    // SAFETY: `Buffer::allocate` wrote it there.
    unsafe { data.sub(PAGE).cast::<usize>().read() }
}

/// The allocation of a buffer.
fn layout(capacity: usize) -> Option<Layout> {
    let align = if capacity >= HUGE { HUGE } else { PAGE };
    Layout::from_size_align(PAGE + capacity, align).ok()
}

#[cfg(all(target_os = "linux", not(miri)))]
fn ask_for_huge_pages(start: NonNull<u8>, size: usize) {
    // SAFETY: the memory is ours; the advice changes nothing in it. Where it is not taken, small pages serve.
    unsafe { libc::madvise(start.as_ptr().cast(), size, libc::MADV_HUGEPAGE) };
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn ask_for_huge_pages(_: NonNull<u8>, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn taken(buffers: &Buffers, size: usize) -> NonNull<u8> {
        buffers.take(size).unwrap()
    }

    fn give(buffers: &Buffers, data: NonNull<u8>) {
        // SAFETY: the tests give back what they took, once.
        unsafe { buffers.give(data) };
    }

    #[test]
    fn capacities_hold_the_size_and_little_more() {
        for size in [
            0,
            1,
            UNIT,
            UNIT + 1,
            MIB,
            3 * MIB + 5,
            16 * MIB,
            100 * MIB - 1,
        ] {
            let capacity = capacity_for(size).unwrap();
            assert!(
                capacity >= size && capacity.is_multiple_of(UNIT),
                "{size}: {capacity}"
            );
            assert!(capacity - size <= UNIT.max(size / 8), "{size}: {capacity}");
        }
        for shift in 17..40 {
            assert_eq!(capacity_for(1 << shift), Some(1 << shift));
        }
        assert_eq!(capacity_for(usize::MAX), None);
        assert_eq!(capacity_for(isize::MAX as usize), None);
    }

    #[test]
    fn a_buffer_comes_back_for_the_same_size() {
        let buffers = Buffers::new(8 * MIB);
        let first = taken(&buffers, MIB);
        assert_eq!(first.as_ptr() as usize % PAGE, 0);
        // SAFETY: a buffer of that size.
        unsafe { first.as_ptr().add(MIB - 1).write(7) };
        give(&buffers, first);
        assert_eq!(buffers.usage().idle, MIB);
        let other = taken(&buffers, 2 * MIB);
        let again = taken(&buffers, MIB - 1);
        assert_eq!(first, again);
        assert_ne!(first, other);
        let usage = buffers.usage();
        assert_eq!((usage.idle, usage.hits, usage.misses), (0, 1, 2));
        give(&buffers, again);
        give(&buffers, other);
    }

    #[test]
    fn the_longest_idle_goes_first() {
        let buffers = Buffers::new(4 * MIB);
        let three: Vec<_> = (0..3).map(|_| taken(&buffers, MIB)).collect();
        let large = taken(&buffers, 2 * MIB);
        let too_large = taken(&buffers, 5 * MIB);
        for &data in &three {
            give(&buffers, data);
        }
        give(&buffers, large);
        give(&buffers, too_large);
        assert_eq!(buffers.usage().idle, 4 * MIB);
        assert_eq!(taken(&buffers, MIB), three[2]);
        assert_eq!(taken(&buffers, MIB), three[1]);
        let hits = buffers.usage().hits;
        give(&buffers, taken(&buffers, MIB));
        assert_eq!(buffers.usage().hits, hits);
        for &data in &three[1..] {
            give(&buffers, data);
        }
    }

    #[test]
    fn no_limit_keeps_nothing_and_no_memory_is_said() {
        let buffers = Buffers::new(0);
        give(&buffers, taken(&buffers, MIB));
        assert_eq!(buffers.usage().idle, 0);
        assert!(buffers.take(isize::MAX as usize).is_none());
    }

    #[test]
    fn threads_never_share_a_buffer() {
        let buffers = Buffers::new(4 * MIB);
        std::thread::scope(|scope| {
            for id in 0..4_u8 {
                let buffers = &buffers;
                scope.spawn(move || {
                    for round in 0..if cfg!(miri) { 5 } else { 500 } {
                        let data = taken(buffers, UNIT);
                        // SAFETY: the buffer is this thread's until it is given back.
                        unsafe {
                            data.as_ptr().write_bytes(id, UNIT);
                            assert!(
                                (0..UNIT).step_by(PAGE).all(|i| data.add(i).read() == id),
                                "{round}"
                            );
                        }
                        give(buffers, data);
                    }
                });
            }
        });
        let usage = buffers.usage();
        assert_eq!(
            usage.hits + usage.misses,
            if cfg!(miri) { 20 } else { 2000 }
        );
    }

    #[test]
    fn a_held_lock_is_not_waited_for() {
        let buffers = Buffers::new(4 * MIB);
        let held = buffers.idle.lock().unwrap();
        give(&buffers, taken(&buffers, MIB));
        drop(held);
        assert_eq!(buffers.usage().idle, 0);
    }
}
