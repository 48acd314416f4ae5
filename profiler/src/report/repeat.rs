//! The command that repeats a run, as one may paste it into a shell. Pure.

use crate::suite::Suite;
use crate::summary::Summary;

/// Letters that no shell takes for anything else.
const PLAIN: &str = "@%+=:,./-_";

/// The command of a run, with what it took from its surroundings: interpreter, threads and instruction set. Where its result went
/// is left out, as a run never overwrites.
pub(super) fn of_run(summary: &Summary) -> String {
    let environment = &summary.environment;
    let surroundings = [
        ("--python", Some(environment.python.path.clone())),
        ("--threads", environment.threads.requested.clone()),
        ("--simd", environment.simd.requested.clone()),
    ];
    shell(&completed(&summary.command, surroundings))
}

/// The command that began a suite, with its interpreter and the order of its cells.
pub(super) fn of_suite(suite: &Suite) -> String {
    let surroundings = [
        ("--python", Some(suite.measuring.python.clone())),
        ("--seed", Some(suite.seed.to_string())),
    ];
    shell(&completed(&suite.command, surroundings))
}

/// A command without where its result went, and with those options that it does not give itself.
fn completed<const N: usize>(
    command: &[String],
    options: [(&str, Option<String>); N],
) -> Vec<String> {
    let mut completed = without_out(command);
    for (option, value) in options {
        let with_value = format!("{option}=");
        let given = |word: &String| word == option || word.starts_with(&with_value);
        if let Some(value) = value.filter(|_| !command.iter().any(given)) {
            completed.extend([option.to_owned(), value]);
        }
    }
    completed
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
    fn what_came_from_elsewhere_is_added() {
        let options = || {
            [
                ("--simd", Some("avx2".to_owned())),
                ("--threads", Some("2".to_owned())),
                ("--python", None),
            ]
        };
        let added = |text: &str| completed(&words(text), options()).join(" ");
        assert_eq!(added("x --op sum"), "x --op sum --simd avx2 --threads 2");
        assert_eq!(
            added("x --simd off --threads=1"),
            "x --simd off --threads=1"
        );
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
