//! The checks for people: one row each, and below it what is lost and the mend. Pure.

use clap::builder::styling::{AnsiColor, Style};

use super::{Check, Doctor, Group, Status};

const NAME_WIDTH: usize = 21;
const INDENT: usize = 2 + NAME_WIDTH + 9;

/// The table, with the colours of a terminal.
pub fn table(doctor: &Doctor) -> String {
    let mut lines = Vec::new();
    for group in [Group::Access, Group::Python, Group::Noise] {
        lines.push(title(group).to_owned());
        let checks = doctor.checks.iter().filter(|check| check.group == group);
        lines.extend(checks.flat_map(rows));
        lines.push(String::new());
    }
    lines.push(match doctor.main_job {
        true => format!(
            "The main job can run here. Rows that are not ok: {}.",
            bad(doctor)
        ),
        false => format!(
            "The main job can't run here. Missing: {}.",
            blocking(doctor)
        ),
    });
    lines.join("\n") + "\n"
}

fn title(group: Group) -> &'static str {
    match group {
        Group::Access => "Leave to watch processes",
        Group::Python => "Python",
        Group::Noise => "Steady times",
    }
}

fn rows(check: &Check) -> Vec<String> {
    let (word, style) = status(check.status);
    let mut rows = vec![format!(
        "  {:<NAME_WIDTH$}{style}{word:<9}{style:#}{}",
        check.name, check.found
    )];
    let more = [("lost: ", &check.lost), ("mend: ", &check.mend)];
    rows.extend(
        more.into_iter()
            .filter_map(|(label, text)| Some(format!("{:INDENT$}{label}{}", "", text.as_ref()?))),
    );
    rows
}

fn status(status: Status) -> (&'static str, Style) {
    let (word, color) = match status {
        Status::Ok => ("ok", AnsiColor::Green),
        Status::Limited => ("limited", AnsiColor::Yellow),
        Status::Missing => ("missing", AnsiColor::Red),
    };
    (word, color.on_default())
}

fn bad(doctor: &Doctor) -> usize {
    let checks = doctor.checks.iter();
    checks.filter(|check| check.status != Status::Ok).count()
}

fn blocking(doctor: &Doctor) -> String {
    let checks = doctor.checks.iter();
    let names: Vec<&str> = checks
        .filter(|check| check.needed && check.status == Status::Missing)
        .map(|check| check.name)
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doctor(checks: Vec<Check>, main_job: bool) -> String {
        let doctor = Doctor {
            schema: "",
            tool_version: "",
            main_job,
            checks,
            events: Vec::new(),
        };
        anstream::adapter::strip_str(&table(&doctor)).to_string()
    }

    #[test]
    fn what_is_not_ok_says_what_is_lost_and_the_mend() {
        let numpy = Check::ok(Group::Python, "numpy", "none").needed();
        let kernel = Check::ok(Group::Access, "kernel", "6.1");
        let text = doctor(
            vec![kernel, numpy.missing("ops", "pip install numpy")],
            false,
        );
        let expected = "\
Leave to watch processes
  kernel               ok       6.1

Python
  numpy                missing  none
                                lost: ops
                                mend: pip install numpy

Steady times

The main job can't run here. Missing: numpy.
";
        assert_eq!(text, expected);
    }

    #[test]
    fn where_the_main_job_can_run_the_rest_is_counted() {
        let load = Check::ok(Group::Noise, "load", "9").limited("time", "wait");
        let text = doctor(vec![load], true);
        assert!(
            text.ends_with("The main job can run here. Rows that are not ok: 1.\n"),
            "{text}"
        );
    }
}
