use super::*;
use crate::doctor::facts::EventFact;
use crate::doctor::{self, Doctor};

fn root() -> System {
    System {
        kernel: Some("6.1".to_owned()),
        container: "none",
        paranoid: Some(2),
        seccomp: Some(0),
        capabilities: Some(u64::MAX),
        ptrace_scope: Some(1),
        max_sample_rate: Some(100_000),
        kernel_symbols: true,
        ..System::default()
    }
}

fn user() -> System {
    System {
        capabilities: Some(0),
        ..root()
    }
}

fn counters(task_clock: Status, switches: Status, cycles: Status) -> Vec<EventFact> {
    let fact = |(event, status)| EventFact {
        event,
        status,
        reason: None,
    };
    [
        ("task-clock", task_clock),
        ("context-switches", switches),
        ("cycles", cycles),
    ]
    .map(fact)
    .into()
}

fn granted() -> Access {
    Access {
        on: "x",
        counters: counters(Status::Counted, Status::Counted, Status::Counted),
        sampling: Ok(Sampling {
            event: "cycles".to_owned(),
            kernel: true,
            ring_bytes: 8 << 20,
            patience_s: 0.12,
        }),
        memory: Ok(()),
    }
}

fn refusal(errno: i32) -> Refusal {
    Refusal {
        errno: Some(errno),
        message: "no".to_owned(),
    }
}

fn denied(errno: i32) -> Access {
    Access {
        counters: counters(Status::Denied, Status::Denied, Status::Denied),
        sampling: Err(refusal(errno)),
        ..granted()
    }
}

/// Names and status of what is not ok, and the mend of the row sampling.
fn judged(system: &System, access: &Access) -> (Vec<(&'static str, doctor::Status)>, String) {
    let checks = super::access(system, access);
    let mend = checks.iter().find(|check| check.name == "sampling");
    let mend = mend.and_then(|check| check.mend.clone());
    let bad = checks
        .iter()
        .filter(|check| check.status != doctor::Status::Ok);
    (
        bad.map(|check| (check.name, check.status)).collect(),
        mend.unwrap_or_default(),
    )
}

use doctor::Status::{Limited, Missing};

#[test]
fn where_all_is_granted_all_is_ok() {
    assert_eq!(judged(&root(), &granted()).0, []);
}

#[test]
fn an_ordinary_user_lacks_the_kernel_alone() {
    let access = Access {
        counters: counters(Status::Counted, Status::Denied, Status::Unsupported),
        sampling: Ok(Sampling {
            event: "cpu-clock".to_owned(),
            kernel: false,
            ring_bytes: 1 << 20,
            patience_s: 0.015,
        }),
        ..granted()
    };
    let expected = [
        ("perf_event_paranoid", Limited),
        ("ptrace scope", Limited),
        ("counters", Limited),
        ("PMU", Missing),
        ("kernel frames", Limited),
        ("ring buffers", Limited),
    ];
    assert_eq!(judged(&user(), &access).0, expected);
}

#[test]
fn the_mend_goes_by_who_denies() {
    let filtered = System {
        seccomp: Some(2),
        ..user()
    };
    let strict = System {
        paranoid: Some(4),
        ..user()
    };
    let cases = [
        (&filtered, libc::EPERM, "seccomp=container/seccomp.json"),
        (&filtered, libc::ENOSYS, "seccomp=container/seccomp.json"),
        (&strict, libc::EACCES, "sysctl kernel.perf_event_paranoid=2"),
        (&user(), libc::ENOSYS, "the kernel"),
    ];
    for (system, errno, text) in cases {
        let (bad, mend) = judged(system, &denied(errno));
        assert!(bad.contains(&("sampling", Missing)), "{bad:?}");
        assert!(bad.contains(&("counters", Missing)), "{bad:?}");
        assert!(mend.contains(text), "{mend}");
    }
    let no_memory = Access {
        sampling: Err(refusal(libc::EPERM)),
        ..granted()
    };
    let (_, mend) = judged(&user(), &no_memory);
    assert!(mend.contains("perf_event_mlock_kb"), "{mend}");
}

#[test]
fn whoever_denies_the_memory_of_a_process_is_named() {
    let access = Access {
        memory: Err(refusal(libc::EPERM)),
        ..granted()
    };
    let (bad, _) = judged(&root(), &access);
    assert_eq!(bad, [("process_vm_readv", Missing)]);
    let filtered = System {
        seccomp: Some(2),
        ..root()
    };
    let (bad, _) = judged(&filtered, &access);
    assert_eq!(bad, [("seccomp", Limited), ("process_vm_readv", Missing)]);
}

#[test]
fn modules_that_are_missing_stop_the_main_job() {
    let whole = Interpreter {
        path: "/p".to_owned(),
        version: "3.11.7".to_owned(),
        numpy: Ok("2.0".to_owned()),
        raptors: Ok("0.1".to_owned()),
        stacks: Ok(true),
        files: Vec::new(),
    };
    let bare = Interpreter {
        raptors: Err(Problem {
            what: "none".to_owned(),
            mend: "pip".to_owned(),
        }),
        ..whole.clone()
    };
    let by_spy = Interpreter {
        stacks: Ok(false),
        ..whole.clone()
    };
    let can_run = |interpreter| {
        let machine = doctor::facts::Machine::default();
        let facts = doctor::Facts {
            system: root(),
            access: granted(),
            interpreter,
            machine,
        };
        Doctor::of(facts).main_job
    };
    assert!(can_run(Ok(whole)));
    assert!(can_run(Ok(by_spy)));
    assert!(!can_run(Ok(bare)));
    assert!(!can_run(Err("no Python".to_owned())));
}

#[test]
fn stripped_code_lacks_names_and_code_without_tables_callers() {
    let file = |symbols, unwind| CodeFile {
        owner: "x",
        path: "/x.so".into(),
        symbols,
        lines: false,
        unwind,
    };
    let lost = |file| code(&file).lost.unwrap_or_default();
    assert_eq!(lost(file(true, true)), "");
    assert!(lost(file(false, true)).contains("names"));
    assert!(lost(file(true, false)).contains("callers"));
    assert_eq!(
        code(&file(false, true)).found,
        "no symbols, unwind tables, no lines: /x.so"
    );
}
