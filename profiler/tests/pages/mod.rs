//! The pages of README.md and docs/, cut into the fenced blocks that a test can run or read.
//!
//! Blocks marked `sh` hold commands; in those marked `console`, commands follow `$ ` and the rest is what they print. A comment above a block says
//! what a test has to know of it: `<!-- not run: REASON -->`, `<!-- exits with N -->`, `<!-- file: NAME -->`.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Words after which another command, or a file, follows.
const ENDS: [&str; 9] = ["|", "||", "&&", "&", ";", ">", ">>", "<", "2>"];

/// A page of Markdown.
pub struct Page {
    /// From the root of the repository.
    pub name: String,
    pub text: String,
}

/// A fenced block.
pub struct Block {
    pub line: usize,
    pub language: String,
    pub mark: Option<Mark>,
    pub text: String,
}

/// What the comment above a block says.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    NotRun(String),
    Exits(i32),
    File(String),
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// README.md, and what lies directly in docs/.
pub fn pages() -> Vec<Page> {
    let mut names = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    let read = |name: String| Page {
        text: fs::read_to_string(root().join(&name)).unwrap(),
        name,
    };
    names.into_iter().map(read).collect()
}

impl Page {
    pub fn directory(&self) -> PathBuf {
        root().join(&self.name).parent().unwrap().to_owned()
    }

    /// The fenced blocks. Panics where one is not closed, or where a mark has no block below it.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut open = false;
        let mut mark = None;
        for (number, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), open) {
                (Some(language), false) => {
                    open = true;
                    blocks.push(Block {
                        line: number + 1,
                        language: language.to_owned(),
                        mark: mark.take(),
                        text: String::new(),
                    });
                }
                (Some(_), true) => open = false,
                (None, true) => {
                    let block = blocks.last_mut().unwrap();
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, false) if line.is_empty() => {}
                (None, false) => {
                    assert!(
                        mark.is_none(),
                        "{}:{number}: no block follows {mark:?}",
                        self.name
                    );
                    mark = Mark::of(line);
                }
            }
        }
        assert!(
            !open && mark.is_none(),
            "{}: a block or a mark is left open",
            self.name
        );
        blocks
    }

    /// The page without its fenced blocks.
    pub fn prose(&self) -> String {
        self.text.split("```").step_by(2).collect()
    }

    /// What headings are called in links: in lower case, words joined by `-`, other signs left out.
    pub fn anchors(&self) -> Vec<String> {
        let prose = self.prose();
        let headings = prose.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let heading = line.trim_start_matches('#').trim().to_lowercase();
                let kept = heading
                    .chars()
                    .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                kept.map(|c| if c == ' ' { '-' } else { c }).collect()
            })
            .collect()
    }
}

impl Block {
    pub fn is_shell(&self) -> bool {
        ["sh", "console"].contains(&self.language.as_str())
    }

    /// Whether it may hold commands: a workflow of CI does.
    pub fn has_commands(&self) -> bool {
        self.is_shell() || self.language == "yaml"
    }

    /// The block as a shell runs it.
    pub fn script(&self) -> String {
        if self.language != "console" {
            return self.text.clone();
        }
        let mut script = String::new();
        let mut goes_on = false;
        for line in self.text.lines() {
            if let Some(command) = line.strip_prefix("$ ").or(goes_on.then_some(line)) {
                script.push_str(command);
                script.push('\n');
                goes_on = command.ends_with('\\');
            }
        }
        script
    }

    /// The arguments of each raptors-prof in the block. The container's image is called as the command is.
    pub fn commands(&self) -> Vec<Vec<String>> {
        let script = self.script().replace("\\\n", " ");
        script.lines().flat_map(invocations).collect()
    }
}

impl Mark {
    fn of(line: &str) -> Option<Mark> {
        let comment = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
        if let Some(reason) = comment.strip_prefix("not run: ") {
            Some(Mark::NotRun(reason.to_owned()))
        } else if let Some(code) = comment.strip_prefix("exits with ") {
            Some(Mark::Exits(code.parse().unwrap()))
        } else {
            comment
                .strip_prefix("file: ")
                .map(|name| Mark::File(name.to_owned()))
        }
    }
}

/// The arguments of each raptors-prof in a line of shell, up to where another command begins, also in what is quoted for another shell. What a
/// shell would put in counts as `1`.
pub fn invocations(line: &str) -> Vec<Vec<String>> {
    let words =
        shlex::split(line).unwrap_or_else(|| line.split_whitespace().map(str::to_owned).collect());
    let mut found = Vec::new();
    for (place, word) in words.iter().enumerate() {
        let named = place > 0 && ["-p", "-t"].contains(&words[place - 1].as_str());
        if is_command(word) && !named {
            let arguments: Vec<String> = words[place + 1..]
                .iter()
                .take_while(|word| !ENDS.contains(&word.as_str()))
                .map(|word| if word.contains('$') { "1" } else { word })
                .map(str::to_owned)
                .collect();
            if !arguments.is_empty() {
                found.push(arguments);
            }
        } else if word.contains("raptors-prof ") {
            found.extend(invocations(word));
        }
    }
    found
}

fn is_command(word: &str) -> bool {
    word == "raptors-bench" || word == "raptors-prof" || word.ends_with("/raptors-prof")
}
