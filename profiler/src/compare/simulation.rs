//! The whole procedure, with its adaptive stop, on simulated machines whose truth is known.

use std::convert::Infallible;
use std::f64::consts::PI;

use super::pairs::splitmix;
use super::{Comparison, Side, Timed, Verdict, compare, interleave, median};

const RUNS: u64 = 2000;
/// The time is up after so many windows: 3 s.
const MOST_WINDOWS: usize = 1000;
const PRECISION: f64 = 0.01;

/// What disturbs a machine. Windows last 3 ms each.
#[derive(Debug, Clone, Copy)]
enum Noise {
    /// One window in five is hit, by a Pareto tail without a finite variance.
    HeavyTails,
    /// Two states that last for tens of windows: a slow one is 1.35 times as slow, and noisier.
    Bimodal,
    /// Speed rises or falls evenly, by up to half in a long run.
    Slope,
    /// Speed wanders.
    Walk,
    /// All of these together.
    Everything,
    /// Something else runs every four windows or nearly so: it hits the same place of each block for hundreds of windows.
    Periodic,
    /// Each side wanders by itself, for tens of windows: neighbouring pairs resemble each other.
    OneSided,
    /// The two states, of which the slow one hits the candidate harder: there is not one ratio, but two.
    Lopsided,
}

/// A machine in one run.
struct Machine {
    noise: Noise,
    drawn: u64,
    windows: f64,
    /// Of what runs periodically, in windows.
    phase: f64,
    slow: bool,
    slope: f64,
    walk: f64,
    sides: [f64; 2],
}

impl Machine {
    fn new(noise: Noise, run: u64) -> Machine {
        let mut machine = Machine {
            noise,
            drawn: run << 32,
            windows: 0.0,
            phase: (splitmix(run) % 400) as f64 / 100.0,
            slow: false,
            slope: 0.0,
            walk: 0.0,
            sides: [0.0; 2],
        };
        machine.slow = machine.uniform() < 0.3;
        machine.slope = 0.0006 * (machine.uniform() - 0.3);
        machine.sides = [machine.normal(), machine.normal()];
        machine
    }

