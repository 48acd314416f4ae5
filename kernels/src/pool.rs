//! Threads: exactly the number that was asked for, of which the caller is one.
//!
//! In: a piece of work and how many bytes it touches. Out: its result, computed by the caller alone or with the [`Team`].
//! The team starts with the first work that may be worth sharing, measures from which size on it is ([`threshold`]), is shared by all callers, and is started anew in a forked
//! child (which inherits the team's memory but none of its threads). One thread means no team: the caller does the work.

use crate::split::Split;
use crate::team::Team;
use crate::{Error, threshold};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

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
    team: Team,
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

    /// Runs `work`, which touches `bytes` of memory; it may use the threads by [`Split::tree`].
    ///
    /// # Errors
    /// [`Error::Threads`] if the system does not let the threads start.
    pub(crate) fn run<R>(
        &self,
        bytes: usize,
        work: impl FnOnce(Split<'_>) -> R,
    ) -> Result<R, Error> {
        if self.threads == 1 || bytes < self.fixed.unwrap_or(threshold::LEAST) {
            return Ok(work(Split::ALONE));
        }
        let started = self.started()?;
        if bytes < started.sequential_below {
            return Ok(work(Split::ALONE));
        }
        Ok(work(Split::among(&started.team)))
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
        let team = Team::start(self.threads).map_err(|e| Error::Threads {
            threads: self.threads,
            reason: e.to_string(),
        })?;
        let sequential_below = self.fixed.unwrap_or_else(|| threshold::measure(&team));
        let started = Started {
            process,
            sequential_below,
            team,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::ops::Range;
    use std::sync::Mutex;

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
    fn a_call_is_shared_among_so_many_threads_and_no_more() {
        let pool = Pool::sharing_from(3, 0).unwrap();
        let names = || {
            let names = Mutex::new(BTreeSet::new());
            pool.run(1, |split| {
                let halves = |range: &Range<usize>| {
                    let middle = range.start + range.len() / 2;
                    (range.len() > 1).then_some([range.start..middle, middle..range.end])
                };
                let note = |_: &Range<usize>| {
                    let name = std::thread::current().name().map(str::to_owned);
                    names.lock().unwrap().insert(name);
                    std::thread::sleep(std::time::Duration::from_millis(1));
                };
                split.tree(0..100, halves, note, |(), ()| ());
            })
            .unwrap();
            names.into_inner().unwrap()
        };
        let all: BTreeSet<_> = std::thread::scope(|s| {
            let callers = [(); 4].map(|()| {
                let caller = std::thread::Builder::new().name("caller".to_owned());
                caller.spawn_scoped(s, names).unwrap()
            });
            callers
                .into_iter()
                .flat_map(|c| c.join().unwrap())
                .collect()
        });
        let expected = ["caller", "raptors-1", "raptors-2"].map(|name| Some(name.to_owned()));
        assert_eq!(all, BTreeSet::from(expected));
    }
}
