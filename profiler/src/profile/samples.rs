//! The samples of a profile one by one: when, on which thread, on which stack, how much. Flame graphs need none of it; formats with a time
//! axis or with threads do.

use std::time::Duration;

/// A thread that was sampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its process.
    pub pid: u32,
    /// Its number.
    pub tid: u32,
    /// Its name, as the kernel keeps it.
    pub name: String,
    /// The name of its program.
    pub process: String,
}

/// A sample of which the time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// CLOCK_MONOTONIC ns.
    pub time_ns: u64,
    /// Index of its thread.
    pub thread: u32,
    /// Node of its stack.
    pub stack: u32,
    /// How much it counts.
    pub weight: u64,
}

/// Equal samples of a thread from before the earliest whose time was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// Index of their thread; None where that is not known, as of samples that were lost.
    pub thread: Option<u32>,
    /// Node of their stack.
    pub stack: u32,
    /// How many there are.
    pub samples: u64,
    /// How much they count together.
    pub weight: u64,
}

/// The samples of a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// The threads.
    pub threads: Vec<Thread>,
    /// In the order of their time.
    pub timed: Vec<Sample>,
    /// Those of which the time is not known.
    pub earlier: Vec<Earlier>,
    /// The stretches of time in which the op ran (start and end, CLOCK_MONOTONIC ns), in order; none without an op.
    pub windows: Vec<(u64, u64)>,
    /// What CLOCK_MONOTONIC has to be added to it for the time since 1970, at the end of the recording.
    pub epoch: Duration,
}

impl Samples {
    /// Adds the samples of another process; `stacks` has the node here of each of its nodes.
    pub fn append(&mut self, other: &Samples, stacks: &[u32]) {
        let first = self.threads.len() as u32;
        self.threads.extend_from_slice(&other.threads);
        self.timed.extend(other.timed.iter().map(|sample| Sample {
            thread: first + sample.thread,
            stack: stacks[sample.stack as usize],
            ..*sample
        }));
        self.timed.sort_by_key(|sample| sample.time_ns);
        self.earlier
            .extend(other.earlier.iter().map(|earlier| Earlier {
                thread: earlier.thread.map(|thread| first + thread),
                stack: stacks[earlier.stack as usize],
                ..*earlier
            }));
        self.epoch = other.epoch;
    }

    /// When the profile begins: with the first window or sample, CLOCK_MONOTONIC ns.
    pub fn begin_ns(&self) -> u64 {
        let window = self.windows.first().map(|(start, _)| *start);
        let sample = self.timed.first().map(|sample| sample.time_ns);
        window.into_iter().chain(sample).min().unwrap_or(0)
    }

    /// When it ends: with the last window or sample.
    pub fn end_ns(&self) -> u64 {
        let window = self.windows.last().map(|(_, end)| *end);
        let sample = self.timed.last().map(|sample| sample.time_ns);
        window.into_iter().chain(sample).max().unwrap_or(0)
    }

    /// The time since 1970 of a time of CLOCK_MONOTONIC.
    pub fn since_1970(&self, time_ns: u64) -> Duration {
        self.epoch.saturating_add(Duration::from_nanos(time_ns))
    }
}
