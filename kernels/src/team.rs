//! The thread that calls and the threads of a rayon pool do the pieces of a call together.
//!
//! In: a number of pieces and a function that does one of them. Out: nothing, once all of them are done. The caller works too, and
//! never waits for a worker that has not come: it goes on until every piece is taken, then waits for those who are at one. Workers
//! that are done look for the next call for a while before they sleep ([`LINGER`]), so that calls in a row find them awake. Rayon
//! keeps the threads, brings calls to them and lets them sleep.
//!
//! # Why a worker never touches a call that is over
//!
//! The work lives on the caller's stack. A worker enters (`inside` grows), takes a piece (`next` grows), works, leaves. The caller
//! leaves [`Call::help`] when it has seen that all pieces are taken. Who took one had entered before, and taking releases what
//! the caller's look at the same counter acquires: so the caller then sees that worker inside until it has left. Who comes later
//! finds no piece, and nothing but pieces leads to the work.

use crate::announce::Caller;
use rayon::Yield;
use std::any::Any;
use std::cell::Cell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long a thread that has nothing to do stays awake.
const LINGER: Duration = Duration::from_micros(100);

/// So many calls at most wait for a worker that does not come while another one does.
const BACKLOG: usize = 64;

/// A number of threads, of which one is whoever calls.
#[derive(Debug)]
pub(crate) struct Team {
    /// The others.
    pool: rayon::ThreadPool,
    /// How often each worker was called and has not come yet.
    called: Arc<[AtomicUsize]>,
}

impl Team {
    /// Starts `threads - 1` workers.
    pub fn start(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads((threads - 1).max(1))
            .thread_name(|i| format!("raptors-{}", i + 1))
            .build()?;
        let called = (0..pool.current_num_threads()).map(|_| AtomicUsize::new(0));
        Ok(Self {
            called: called.collect(),
            pool,
        })
    }

    /// The number of threads, the caller among them.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads() + 1
    }

    /// Does the pieces `0..pieces`, each once. A panic in one of them comes out here when the others are done.
    pub fn run(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        if pieces <= 1 {
            return (0..pieces).for_each(work);
        }
        let call = Arc::new(Call::new(work, pieces, self.threads()));
        if self.is_somebody_free() {
            self.invite(Arc::clone(&call));
        }
        call.help(0);
        call.wait();
    }

    /// Workers that are all busy with other callers' work, or have no CPU, are not called again and again.
    fn is_somebody_free(&self) -> bool {
        let called = || {
            self.called
                .iter()
                .map(|called| called.load(Ordering::Relaxed))
        };
        called().any(|called| called == 0) && called().all(|called| called < BACKLOG)
    }

    fn invite(&self, call: Arc<Call>) {
        let (caller, called) = (Caller::this_thread(), Arc::clone(&self.called));
        for called in called.iter() {
            called.fetch_add(1, Ordering::Relaxed);
        }
        self.pool.spawn_broadcast(move |worker| {
            called[worker.index()].fetch_sub(1, Ordering::Relaxed);
            caller.announced(|| call.help(worker.index() + 1));
            linger();
        });
    }
}

/// Work that is being done.
struct Call {
    work: *const (dyn Fn(usize) + Sync),
    /// Each thread begins with its own, which is the same part of the same work every time: it may still be in its cache.
    shares: Box<[Share]>,
    /// Threads that may be at a piece.
    inside: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    caller: Thread,
}

// SAFETY: `work` is Sync and only used while the caller keeps it; see the top of the module.
unsafe impl Send for Call {}
// SAFETY: as above.
unsafe impl Sync for Call {}

/// Pieces from `next` to `end`, on a cache line of their own.
#[repr(align(64))]
struct Share {
    next: AtomicUsize,
    end: usize,
}

impl Share {
    fn take(&self) -> Option<usize> {
        let piece = self.next.fetch_add(1, Ordering::AcqRel);
        (piece < self.end).then_some(piece)
    }
}

