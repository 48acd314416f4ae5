//! What a person who waits for a suite sees on stderr: the cells done and the time left, and a line a cell.

use std::cell::Cell;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::Progress;

/// The progress of a suite, over that of its cell.
pub struct SuiteProgress {
    all: MultiProgress,
    cells: ProgressBar,
    step: Progress,
    quiet: bool,
    start: Instant,
    /// Cells that were done before this session, and those that this session has done.
    before: Cell<u64>,
    done: Cell<u64>,
    longest: Cell<Duration>,
}

impl SuiteProgress {
    /// Shows the progress over so many `cells`; nothing where `quiet`, and a line a cell alone where stderr is no terminal.
    pub fn new(cells: usize, quiet: bool) -> SuiteProgress {
        let target = match quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let all = MultiProgress::with_draw_target(target);
        let bar = all.add(ProgressBar::new(cells as u64));
        if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {pos}/{len} cells, {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        let step = Progress::below(&all);
        SuiteProgress {
            all,
            cells: bar,
            step,
            quiet,
            start: Instant::now(),
            before: Cell::new(0),
            done: Cell::new(0),
            longest: Cell::new(Duration::ZERO),
        }
    }

    /// So many cells are `done` already, and each other takes `longest` at most, start-up aside.
    pub fn begin(&self, done: usize, longest: Duration) {
        self.before.set(done as u64);
        self.longest.set(longest);
        self.tell_time_left();
    }

    /// A cell begins.
    pub fn cell(&self, name: &str) {
        self.step.name(name);
    }

    /// A cell is done; `line` says what came of it.
    pub fn done(&self, line: &str) {
        self.done.set(self.done.get() + 1);
        self.tell_time_left();
        if !self.quiet {
            let (at, of) = (self.cells.position(), self.cells.length().unwrap_or(0));
            // There is no one to tell that stderr can't be written to.
            self.all.suspend(|| {
                let _ = writeln!(io::stderr(), "[{at}/{of}] {line}");
            });
        }
    }

    /// The progress within the cell.
    pub fn step(&self) -> &Progress {
        &self.step
    }

    /// Takes the lines away.
    pub fn finish(&self) {
        self.step.finish();
        self.cells.finish_and_clear();
    }

    fn tell_time_left(&self) {
        let (before, done) = (self.before.get(), self.done.get());
        self.cells.set_position(before + done);
        let to_come = self
            .cells
            .length()
            .unwrap_or(0)
            .saturating_sub(before + done);
        let left = time_left(self.start.elapsed(), done, to_come, self.longest.get());
        self.cells.set_message(left);
    }
}

/// By the mean time of the cells that this session has `done`; before the first, by the longest that one may take.
fn time_left(spent: Duration, done: u64, to_come: u64, longest: Duration) -> String {
    let (word, each) = match done {
        0 => ("at most", longest.as_secs_f64()),
        done => ("about", spent.as_secs_f64() / done as f64),
    };
    let seconds = each * to_come as f64;
    match seconds {
        seconds if seconds < 99.5 => format!("{word} {seconds:.0} s left"),
        seconds => format!("{word} {:.0} min left", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_goes_by_what_cells_took() {
        let s = Duration::from_secs;
        assert_eq!(time_left(s(0), 0, 36, s(30)), "at most 18 min left");
        assert_eq!(time_left(s(40), 4, 6, s(30)), "about 60 s left");
        assert_eq!(time_left(s(40), 4, 0, s(30)), "about 0 s left");
    }
}
