//! Threads: one rayon pool of exactly the number that was asked for.
//!
//! In: a piece of work and how many bytes it touches. Out: its result, computed by the caller alone or by the pool.
//! The pool starts with the first work that may be worth sharing, measures from which size on it is ([`threshold`]), is shared by all callers, and is started anew in a forked
//! child (which inherits the pool's memory but none of its threads). One thread means no pool: the caller does the work.

use crate::announce::Caller;
use crate::{Error, threshold};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Pieces that work is cut into: enough that a thread which is held up leaves some to the others.
const PIECES_PER_THREAD: usize = 4;

/// Work is split no further than to pieces of about this many elements.
pub(crate) const GRAIN: usize = 1 << 15;

/// The threads that kernels run on.
#[derive(Debug)]
pub struct Pool {
    threads: usize,
    /// From how many bytes on work is shared, if that is not to be measured.
    fixed: Option<usize>,
    started: AtomicPtr<Started>,
    /// Process that is starting a pool right now, 0 for none.
    starting: AtomicU32,
}

#[derive(Debug)]
struct Started {
    process: u32,
    /// Work that touches fewer bytes runs on the calling thread.
    sequential_below: usize,
    pool: rayon::ThreadPool,
}

impl Pool {
    /// A pool of `threads` threads, none of them started yet.
    ///
    /// # Errors
    /// [`Error::Threads`] for 0 and for more than rayon can run.
    pub fn new(threads: usize) -> Result<Self, Error> {
        let most = Self::most_threads();
        if threads == 0 || threads > most {
            return Err(Error::Threads {
                threads,
                reason: format!("the number must be from 1 to {most}"),
            });
        }
        Ok(Self {
            threads,
            fixed: None,
            started: AtomicPtr::default(),
            starting: AtomicU32::new(0),
        })
    }

