//! What a program inherits that is started while events are open.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::process::{Command, id};

use common::{skip_denied, stdout};
use raptors_prof::counters::Counters;
use raptors_prof::sampling::events::SamplingEvents;
use raptors_prof::sampling::request::Subject;

#[test]
fn a_program_has_no_descriptor_of_an_event() {
    let counters = Counters::open(id());
    if let Some(reason) = counters.denied() {
        return skip_denied(reason);
    }
    let sampling = SamplingEvents::open(id(), &Subject::CpuTime { rate_hz: 1 }).unwrap();
    let events = |pid: &str| {
        let list = Command::new("ls")
            .args(["-l", &format!("/proc/{pid}/fd")])
            .output()
            .unwrap();
        stdout(&list).matches("anon_inode:[perf_event]").count()
    };
    assert!(events(&id().to_string()) > 1);
    assert_eq!(events("self"), 0);
    drop((counters, sampling));
}
