//! How long each thread waited, from its samples at switch-out and its switches (pure).
//!
//! In: what the sample of a switch-out shows, and the switches of the threads, in the order of time. Out: [`Wait`]s. A thread
//! that is preempted does not wait: it would run if there were a CPU.

use std::collections::HashMap;

use super::record::Record;

/// A wait that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait<P> {
    /// Where.
    pub place: P,
    /// When the thread left its CPU, CLOCK_MONOTONIC ns.
    pub since_ns: u64,
    /// When it returned.
    pub until_ns: u64,
}

struct Open<P> {
    place: P,
    /// When the thread left its CPU; None until that is known.
    since_ns: Option<u64>,
}

/// The waits that are not over, by thread.
pub struct Waits<P> {
    open: HashMap<u32, Open<P>>,
}

impl<P> Default for Waits<P> {
    fn default() -> Self {
        Waits {
            open: HashMap::new(),
        }
    }
}

impl<P> Waits<P> {
    /// A thread was sampled on its way out. If its last return found no room in the ring, nobody knows how long that wait was.
    pub fn sampled(&mut self, tid: u32, place: P) {
        let since_ns = None;
        self.open.insert(tid, Open { place, since_ns });
    }

    /// Takes note of a record; gives the wait that is over with it.
    pub fn switch(&mut self, time_ns: u64, record: &Record) -> Option<Wait<P>> {
        match *record {
            Record::SwitchOut { tid, preempted } => self.left(tid, time_ns, preempted),
            Record::SwitchIn { tid } => return self.returned(tid, time_ns),
            Record::Exit { tid } => self.gone(tid),
            _ => {}
        }
        None
    }

    fn left(&mut self, tid: u32, time_ns: u64, preempted: bool) {
        if preempted {
            self.open.remove(&tid);
        } else if let Some(open) = self.open.get_mut(&tid) {
            open.since_ns = Some(time_ns);
        }
    }

    fn returned(&mut self, tid: u32, time_ns: u64) -> Option<Wait<P>> {
        self.open.remove(&tid)?.over(time_ns)
    }

    fn gone(&mut self, tid: u32) {
        self.open.remove(&tid);
    }

    /// The waits that the end of the recording cuts short.
    pub fn end(&mut self, time_ns: u64) -> Vec<Wait<P>> {
        let open = self.open.drain();
        open.filter_map(|(_, open)| open.over(time_ns)).collect()
    }
}

impl<P> Open<P> {
    fn over(self, until_ns: u64) -> Option<Wait<P>> {
        Some(Wait {
            place: self.place,
            since_ns: self.since_ns?,
            until_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: u8 = 7;

    /// A thread that was sampled and has left its CPU.
    fn left(preempted: bool) -> Waits<u8> {
        let mut waits = Waits::default();
        waits.sampled(1, HERE);
        assert_eq!(
            waits.switch(100, &Record::SwitchOut { tid: 1, preempted }),
            None
        );
        waits
    }

    fn returned(waits: &mut Waits<u8>, time_ns: u64) -> Option<Wait<u8>> {
        waits.switch(time_ns, &Record::SwitchIn { tid: 1 })
    }

    #[test]
    fn a_wait_lasts_from_leaving_to_returning() {
        let wait = Wait {
            place: HERE,
            since_ns: 100,
            until_ns: 150,
        };
        assert_eq!(returned(&mut left(false), 150), Some(wait));
    }

    #[test]
    fn preempted_threads_do_not_wait() {
        let mut waits = left(true);
        assert_eq!(returned(&mut waits, 150), None);
        assert_eq!(waits.end(200), []);
    }

    #[test]
    fn what_lasts_until_the_end_counts_until_then() {
        let mut waits = left(false);
        waits.sampled(2, 8);
        let ends: Vec<u64> = waits.end(180).iter().map(|wait| wait.until_ns).collect();
        assert_eq!(ends, [180]);
        assert_eq!(returned(&mut waits, 200), None);
    }

    #[test]
    fn waits_whose_records_are_missing_are_not_guessed() {
        // The return found no room in the ring.
        let mut waits = left(false);
        waits.sampled(1, 9);
        let preempted = false;
        waits.switch(300, &Record::SwitchOut { tid: 1, preempted });
        let wait = returned(&mut waits, 310).unwrap();
        assert_eq!((wait.place, wait.since_ns), (9, 300));
        // So did the leaving, or the sample.
        waits.sampled(1, HERE);
        assert_eq!(returned(&mut waits, 400), None);
        waits.switch(500, &Record::SwitchOut { tid: 1, preempted });
        assert_eq!(returned(&mut waits, 600), None);
    }

    #[test]
    fn a_thread_that_is_gone_waits_no_more() {
        let mut waits = left(false);
        waits.switch(200, &Record::Exit { tid: 1 });
        assert_eq!(waits.end(700), []);
    }
}