    /// A pool that shares all work which touches at least `bytes`, instead of measuring from which size on that is worth it.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn sharing_from(threads: usize, bytes: usize) -> Result<Self, Error> {
        let mut pool = Self::new(threads)?;
        pool.fixed = Some(bytes);
        Ok(pool)
    }

    /// The largest number of threads that a pool can have.
    pub fn most_threads() -> usize {
        rayon::max_num_threads()
    }

    /// The number of threads that compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The number of bytes below which work runs on the calling thread; `None` until it was measured, and for one thread.
    pub fn sequential_below(&self) -> Option<usize> {
        self.running().map(|started| started.sequential_below)
    }

    /// Runs `work`, which touches `bytes` of memory; it may use the threads by [`Split::join`].
    ///
    /// # Errors
    /// [`Error::Threads`] if the system does not let the threads start.
    pub(crate) fn run<R: Send>(
        &self,
        bytes: usize,
        work: impl FnOnce(Split) -> R + Send,
    ) -> Result<R, Error> {
        if self.threads == 1 || bytes < self.fixed.unwrap_or(threshold::LEAST) {
            return Ok(work(Split::ALONE));
        }
        let started = self.started()?;
        if bytes < started.sequential_below {
            return Ok(work(Split::ALONE));
        }
        let pieces = (PIECES_PER_THREAD * self.threads).next_power_of_two();
        let caller = Caller::this_thread();
        let split = Split { pieces, caller };
        Ok(started.pool.install(|| caller.announced(|| work(split))))
    }

    /// The threads, if this process has started them.
    fn running(&self) -> Option<&Started> {
        // SAFETY: the pointer is null or comes from `Box::into_raw` below, and is freed with the pool only.
        let started = unsafe { self.started.load(Ordering::Acquire).as_ref() };
        started.filter(|started| started.process == std::process::id())
    }

    fn started(&self) -> Result<&Started, Error> {
        let process = std::process::id();
        loop {
            if let Some(started) = self.running() {
                return Ok(started);
            }
            let other = self.starting.load(Ordering::Relaxed);
            // A mark of another process was copied by fork; whoever made it does not run here.
            if other != process
                && self
                    .starting
                    .compare_exchange(other, process, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                let started = self.start(process);
                self.starting.store(0, Ordering::Release);
                started?;
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Starts the threads. What a forked child inherited is left alone: its locks may be held by threads that do not exist here.
    fn start(&self, process: u32) -> Result<(), Error> {
        // Whoever held the mark before may have started it.
        if self.running().is_some() {
            return Ok(());
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .thread_name(|i| format!("raptors-{i}"))
            .build()
            .map_err(|e| Error::Threads {
                threads: self.threads,
                reason: e.to_string(),
            })?;
        let sequential_below = self
            .fixed
            .unwrap_or_else(|| threshold::measure(&pool, self.threads));
        let started = Started {
            process,
            sequential_below,
            pool,
        };
        self.started
            .store(Box::into_raw(Box::new(started)), Ordering::Release);
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let started = *self.started.get_mut();
        // SAFETY: as in `running`; `&mut self` means that nobody else holds a reference into it.
        if unsafe { started.as_ref() }.is_some_and(|s| s.process == std::process::id()) {
            // SAFETY: as above, and the pointer is not used again. An inherited pool is left alone.
            drop(unsafe { Box::from_raw(started) });
        }
    }
}

/// How many pieces a piece of work may still be cut into, to be shared among threads, and for whom it is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Split {
    pieces: usize,
    caller: Caller,
}

impl Split {
    /// For work that one thread does alone.
    pub const ALONE: Split = Split {
        pieces: 1,
        caller: Caller::NONE,
    };

    /// The same work, of which no thread takes a part any more.
    pub fn alone(self) -> Split {
        Split { pieces: 1, ..self }
    }

    /// Whether one thread is to do the rest.
    pub fn is_alone(self) -> bool {
        self.pieces <= 1
    }

    /// Runs both, each with half of the pieces, possibly at the same time.
    pub fn join<A: Send, B: Send>(
        self,
        a: impl FnOnce(Split) -> A + Send,
        b: impl FnOnce(Split) -> B + Send,
    ) -> (A, B) {
        let half = Split {
            pieces: self.pieces / 2,
            ..self
        };
        if self.is_alone() {
            (a(half), b(half))
        } else {
            rayon::join(|| a(half), || self.caller.announced(|| b(half)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(Pool::new(0).is_err());
        assert!(Pool::new(usize::MAX).is_err());
    }

    #[test]
    fn one_thread_is_the_callers() {
        let pool = Pool::new(1).unwrap();
        let id = pool
            .run(usize::MAX, |_| std::thread::current().id())
            .unwrap();
        assert_eq!(id, std::thread::current().id());
    }

    #[test]
    fn threads_are_as_many_as_asked_for_and_named() {
        let pool = Pool::sharing_from(3, 0).unwrap();
        let names: Vec<_> = std::thread::scope(|s| {
            let callers: Vec<_> = (0..8)
                .map(|_| {
                    s.spawn(|| {
                        pool.run(usize::MAX, |_| {
                            assert_eq!(rayon::current_num_threads(), 3);
                            std::thread::current().name().map(str::to_owned)
                        })
                        .unwrap()
                    })
                })
                .collect();
            callers
                .into_iter()
                .map(|c| c.join().unwrap().unwrap())
                .collect()
        });
        assert!(
            names
                .iter()
                .all(|n| ["raptors-0", "raptors-1", "raptors-2"].contains(&n.as_str())),
            "{names:?}"
        );
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::sharing_from(2, 0).unwrap();
        for panics_first in [true, false] {
            let failing = || {
                pool.run(1, |split| {
                    split.join(|_| assert!(!panics_first), |_| assert!(panics_first));
                })
            };
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(failing)).is_err());
            assert_eq!(pool.run(1, |split| split.join(|_| 1, |_| 2)), Ok((1, 2)));
        }
    }
}
