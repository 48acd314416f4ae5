//! The counters on the real kernel.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use common::skip_denied;
use raptors_prof::counters::Counters;

#[test]
fn the_real_kernel_counts_the_faults_of_this_thread() {
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    let mut counters = Counters::open(
        thread
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap(),
    );
    if let Some(reason) = counters.denied() {
        return skip_denied(reason);
    }
    let start = counters.start();
    let memory = std::hint::black_box(vec![1_u8; 64 << 20]);
    let readings = counters.stop(&start, 1);
    assert!(memory.iter().step_by(4096).all(|byte| *byte == 1));
    let faults = readings
        .iter()
        .find(|reading| reading.event == "page-faults")
        .unwrap();
    assert!(
        faults.value.unwrap() > 16,
        "64 MiB of fresh memory fault, with huge pages at least 32 times: {faults:?}"
    );
}
