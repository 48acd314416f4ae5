//! Judges what makes timings unsteady. Pure.
//!
//! None of it keeps the main job from running: pairs are interleaved, and noise that is left is told beside the verdict.

use super::facts::Machine;
use super::{Check, Group};

/// Other programs that keep more than this share of the CPUs busy are worth stopping.
const BUSY: f64 = 0.25;
/// The largest preset cells fit into so many bytes, start-up included.
const ENOUGH_MEMORY: u64 = 1 << 30;

/// The checks of what makes timings unsteady.
pub(super) fn noise(machine: &Machine) -> Vec<Check> {
    vec![
        virtual_machine(machine),
        governor(machine),
        smt(machine),
        load(machine),
        cpus(machine),
        memory(machine),
    ]
}

fn check(name: &'static str, found: impl Into<String>) -> Check {
    Check::ok(Group::Noise, name, found)
}

fn virtual_machine(machine: &Machine) -> Check {
    match machine.virtual_machine {
        false => check("virtual machine", "no"),
        true => check("virtual machine", "yes").limited(
            "steady times: what other guests do is not seen from here",
            "measure on a machine of your own, or trust the interval alone",
        ),
    }
}

fn governor(machine: &Machine) -> Check {
    let name = "frequency governor";
    if machine.governors.is_empty() {
        return check(name, "no frequency scaling to be seen");
    }
    let check = check(name, machine.governors.join(", "));
    match machine.governors.iter().all(|name| name == "performance") {
        true => check,
        false => check.limited(
            "steady times, while the clock goes up and down",
            "sudo cpupower frequency-set --governor performance",
        ),
    }
}

fn smt(machine: &Machine) -> Check {
    match machine.smt {
        Some(true) => check("SMT", "on").limited(
            "speed-up by threads: two of them may share a core",
            "echo off | sudo tee /sys/devices/system/cpu/smt/control, or --threads with the number of cores",
        ),
        Some(false) => check("SMT", "off"),
        None => check("SMT", "unknown"),
    }
}

fn load(machine: &Machine) -> Check {
    let (Some(load), Some(online)) = (machine.load, machine.online) else {
        return check("other load", "unknown");
    };
    let check = check("other load", format!("{load:.2} on {online} CPUs"));
    match load > BUSY * online as f64 {
        true => check.limited(
            "steady times, and CPUs for the threads of raptors",
            "wait until the other programs are done; top shows them",
        ),
        false => check,
    }
}

fn cpus(machine: &Machine) -> Check {
    let (Some(usable), Some(online)) = (machine.usable, machine.online) else {
        return check("CPUs", "unknown");
    };
    let quota = machine
        .quota
        .map(|quota| format!(", a quota of {quota:.2} CPUs"))
        .unwrap_or_default();
    let check = check("CPUs", format!("{usable} of {online} usable{quota}"));
    let cut = machine.quota.is_some_and(|quota| quota < online as f64);
    match cut || usable < online {
        true => check.limited(
            "steady times: threads are halted when the quota is spent, or share what is left of the CPUs",
            "raise the limit (docker run --cpus, cpu.max, taskset), or --threads with what is usable",
        ),
        false => check,
    }
}

fn memory(machine: &Machine) -> Check {
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    let limit = match machine.memory_limit {
        Some(limit) => format!("a limit of {}", mebibytes(limit)),
        None => "no limit".to_owned(),
    };
    let Some(left) = machine.memory_left else {
        return check("memory", limit);
    };
    let check = check("memory", format!("{} left, {limit}", mebibytes(left)));
    match left < ENOUGH_MEMORY {
        true => check.limited(
            "large cells, which are refused before they start",
            "end other programs, or raise the limit (docker run --memory, memory.max)",
        ),
        false => check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn quiet() -> Machine {
        Machine {
            online: Some(8),
            usable: Some(8),
            memory_left: Some(8 << 30),
            load: Some(0.3),
            governors: vec!["performance".to_owned()],
            smt: Some(false),
            ..Machine::default()
        }
    }

    fn limited(machine: &Machine) -> Vec<&'static str> {
        let checks = noise(machine);
        let limited = checks.iter().filter(|check| check.status != Status::Ok);
        limited.map(|check| check.name).collect()
    }

    #[test]
    fn each_disturbance_is_one_row() {
        assert_eq!(limited(&quiet()), Vec::<&str>::new());
        type Disturb = fn(&mut Machine);
        let cases: [(&str, Disturb); 8] = [
            ("virtual machine", |machine| machine.virtual_machine = true),
            ("frequency governor", |machine| {
                machine.governors.push("powersave".to_owned())
            }),
            ("SMT", |machine| machine.smt = Some(true)),
            ("other load", |machine| machine.load = Some(2.1)),
            ("CPUs", |machine| machine.quota = Some(1.5)),
            ("CPUs", |machine| machine.usable = Some(4)),
            ("memory", |machine| machine.memory_left = Some(512 << 20)),
            ("memory", |machine| machine.memory_left = Some(0)),
        ];
        for (name, disturb) in cases {
            let mut machine = quiet();
            disturb(&mut machine);
            assert_eq!(limited(&machine), [name]);
        }
    }
}
