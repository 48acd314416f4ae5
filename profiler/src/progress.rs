//! What a person who waits sees: one line on stderr, where that is a terminal.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

const STEPS: u64 = 1000;

/// The progress of one step at a time.
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows progress, or nothing where `quiet` or where stderr is no terminal.
    pub fn new(quiet: bool) -> Progress {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        Progress::of(ProgressBar::with_draw_target(Some(STEPS), target))
    }

    /// One line of several.
    pub fn below(others: &MultiProgress) -> Progress {
        Progress::of(others.add(ProgressBar::new(STEPS)))
    }

    fn of(bar: ProgressBar) -> Progress {
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {prefix}{msg:28} [{bar:30}] {elapsed}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }

    /// The steps to come are those of `name`.
    pub fn name(&self, name: &str) {
        self.0.set_prefix(format!("{name}: "));
    }

    /// A new step begins.
    pub fn step(&self, message: impl Into<String>) {
        self.0.set_message(message.into());
        self.0.set_position(0);
    }

    /// How much of the step is done: 0 to 1.
    pub fn fraction(&self, done: f64) {
        self.0
            .set_position((done.clamp(0.0, 1.0) * STEPS as f64) as u64);
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
