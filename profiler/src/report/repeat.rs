//! The command that repeats a run, as one may paste it into a shell. Pure.

use crate::suite::{Suite, SuiteCell};
use crate::summary::Summary;

/// Letters that no shell takes for anything else.
const PLAIN: &str = "@%+=:,./-_";

/// The command of a run, with what it took from its surroundings: interpreter, threads and instruction set. Where its result went
/// is left out, as a run never overwrites.
pub(super) fn of_run(summary: &Summary) -> String {
    let environment = &summary.environment;
    let mut command = without_out(&summary.command);
    let given = |option: &str| {
        let with_value = format!("{option}=");
        let mut words = summary.command.iter();
        words.any(|word| word == option || word.starts_with(&with_value))
    };
    let surroundings = [
        ("--python", Some(&environment.python.path)),
        ("--threads", environment.threads.requested.as_ref()),
        ("--simd", environment.simd.requested.as_ref()),
    ];
    for (option, value) in surroundings {
        if let Some(value) = value.filter(|_| !given(option)) {
            command.extend([option.to_owned(), value.clone()]);
        }
    }
    shell(&command)
}

/// The command that began a suite.
pub(super) fn of_suite(suite: &Suite) -> String {
    shell(&without_out(&suite.command))
}

/// The command that measures one cell of a suite by itself.
pub(super) fn of_cell(suite: &Suite, cell: &SuiteCell) -> String {
    let measuring = &suite.measuring;
    let layout = cell.cell.layout.map(|layout| layout.to_string());
    let options = [
        ("--op", Some(cell.cell.op.to_string())),
        ("--shape", cell.cell.shape.as_ref().map(ToString::to_string)),
        ("--dtype", cell.cell.dtype.map(|dtype| dtype.to_string())),
        ("--layout", layout.filter(|layout| layout != "contiguous")),
        ("--threads", cell.threads.clone()),
        ("--simd", cell.simd.clone()),
        ("--python", Some(measuring.python.clone())),
        ("--rate", Some(measuring.rate_hz.to_string())),
        ("--min-samples", Some(measuring.min_samples.to_string())),
        ("--max-time", Some(measuring.max_time_s.to_string())),
    ];
    let program = suite.command.first().cloned();
    let mut command = vec![program.unwrap_or_else(|| "raptors-prof".to_owned())];
    for (option, value) in options {
        command.extend(
            value
                .into_iter()
                .flat_map(|value| [option.to_owned(), value]),
        );
    }
    shell(&command)
}

fn without_out(command: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = command.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-o" | "--out" => {
                words.next();
            }
            word if word.starts_with("--out=") || is_short_out(word) => {}
            word => kept.push(word.to_owned()),
        }
    }
    kept
}

/// `-oDIR` or `-o=DIR`.
fn is_short_out(word: &str) -> bool {
    word.starts_with("-o") && word.len() > 2
}

fn shell(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || PLAIN.contains(letter);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn where_the_result_went_is_left_out() {
        for out in ["-o runs/a", "--out runs/a", "--out=runs/a", "-oruns/a"] {
            let command = words(&format!("raptors-prof {out} --op sum"));
            assert_eq!(without_out(&command), words("raptors-prof --op sum"));
        }
        assert_eq!(without_out(&words("raptors-prof --op sum -o")).len(), 3);
    }

    #[test]
    fn what_a_shell_would_take_apart_is_quoted() {
        assert_eq!(quoted("ops.py:Sum"), "ops.py:Sum");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("$(rm -rf ~)"), "'$(rm -rf ~)'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a\nb"), "'a\nb'");
    }
}
