//! One recording: drains the rings, walks each stack copy and looks at the Python stacks meanwhile.
//!
//! In: sampling events and the processes that they were opened on. Out: [`Recording`], one [`Target`] a program, raw and
//! unnamed; nothing is symbolised here, so that the loop keeps up. The work is done on a thread of its own between
//! [`Session::start`] and [`Session::stop`].

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::clock::now_ns;
use super::events::SamplingEvents;
use super::off_cpu::{Wait, Waits};
use super::record::{Record, parse};
use super::target::Target;
use super::weight::Unit;
use crate::native::maps::Maps;

/// How long the loop waits for samples before it looks whether it is to stop.
const POLL_MS: u8 = 20;

/// The same for events that are sampled by number: Python stacks are looked at meanwhile, as they are with samples by rate.
const BY_NUMBER_POLL_MS: u8 = 5;

/// Samples wait no longer than this: they show up, and a change of the Python stacks is noticed.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// Everything that one recording gathered.
pub struct Recording {
    /// The events, to record on.
    pub events: SamplingEvents,
    /// The programs that ran, in the order in which they began.
    pub targets: Vec<Target>,
    /// Samples that found no room in the rings.
    pub lost: u64,
}

/// A recording under way.
pub struct Session {
    stop: Arc<AtomicBool>,
    in_op: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<Recording>>,
}

impl Session {
    /// Starts to record `target` and the processes that it starts: what they do from now on is seen. Samples that are taken
    /// while a frame of the Python function `op` is on a stack are counted as they come.
    ///
    /// # Errors
    /// When the events or the thread can't be started.
    pub fn start(
        mut events: SamplingEvents,
        target: Target,
        op: Option<&str>,
    ) -> io::Result<Session> {
        // Here, not in the thread: a program that is let go after this call must not map its files before the events are on.
        events.enable()?;
        let stop = Arc::new(AtomicBool::new(false));
        let in_op = Arc::new(AtomicU64::new(0));
        let mut worker = Loop {
            op: op.map(str::to_owned),
            in_op: Arc::clone(&in_op),
            running: HashMap::from([(target.pid(), 0)]),
            waits: events.switches().then(Waits::default),
            early: Vec::new(),
            recording: Recording {
                events,
                targets: vec![target],
                lost: 0,
            },
        };
        let asked_to_stop = Arc::clone(&stop);
        let run = move || worker.run(&asked_to_stop).map(|()| worker.recording);
        let thread = std::thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(run)?;
        Ok(Session {
            stop,
            in_op,
            thread,
        })
    }

    /// Samples inside the op so far.
    pub fn in_op(&self) -> u64 {
        self.in_op.load(Ordering::Relaxed)
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// What the system said to the sampling thread.
    pub fn stop(self) -> io::Result<Recording> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the sampling thread panicked")))
    }
}

struct Loop {
    op: Option<String>,
    in_op: Arc<AtomicU64>,
    /// The target that a process runs now.
    running: HashMap<u32, usize>,
    /// The waits of the threads, where they are what is recorded.
    waits: Option<Waits>,
    /// Records that are not to be read before the next drain.
    early: Vec<(u64, Record)>,
    recording: Recording,
}