impl Call {
    fn new(work: &(dyn Fn(usize) + Sync), pieces: usize, threads: usize) -> Self {
        // SAFETY: only the lifetime changes, of a pointer that is not followed later than `Team::run` returns.
        let work = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(
                work,
            )
        };
        let share = |thread: usize| Share {
            next: AtomicUsize::new(thread * pieces / threads),
            end: (thread + 1) * pieces / threads,
        };
        Self {
            work,
            shares: (0..threads).map(share).collect(),
            inside: AtomicUsize::new(0),
            panic: Mutex::new(None),
            caller: thread::current(),
        }
    }

    /// Does pieces until all are taken: first its own, then those of the threads after it.
    fn help(&self, thread: usize) {
        self.inside.fetch_add(1, Ordering::Relaxed);
        let (before, from_own) = self.shares.split_at(thread);
        for share in from_own.iter().chain(before) {
            while let Some(piece) = share.take() {
                // SAFETY: a piece was taken, so the caller waits until this thread has left.
                let done = catch_unwind(AssertUnwindSafe(|| unsafe { (*self.work)(piece) }));
                if let Err(panic) = done {
                    let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
                    match *first {
                        None => *first = Some(panic),
                        // It may panic when it is dropped, and this thread has to leave first.
                        Some(_) => std::mem::forget(panic),
                    }
                }
            }
        }
        if self.inside.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.caller.unpark();
        }
    }

    /// Waits, on the caller's thread, until everybody has left.
    fn wait(&self) {
        let start = Instant::now();
        while self.inside.load(Ordering::Acquire) != 0 {
            if start.elapsed() < LINGER {
                relax();
            } else {
                thread::park();
            }
        }
        let panic = self
            .panic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// Stays awake on a worker's thread for the next call, and does it.
fn linger() {
    thread_local!(static LINGERS: Cell<bool> = const { Cell::new(false) });
    // A call that came while this thread lingers goes back to where it does.
    if LINGERS.replace(true) {
        return;
    }
    let mut idle = Instant::now();
    while idle.elapsed() < LINGER {
        match rayon::yield_local() {
            Some(Yield::Executed) => idle = Instant::now(),
            _ => relax(),
        }
    }
    LINGERS.set(false);
}

/// A moment of waiting that leaves the CPU to whoever else wants it.
pub(crate) fn relax() {
    for _ in 0..4 {
        spin_loop();
    }
    thread::yield_now();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    /// Pieces of a call: how often each was done, and which one panics.
    struct Pieces {
        done: Vec<AtomicU32>,
        panics: Option<usize>,
    }

    impl Pieces {
        fn run(&self, team: &Team) -> bool {
            let work = |piece: usize| {
                // Long enough that others are still at theirs when the last piece is taken.
                for _ in 0..(piece % 7) * 50 {
                    spin_loop();
                }
                self.done[piece].fetch_add(1, Ordering::Relaxed);
                if self.panics == Some(piece) {
                    resume_unwind(Box::new("meant to"));
                }
            };
            catch_unwind(AssertUnwindSafe(|| team.run(self.done.len(), &work))).is_err()
        }

        fn all_done_once(&self) -> bool {
            self.done.iter().all(|n| n.load(Ordering::Relaxed) == 1)
        }
    }

    /// Calls with 0 to 39 pieces from more threads than the team has, in a row and with pauses after which the workers sleep; in
    /// every fifth call a piece panics.
    #[test]
    fn when_a_call_returns_each_piece_was_done_once_and_none_is_done_later() {
        let rounds = if cfg!(miri) { 20 } else { 3000 };
        for threads in [2, 3, 5] {
            let team = Team::start(threads).unwrap();
            let caller = |caller: usize| {
                let mut calls = Vec::new();
                for round in 0..rounds {
                    let pieces = (round * 7 + caller) % 40;
                    let call = Pieces {
                        done: (0..pieces).map(|_| AtomicU32::new(0)).collect(),
                        panics: (round % 5 == 0 && pieces > 0).then(|| round % pieces.max(1)),
                    };
                    assert_eq!(call.run(&team), call.panics.is_some(), "round {round}");
                    assert!(call.all_done_once(), "round {round}");
                    calls.push(call);
                    if round % 500 == 0 {
                        thread::sleep(3 * LINGER);
                    }
                }
                assert!(calls.iter().all(Pieces::all_done_once));
            };
            thread::scope(|s| {
                let callers: Vec<_> = (0..4).map(|i| s.spawn(move || caller(i))).collect();
                for caller in callers {
                    caller.join().unwrap();
                }
            });
        }
    }

    #[test]
    fn the_workers_sleep_when_nobody_calls() {
        let team = Team::start(2).unwrap();
        let helped = || {
            let helper = Mutex::new(None);
            let start = Instant::now();
            while helper.lock().unwrap().is_none() && start.elapsed() < Duration::from_secs(10) {
                team.run(2, &|_| {
                    if thread::current().name() == Some("raptors-1") {
                        *helper.lock().unwrap() = Some(Caller::this_thread());
                    }
                    thread::sleep(LINGER);
                });
            }
            helper.into_inner().unwrap()
        };
        let helper = helped().unwrap();
        #[cfg(target_os = "linux")]
        assert!(sleeps(helper));
        assert!(helped().is_some(), "a thread that slept is woken");
    }

    /// Whether that thread sleeps from some time on.
    #[cfg(target_os = "linux")]
    fn sleeps(Caller(thread): Caller) -> bool {
        (0..1000).any(|_| {
            std::thread::sleep(10 * LINGER);
            let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
            let (_, state) = stat.rsplit_once(')').unwrap();
            state.trim_start().starts_with('S')
        })
    }
}
