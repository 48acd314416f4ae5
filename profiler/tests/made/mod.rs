//! Profiles that were made, not recorded.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::time::Duration;

use raptors_prof::profile::{
    Earlier, Frame, Profile, Sample, Samples, Sampling, StackTree, Thread,
};
use raptors_prof::sampling::weight::Unit;
use raptors_prof::stored::Stored;

/// The formats with the ends of their files' names.
pub const ALL: [(&str, &str); 5] = [
    ("svg", "svg"),
    ("folded", "folded"),
    ("speedscope", "speedscope.json"),
    ("firefox", "firefox.json.gz"),
    ("pprof", "pb.gz"),
];

/// A profile of a run with one window: each stack has a sample on each of two threads, and as many whose time is not known.
pub fn profile(stacks: &[&[Frame]], unit: Unit) -> Profile {
    let mut tree = StackTree::default();
    let mut samples = Samples {
        threads: [(7, "main"), (8, "other")]
            .map(|(tid, name)| Thread {
                pid: 7,
                tid,
                name: name.to_owned(),
                process: "python3".to_owned(),
            })
            .to_vec(),
        windows: vec![(1_000_000_000, 2_000_000_000)],
        epoch: Duration::from_secs(1_700_000_000),
        ..Samples::default()
    };
    for (at, frames) in stacks.iter().enumerate() {
        let stack = tree.add(frames, 4).unwrap();
        for thread in [0, 1] {
            let time_ns = 1_000_000_000 + 2_000_000 * at as u64 + u64::from(thread);
            samples.timed.push(Sample {
                time_ns,
                thread,
                stack,
                weight: 1,
            });
        }
        samples.earlier.push(Earlier {
            thread: Some(0),
            stack,
            samples: 2,
            weight: 2,
        });
    }
    let total = tree.total();
    Profile {
        stacks: tree,
        samples,
        sampling: Sampling {
            event: "cpu-clock".to_owned(),
            rate_hz: Some(1000),
            period: None,
            unit,
            total,
            samples: total,
            in_op: total,
            lost: 0,
            merged: total,
            merged_ratio: 1.0,
            unwound_ratio: 1.0,
            joined_workers: 0,
            kernel_frames: true,
            kernel_reason: None,
            python_failed_ratio: 0.0,
        },
    }
}

/// Keeps it in `p.samples.json.gz`.
pub fn store(profile: &Profile, directory: &Path) {
    Stored::new("a title", profile)
        .write(&directory.join("p.samples.json.gz"))
        .unwrap();
}