impl Loop {
    fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        self.look_at_python(&BTreeSet::from_iter(0..self.recording.targets.len()))?;
        let mut active = BTreeSet::new();
        let mut quiet = false;
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(self.pause(&active));
            if self.wait()? {
                active = self.gather(&active)?;
                quiet = false;
            } else if self.is_by_number() {
                self.look_while_quiet(&active, !quiet)?;
                quiet = true;
            }
        }
        self.recording.events.disable()?;
        self.gather(&active)?;
        let end = now_ns()?;
        for wait in self.waits.iter_mut().flat_map(|waits| waits.end(end)) {
            keep(&mut self.recording.targets, wait);
        }
        Ok(())
    }

    /// Looks first at the Python stacks of the targets that were `active` last, since time changes them, then takes the
    /// samples and looks at the rest. Gives the targets that are active now.
    fn gather(&mut self, active: &BTreeSet<usize>) -> io::Result<BTreeSet<usize>> {
        self.look_at_python(active)?;
        let sampled = self.drain()?;
        let now_active = BTreeSet::from_iter(sampled.iter().copied());
        self.look_at_python(&(&now_active - active))?;
        if let Some(op) = &self.op {
            let targets = &self.recording.targets;
            let in_op = sampled
                .iter()
                .filter(|target| targets[**target].last_ran(op))
                .count();
            self.in_op.fetch_add(in_op as u64, Ordering::Relaxed);
        }
        // A ring may have been emptied by the drain before the one that it called for.
        Ok(if now_active.is_empty() {
            active.clone()
        } else {
            now_active
        })
    }

    /// Looks at the Python stacks while no samples come: the next may be long in coming, and the `first` look may not be left out
    /// because the last was just before it. Stacks that are calm are looked at no more.
    fn look_while_quiet(&mut self, active: &BTreeSet<usize>, first: bool) -> io::Result<()> {
        let targets = &mut self.recording.targets;
        let mut due = active.clone();
        due.retain(|index| first || !targets[*index].is_calm());
        if first {
            due.iter().for_each(|index| targets[*index].rest_no_more());
        }
        self.look_at_python(&due)
    }

    /// How long samples may wait: while Python stacks change, not at all, so that each sample finds the stack of its own
    /// time; while they stay the same, as long as the rings have room.
    fn pause(&self, active: &BTreeSet<usize>) -> Duration {
        let targets = &self.recording.targets;
        let calm = !active.is_empty() && active.iter().all(|index| targets[*index].is_calm());
        if calm {
            self.recording.events.patience().min(LONGEST_PAUSE)
        } else {
            Duration::ZERO
        }
    }

    /// Whether samples come when events do, be it never, or thousands at once.
    fn is_by_number(&self) -> bool {
        self.recording.events.rate_hz().is_none()
    }

    fn wait(&self) -> io::Result<bool> {
        let mut ready: Vec<PollFd<'_>> = self
            .recording
            .events
            .descriptors()
            .into_iter()
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        let patience = if self.is_by_number() {
            BY_NUMBER_POLL_MS
        } else {
            POLL_MS
        };
        match poll(&mut ready, PollTimeout::from(patience)) {
            Ok(count) => Ok(count > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what waits in the rings, in the order in which it happened; gives the target of each sample. What was written after
    /// this began is left for the next time: another ring may have been read before something earlier came into it.
    fn drain(&mut self) -> io::Result<Vec<usize>> {
        let began = now_ns()?;
        let events = &self.recording.events;
        let (info, unit, period) = (events.parse_info(), events.unit(), events.period());
        let Recording {
            events,
            targets,
            lost,
        } = &mut self.recording;
        let mut records = std::mem::take(&mut self.early);
        for ring in events.rings() {
            ring.drain(|kind, misc, body| records.extend(parse(kind, misc, body, info)));
        }
        records.sort_by_key(|(time_ns, _)| *time_ns);
        self.early = records.split_off(records.partition_point(|(time_ns, _)| *time_ns <= began));
        let mut programs = Programs {
            running: &mut self.running,
            targets,
        };
        let mut sampled = Vec::new();
        for (time_ns, record) in records {
            let wait = self
                .waits
                .as_mut()
                .and_then(|waits| waits.switch(time_ns, &record));
            if let Some(wait) = wait {
                keep(programs.targets, wait);
            }
            match record {
                Record::Sample(mut sample) => {
                    let (index, tid) = (programs.of(sample.pid), sample.tid);
                    sample.weight = match self.waits {
                        // It counts when its wait is over.
                        Some(_) => 0,
                        None => unit.weight(period.unwrap_or(sample.weight)),
                    };
                    let number = programs.targets[index].add(sample);
                    if let Some(waits) = &mut self.waits {
                        waits.sampled(tid, (index, number));
                    }
                    sampled.push(index);
                }
                Record::Lost(count) => *lost += count,
                Record::Map { pid, mapping } => programs.get(pid).map(mapping),
                Record::Fork { pid, parent } => programs.fork(pid, parent),
                Record::Exec { pid, name } => programs.exec(pid, name),
                Record::ThreadName { pid, tid, name } => programs.get(pid).name_thread(tid, name),
                Record::SwitchOut { .. } | Record::SwitchIn { .. } | Record::Exit { .. } => {}
            }
        }
        Ok(sampled)
    }

    fn look_at_python(&mut self, targets: &BTreeSet<usize>) -> io::Result<()> {
        targets
            .iter()
            .try_for_each(|&index| self.recording.targets[index].look_at_python())
    }
}

/// A wait is over: its sample counts for as long as it was.
fn keep(targets: &mut [Target], wait: Wait) {
    let (target, sample) = wait.place;
    let weight = Unit::Microseconds.weight(wait.until_ns.saturating_sub(wait.since_ns));
    targets[target].weigh(sample, weight, wait.since_ns..=wait.until_ns);
}

/// Which target a process is at present.
struct Programs<'a> {
    running: &'a mut HashMap<u32, usize>,
    targets: &'a mut Vec<Target>,
}

impl Programs<'_> {
    fn of(&mut self, pid: u32) -> usize {
        match self.running.get(&pid) {
            Some(&index) => index,
            // Its fork was recorded on another CPU and is not read yet, or the process is gone again.
            None => self.begin(Target::new(pid, Maps::read(pid).unwrap_or_default(), None)),
        }
    }

    fn get(&mut self, pid: u32) -> &mut Target {
        let index = self.of(pid);
        &mut self.targets[index]
    }

    fn begin(&mut self, target: Target) -> usize {
        self.running.insert(target.pid(), self.targets.len());
        self.targets.push(target);
        self.targets.len() - 1
    }

    fn fork(&mut self, pid: u32, parent: u32) {
        if pid != parent && !self.running.contains_key(&pid) {
            let child = self.get(parent).forked(pid);
            self.begin(child);
        }
    }

    /// A new program begins in a process, with none of the old one's mappings.
    fn exec(&mut self, pid: u32, name: String) {
        let mut target = Target::new(pid, Maps::default(), None);
        target.name_thread(pid, name);
        self.begin(target);
    }
}
