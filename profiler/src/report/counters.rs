//! Counters of all backends side by side, per call.

use crate::counters::{CounterReading, Status};
use crate::summary::Summary;
use crate::table::{number, time};

/// Shown first: what costs most and is seen least.
const FIRST: [&str; 5] = [
    "page-faults",
    "minor-faults",
    "major-faults",
    "kernel-time",
    "user-time",
];

/// Tables with a row an event and a column a backend.
pub(super) struct CounterTable {
    /// Events of which at least one backend has a number.
    pub(super) counted: Vec<CounterRow>,
    /// Those of which none has.
    pub(super) absent: Vec<CounterRow>,
    /// What a status means here: one line each.
    pub(super) reasons: Vec<String>,
}

/// One event.
pub(super) struct CounterRow {
    pub(super) event: String,
    pub(super) values: Vec<CounterValue>,
    /// The second backend's count by the first one's.
    pub(super) factor: Option<String>,
}

/// What one backend has of an event.
pub(super) struct CounterValue {
    /// A number, or a word where there is none.
    pub(super) text: String,
    pub(super) is_number: bool,
    pub(super) reason: String,
}

impl CounterTable {
    pub(super) fn new(summary: &Summary, backends: &[&str]) -> CounterTable {
        let readings: Vec<&[CounterReading]> = backends
            .iter()
            .filter_map(|name| Some(summary.backends.get(*name)?.counters.as_slice()))
            .collect();
        let mut events: Vec<&str> = Vec::new();
        for reading in readings.iter().copied().flatten() {
            if !events.contains(&reading.event.as_str()) {
                events.push(&reading.event);
            }
        }
        events.sort_by_key(|event| {
            FIRST
                .iter()
                .position(|first| first == event)
                .unwrap_or(FIRST.len())
        });
        let rows = events.iter().map(|event| row(event, &readings));
        let (counted, absent) =
            rows.partition(|row| row.values.iter().any(|value| value.is_number));
        CounterTable {
            counted,
            absent,
            reasons: reasons(&readings),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counted.is_empty() && self.absent.is_empty()
    }
}

fn row(event: &str, readings: &[&[CounterReading]]) -> CounterRow {
    let found: Vec<Option<&CounterReading>> = readings
        .iter()
        .map(|readings| readings.iter().find(|reading| reading.event == event))
        .collect();
    let counts: Vec<f64> = found
        .iter()
        .filter_map(|reading| (*reading)?.per_call)
        .collect();
    CounterRow {
        event: event.to_owned(),
        values: found.into_iter().map(value).collect(),
        factor: match counts[..] {
            [one, other] if one > 0.0 => Some(format!("{}x", number(other / one))),
            _ => None,
        },
    }
}

fn value(reading: Option<&CounterReading>) -> CounterValue {
    let Some(reading) = reading else {
        return CounterValue {
            text: "not read".to_owned(),
            is_number: false,
            reason: String::new(),
        };
    };
    let number = reading.per_call.map(|count| told(&reading.event, count));
    CounterValue {
        is_number: number.is_some(),
        text: match (reading.status, number) {
            (Status::Counted, Some(number)) => number,
            (Status::Multiplexed, Some(number)) => format!("about {number}"),
            (status, _) => word(status).to_owned(),
        },
        reason: reading.reason.clone().unwrap_or_default(),
    }
}

fn told(event: &str, count: f64) -> String {
    if count == 0.0 {
        return "0".to_owned();
    }
    match event.ends_with("-time") || event.ends_with("-clock") {
        true => time(count),
        false => grouped(count),
    }
}

/// Thousands apart, as people write them.
fn grouped(count: f64) -> String {
    if count < 1000.0 {
        return number(count);
    }
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Counted => "counted",
        Status::Multiplexed => "multiplexed",
        Status::Unsupported => "unsupported",
        Status::Denied => "denied",
    }
}

/// Each reason once, with the events that it is of.
fn reasons(readings: &[&[CounterReading]]) -> Vec<String> {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for reading in readings.iter().copied().flatten() {
        let Some(reason) = &reading.reason else {
            continue;
        };
        let told = format!("{}: {reason}", word(reading.status));
        let known = reasons.iter().position(|(known, _)| *known == told);
        let at = known.unwrap_or_else(|| {
            reasons.push((told, Vec::new()));
            reasons.len() - 1
        });
        if !reasons[at].1.contains(&reading.event.as_str()) {
            reasons[at].1.push(&reading.event);
        }
    }
    reasons
        .into_iter()
        .map(|(reason, events)| format!("{reason} ({})", events.join(", ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(event: &str, status: Status, per_call: Option<f64>) -> CounterReading {
        CounterReading {
            event: event.to_owned(),
            status,
            value: None,
            per_call,
            time_enabled_ns: 0,
            time_running_ns: 0,
            reason: per_call.is_none().then(|| "no PMU".to_owned()),
        }
    }

    #[test]
    fn what_was_not_counted_is_a_word() {
        let side = |faults| {
            vec![
                reading("page-faults", Status::Counted, Some(faults)),
                reading("cycles", Status::Unsupported, None),
                reading("cache-misses", Status::Unsupported, None),
            ]
        };
        let (one, other) = (side(8193.0), side(0.0));
        let readings = [one.as_slice(), other.as_slice()];
        let texts = |row: &CounterRow| -> Vec<String> {
            row.values.iter().map(|value| value.text.clone()).collect()
        };
        let faults = row("page-faults", &readings);
        assert_eq!(texts(&faults), ["8,193", "0"]);
        assert_eq!(faults.factor.as_deref(), Some("0.00x"));
        let cycles = row("cycles", &readings);
        assert_eq!(texts(&cycles), ["unsupported", "unsupported"]);
        assert!(cycles.factor.is_none() && !cycles.values[0].is_number);
        assert_eq!(
            reasons(&readings),
            ["unsupported: no PMU (cycles, cache-misses)"]
        );
    }

    #[test]
    fn counts_are_written_as_people_write_them() {
        assert_eq!(grouped(0.5), "0.50");
        assert_eq!(grouped(999.4), "999");
        assert_eq!(grouped(1000.0), "1,000");
        assert_eq!(grouped(1_234_567.8), "1,234,568");
        assert_eq!(told("task-clock", 1_500.0), "1.50 us");
    }
}
