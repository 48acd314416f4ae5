//! One recording: drains the rings; each sample's stack copy is walked and the Python stack looked at as it comes.
//!
//! In: sampling events and the processes that they were opened on. Out: [`Recording`], one [`Target`] a program, raw and
//! unnamed; nothing is symbolised here, so that the loop keeps up. The work is done on a thread of its own between
//! [`Session::start`] and [`Session::stop`].

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::clock::{epoch, now_ns};
use super::depth::Depth;
use super::events::{Mode, SamplingEvents};
use super::off_cpu::{Wait, Waits};
use super::record::{RawSample, Record, parse};
use super::scheduling::Scheduling;
use super::target::{PythonSide, Sight, Target};
use super::weight::Unit;
use crate::native::maps::Maps;

/// How long the loop waits for samples before it looks whether it is to stop.
const POLL_MS: u8 = 20;

/// Samples wait no longer than this: they show up, and a change of the Python stacks is noticed.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// After work the loop rests so many times as long, whatever waits: what the profiler takes, the target lacks.
const REST: u32 = 4;

/// Once stacks have stayed the same for so long, samples wake nobody.
const SETTLED: Duration = Duration::from_millis(250);

/// Everything that one recording gathered.
pub struct Recording {
    /// The events, to record on.
    pub events: SamplingEvents,
    /// The programs that ran, in the order in which they began.
    pub targets: Vec<Target>,
    /// Samples that found no room in the rings.
    pub lost: u64,
    /// What has to be added to the samples' times for the time since 1970.
    pub epoch: Duration,
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
    /// When sampling or the thread can't be started.
    pub fn start(
        mut events: SamplingEvents,
        target: Target,
        op: Option<&str>,
    ) -> io::Result<Session> {
        // Before it returns: a program that waits to be started must not run unseen.
        events.enable()?;
        let stop = Arc::new(AtomicBool::new(false));
        let in_op = Arc::new(AtomicU64::new(0));
        let mut worker = Loop {
            op: op.map(str::to_owned),
            in_op: Arc::clone(&in_op),
            running: HashMap::from([(target.pid(), 0)]),
            waits: events.switches().then(Waits::default),
            calm_since: None,
            depth: Depth::default(),
            early: Vec::new(),
            recording: Recording {
                events,
                targets: vec![target],
                lost: 0,
                epoch: Duration::ZERO,
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

/// What was in the rings.
#[derive(Default)]
struct Drained {
    /// The targets that were sampled.
    targets: BTreeSet<usize>,
    /// The CPU of the last sample of a Python thread.
    python_cpu: Option<usize>,
    /// How long it took.
    took: Duration,
}

/// A record with its time, CLOCK_MONOTONIC ns, and its CPU.
type Timed = (u64, usize, Record);

struct Loop {
    op: Option<String>,
    in_op: Arc<AtomicU64>,
    /// The target that a process runs now.
    running: HashMap<u32, usize>,
    /// The waits of the threads, where they are what is recorded.
    waits: Option<Waits<Place>>,
    /// Since when the Python stacks have stayed the same.
    calm_since: Option<Instant>,
    depth: Depth,
    /// Records that are not to be read before the next drain.
    early: Vec<Timed>,
    recording: Recording,
}

impl Loop {
    fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut scheduling = Scheduling::of_this_thread();
        let mut last = Drained::default();
        while !stop.load(Ordering::Relaxed) {
            let calm = self.is_calm(&last.targets);
            let hurries = !calm && self.hurries(&last.targets);
            if !last.targets.is_empty() {
                self.listen(calm)?;
            }
            scheduling.follow(last.python_cpu.filter(|_| hurries));
            let pause = self.pause(calm).max(self.rest(last.took));
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
            if self.is_silent() || self.wait()? {
                let begun = Instant::now();
                last = self.drain()?;
                last.took = begun.elapsed();
            }
        }
        self.recording.events.disable()?;
        self.drain()?;
        self.recording.epoch = epoch()?;
        let end = now_ns()?;
        for wait in self.waits.iter_mut().flat_map(|waits| waits.end(end)) {
            keep(&mut self.recording.targets, wait);
        }
        Ok(())
    }

    /// Whether the Python stacks of these targets have stayed the same.
    fn is_calm(&self, targets: &BTreeSet<usize>) -> bool {
        let mut targets = targets.iter().map(|&index| &self.recording.targets[index]);
        targets.len() > 0 && targets.all(Target::is_calm)
    }

    /// Whether looks at one of these targets came too late of late.
    fn hurries(&self, targets: &BTreeSet<usize>) -> bool {
        let mut targets = targets.iter().map(|&index| &self.recording.targets[index]);
        targets.any(Target::hurries)
    }

    /// Nobody waits for a sample while the Python stacks stay the same. Samples of a program that recurs deeply have more of the
    /// stack, all of them: the leaf of a recursion may stay the same while what is below it comes and goes.
    fn listen(&mut self, calm: bool) -> io::Result<()> {
        self.calm_since = calm.then(|| self.calm_since.unwrap_or_else(Instant::now));
        let settled = self
            .calm_since
            .is_some_and(|since| since.elapsed() >= SETTLED);
        let events = &mut self.recording.events;
        let deep = self.depth.is_great() && events.offers(Mode::Deep);
        events.set_mode(match (deep, settled) {
            (true, _) => Mode::Deep,
            (false, true) => Mode::Silent,
            (false, false) => Mode::Waking,
        })
    }

    fn is_silent(&self) -> bool {
        self.recording.events.mode() == Mode::Silent
    }

    /// How long samples may wait: while Python stacks change, not at all, so that each sample finds the stack of its own
    /// time; while they stay the same, as long as the rings have room.
    fn pause(&self, calm: bool) -> Duration {
        if calm || self.is_silent() {
            self.recording.events.patience().min(LONGEST_PAUSE)
        } else {
            Duration::ZERO
        }
    }

    /// What comes by rate waits no longer than the rings have room.
    fn longest_pause(&self) -> Duration {
        match self.recording.events.rate_hz() {
            Some(_) => self.recording.events.patience().min(LONGEST_PAUSE),
            None => LONGEST_PAUSE,
        }
    }

    /// How long to rest after work. The time until the next sample is rest enough, if it is so long.
    fn rest(&self, took: Duration) -> Duration {
        let rest = took * REST;
        let rate_hz = self.recording.events.rate_hz();
        let until_next = rate_hz.map_or(Duration::ZERO, |rate_hz| Duration::from_secs(1) / rate_hz);
        match took + rest <= until_next {
            true => Duration::ZERO,
            false => rest.min(self.longest_pause()),
        }
    }

    fn wait(&self) -> io::Result<bool> {
        let mut ready: Vec<PollFd<'_>> = self
            .recording
            .events
            .descriptors()
            .into_iter()
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        match poll(&mut ready, PollTimeout::from(POLL_MS)) {
            Ok(count) => Ok(count > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what waits in the rings, in the order in which it happened. What was written after this began is left for the next
    /// time: another ring may have been read before something earlier came into it.
    fn drain(&mut self) -> io::Result<Drained> {
        let began = now_ns()?;
        let events = &mut self.recording.events;
        let info = events.parse_info();
        let mut records = std::mem::take(&mut self.early);
        for (cpu, ring) in events.rings() {
            ring.drain(|kind, misc, body| {
                let record = parse(kind, misc, body, info);
                records.extend(record.map(|(time_ns, record)| (time_ns, cpu, record)));
            });
        }
        records.sort_by_key(|(time_ns, ..)| *time_ns);
        self.early = records.split_off(records.partition_point(|(time_ns, ..)| *time_ns <= began));
        let mut drained = Drained::default();
        for record in records {
            self.take(record, &mut drained);
        }
        Ok(drained)
    }

    fn take(&mut self, (time_ns, cpu, record): Timed, drained: &mut Drained) {
        let waits = self.waits.as_mut();
        if let Some(wait) = waits.and_then(|waits| waits.switch(time_ns, &record)) {
            keep(&mut self.recording.targets, wait);
        }
        let mut programs = Programs {
            running: &mut self.running,
            targets: &mut self.recording.targets,
        };
        match record {
            Record::Sample(sample) => {
                let index = programs.of(sample.pid);
                if drained.targets.insert(index) {
                    self.recording.targets[index].refresh();
                }
                if self.sample(index, sample) {
                    drained.python_cpu = Some(cpu);
                }
            }
            Record::Lost(count) => self.recording.lost += count,
            Record::Map { pid, mapping } => programs.get(pid).map(mapping),
            Record::Fork { pid, parent } => programs.fork(pid, parent),
            Record::Exec { pid, name } => programs.exec(pid, name),
            Record::ThreadName { pid, tid, name } => programs.get(pid).name_thread(tid, name),
            Record::SwitchOut { .. } | Record::SwitchIn { .. } | Record::Exit { .. } => {}
        }
    }

    /// Looks at a sample of a target and keeps it, or, where waits are recorded, has it kept when its wait is over. Says whether it
    /// is of a Python thread.
    fn sample(&mut self, index: usize, sample: RawSample) -> bool {
        let (unit, period) = (self.recording.events.unit(), self.recording.events.period());
        let target = &mut self.recording.targets[index];
        let (time_ns, tid) = (sample.time_ns, sample.tid);
        let weight = unit.weight(period.unwrap_or(sample.weight));
        let (sight, cut) = target.look(sample, self.waits.is_none());
        self.depth.note(cut);
        let op = self.op.as_deref();
        let in_op = op.is_some_and(|op| sight.python.runs(op));
        self.in_op.fetch_add(u64::from(in_op), Ordering::Relaxed);
        let is_python = matches!(sight.python, PythonSide::Own(_));
        match &mut self.waits {
            Some(waits) => waits.sampled(
                tid,
                Place {
                    target: index,
                    tid,
                    sight,
                },
            ),
            None => target.keep(time_ns, weight, tid, sight),
        }
        is_python
    }
}

/// Where a thread waits.
struct Place {
    target: usize,
    tid: u32,
    sight: Sight,
}

/// A wait is over: it counts for as long as it was.
fn keep(targets: &mut [Target], wait: Wait<Place>) {
    let Place { target, tid, sight } = wait.place;
    let weight = Unit::Microseconds.weight(wait.until_ns.saturating_sub(wait.since_ns));
    targets[target].keep(wait.since_ns, weight, tid, sight);
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