    /// Uniform in (0, 1).
    fn uniform(&mut self) -> f64 {
        self.drawn += 1;
        ((splitmix(self.drawn) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (2.0 * PI * self.uniform()).cos()
    }

    /// By how much a window of `side` is longer than it should be.
    fn disturb(&mut self, side: Side) -> f64 {
        self.windows += 1.0;
        match self.noise {
            Noise::HeavyTails => (0.01 * self.normal()).exp() * self.tail(),
            Noise::Bimodal => self.state(),
            Noise::Slope => (0.012 * self.normal() + self.slope * self.windows).exp(),
            Noise::Walk => (0.01 * self.normal()).exp() * self.walk(),
            Noise::Everything => {
                let slope = (self.slope * self.windows).exp();
                self.tail() * self.state() * self.walk() * slope
            }
            Noise::Periodic => {
                let hit = ((self.windows + self.phase) / 4.01).fract() < 0.25;
                (0.01 * self.normal()).exp() * if hit { 1.2 } else { 1.0 }
            }
            Noise::OneSided => (0.01 * self.normal()).exp() * self.wander(side),
            Noise::Lopsided => {
                let harder = self.slow && side == Side::Candidate;
                self.state() * if harder { 1.02 } else { 1.0 }
            }
        }
    }

    fn tail(&mut self) -> f64 {
        if self.uniform() < 0.2 {
            1.0 + 0.02 * self.uniform().powf(-1.0 / 1.2)
        } else {
            1.0
        }
    }

    fn state(&mut self) -> f64 {
        let leaves = if self.slow { 1.0 / 20.0 } else { 1.0 / 45.0 };
        self.slow ^= self.uniform() < leaves;
        let (level, spread) = if self.slow {
            (1.35, 0.03)
        } else {
            (1.0, 0.008)
        };
        level * (spread * self.normal()).exp()
    }

    fn walk(&mut self) -> f64 {
        self.walk += 0.004 * self.normal();
        self.walk.exp()
    }

    fn wander(&mut self, side: Side) -> f64 {
        let (kept, fresh) = (0.9, self.normal());
        let level = &mut self.sides[usize::from(side == Side::Candidate)];
        *level = kept * *level + (1.0 - kept * kept).sqrt() * fresh;
        (0.01 * *level).exp()
    }
}

/// One run in which the baseline takes `ratio` times as long.
fn run(noise: Noise, ratio: f64, run: u64) -> Comparison {
    let mut machine = Machine::new(noise, run);
    let mut windows = Vec::new();
    let mut taken = 0;
    let window = |side| {
        let ns = match side {
            Side::Baseline => 1000.0 * ratio,
            Side::Candidate => 1000.0,
        } * machine.disturb(side);
        windows.push(Timed { side, ns });
        Ok::<_, Infallible>(ns)
    };
    let time_is_up = || {
        taken += 4;
        taken >= MOST_WINDOWS
    };
    let Ok(()) = interleave(PRECISION, window, time_is_up);
    compare(&windows).unwrap()
}

/// The share of runs of a backend against itself whose interval covers `truth`. At most 1 % are called different.
fn covered(noise: Noise, truth: f64) -> f64 {
    let (mut covered, mut different) = (0, 0);
    for number in 0..RUNS {
        let comparison = run(noise, 1.0, number);
        let [lo, hi] = comparison.ci95.unwrap();
        covered += u64::from((lo..=hi).contains(&truth));
        different += u64::from(matches!(
            comparison.verdict,
            Verdict::Faster | Verdict::Slower
        ));
    }
    let covered = covered as f64 / RUNS as f64;
    println!("{noise:?}: {covered} covered, {different} of {RUNS} called different");
    assert!(different <= RUNS / 100, "{noise:?}: {different}");
    covered
}

fn covers(noise: Noise) {
    let covered = covered(noise, 1.0);
    assert!((0.93..=0.97).contains(&covered), "{noise:?}: {covered}");
}

#[test]
fn the_interval_covers_the_truth_under_heavy_tails() {
    covers(Noise::HeavyTails);
}

#[test]
fn the_interval_covers_the_truth_on_a_bimodal_machine() {
    covers(Noise::Bimodal);
}

#[test]
fn the_interval_covers_the_truth_while_the_machine_slows_down() {
    covers(Noise::Slope);
}

#[test]
fn the_interval_covers_the_truth_while_the_machine_wanders() {
    covers(Noise::Walk);
}

#[test]
fn the_interval_covers_the_truth_under_all_of_it() {
    covers(Noise::Everything);
}

#[test]
fn the_interval_covers_the_truth_under_noise_of_a_blocks_period() {
    covers(Noise::Periodic);
}

#[test]
fn the_interval_covers_the_truth_when_each_side_wanders() {
    covers(Noise::OneSided);
}

/// A run may end before it has seen enough of the state in which the ratio is another: the farther that is, the worse.
#[test]
fn the_interval_covers_a_mixed_truth_less_often() {
    let noise = Noise::Lopsided;
    let mut machine = Machine::new(noise, RUNS);
    let ratios: Vec<f64> = (0..200_000)
        .map(|_| machine.disturb(Side::Baseline) / machine.disturb(Side::Candidate))
        .collect();
    let covered = covered(noise, median(&ratios).unwrap());
    assert!((0.90..=0.97).contains(&covered), "{covered}");
}

#[test]
fn five_per_cent_are_found() {
    let noises = [
        Noise::HeavyTails,
        Noise::Bimodal,
        Noise::Slope,
        Noise::Walk,
        Noise::Periodic,
        Noise::OneSided,
    ];
    for noise in noises {
        let verdicts: Vec<Verdict> = (0..100)
            .map(|number| run(noise, 0.95, number).verdict)
            .collect();
        let count = |wanted| {
            verdicts
                .iter()
                .filter(|&&verdict| verdict == wanted)
                .count()
        };
        assert!(count(Verdict::Slower) >= 95, "{noise:?}: {verdicts:?}");
        assert_eq!(count(Verdict::Faster), 0, "{noise:?}");
    }
}
