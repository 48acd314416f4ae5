//! Tells a sampling profiler for which thread a worker thread works.
//!
//! While a worker helps with somebody's call, a mark lies on its stack: the 16 bytes [`MAGIC`], then the kernel's id of the
//! thread that called, as a native-endian u64, all aligned to 8 bytes. A profiler that copies a piece of the
//! stack with each sample finds it there; the innermost mark counts. The mark is wiped when the worker leaves the call, so none
//! is ever left over. It costs four stores a call.

use std::cell::UnsafeCell;
use std::hint::black_box;

/// What a mark begins with.
const MAGIC: [u64; 2] = [
    u64::from_ne_bytes(*b"raptors:"),
    u64::from_ne_bytes(*b"workfor:"),
];

/// The thread for which work is done, by the kernel's id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller(pub u64);

impl Caller {
    /// The thread that this is called on.
    #[cfg(target_os = "linux")]
    pub fn this_thread() -> Caller {
        // SAFETY: a system call without arguments that cannot fail.
        Caller(u64::from(unsafe { libc::gettid() }.unsigned_abs()))
    }

    /// The thread that this is called on: not told on this system.
    #[cfg(not(target_os = "linux"))]
    pub fn this_thread() -> Caller {
        Caller(0)
    }

    /// Helps with the caller's work with the mark on this thread's stack.
    #[inline(never)]
    pub fn announced<R>(self, work: impl FnOnce() -> R) -> R {
        let mark = Mark(UnsafeCell::new([0; 3]));
        mark.write([MAGIC[0], MAGIC[1], self.0]);
        black_box(&mark);
        work()
    }
}

/// Written with volatile stores, so that the one place it lies in is its own.
struct Mark(UnsafeCell<[u64; 3]>);

impl Mark {
    fn write(&self, words: [u64; 3]) {
        // SAFETY: a valid, aligned place of this thread's own, to which no reference exists.
        unsafe { self.0.get().write_volatile(words) };
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.write([0; 3]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_once_and_its_result_comes_back() {
        let mut done = 0;
        let result = Caller::this_thread().announced(|| {
            done += 1;
            done
        });
        assert_eq!((result, done), (1, 1));
    }
}
