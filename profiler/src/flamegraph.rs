//! Flame graphs and differential flame graphs as SVG, drawn by inferno.
//!
//! In: profiles. Out: one self-contained SVG file each. Colours tell Python, native, kernel and worker frames apart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use inferno::flamegraph::color::{Color, PaletteMap};
use inferno::flamegraph::{self, Options};

use crate::profile::{FrameKind, Profile, folded_name};

/// Why a flame graph was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is nothing to draw.
    #[error("no samples to draw in {}: let it run longer (--max-time) or sample faster (--rate)", .0.display())]
    Empty(PathBuf),
    /// The file could not be written.
    #[error("can't write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes the flame graph of `profile` to `path`.
///
/// # Errors
/// [`WriteError::Empty`] without samples, [`WriteError::Io`] when the file can't be written.
pub fn write(profile: &Profile, title: &str, path: &Path) -> Result<(), WriteError> {
    let folded = profile.folded();
    let mut palette = palette(profile);
    let mut options = options(title);
    options.count_name = profile.sampling.counted();
    options.subtitle = Some(format!(
        "{} · yellow: Python · orange: native · red: kernel · green: worker thread",
        profile.sampling.told()
    ));
    options.palette_map = Some(&mut palette);
    draw(&mut options, &folded, path)
}

/// Writes the stacks of both profiles in one graph, of which each has half: red functions are those of `after`, blue ones those of
/// `before`, the paler the more they have in common. Either profile comes with its name, in folded stacks.
///
/// # Errors
/// As [`write`], when either profile is empty or the file can't be written.
pub fn write_diff(
    before: (&str, &str),
    after: (&str, &str),
    title: &str,
    path: &Path,
) -> Result<(), WriteError> {
    let folded = [before.1, after.1].map(without_lines);
    if folded.iter().any(String::is_empty) {
        return Err(WriteError::Empty(path.to_owned()));
    }
    let stacks = side_by_side(&folded);
    let lines = stacks.iter();
    let both: String = lines
        .map(|(stack, [before, after])| format!("{stack} {}\n", before + after))
        .collect();
    let mut palette = palette_of_difference(&stacks);
    let mut options = options(title);
    options.count_name = format!("of {}", 2 * HALF);
    options.subtitle = Some(format!(
        "width: mean share of both · red: larger share of {} · blue: larger share of {} · white: the same",
        after.0, before.0
    ));
    options.palette_map = Some(&mut palette);
    draw(&mut options, &both, path)
}

/// What each of two profiles is scaled to, so that shares are compared.
const HALF: u64 = 50_000;

/// Samples before and after, by stack or by function.
type Sides<'a> = BTreeMap<&'a str, [u64; 2]>;

/// The stacks of two folded profiles.
fn side_by_side(folded: &[String; 2]) -> Sides<'_> {
    let mut stacks = Sides::new();
    for (side, folded) in folded.iter().enumerate() {
        let lines = folded.lines().filter_map(|line| line.rsplit_once(' '));
        let lines = lines.filter_map(|(stack, samples)| Some((stack, samples.parse().ok()?)));
        let lines: Vec<(&str, u64)> = lines.collect();
        let all: u64 = lines.iter().map(|(_, samples)| samples).sum();
        for (stack, samples) in lines {
            stacks.entry(stack).or_default()[side] += samples * HALF / all.max(1);
        }
    }
    stacks
}

/// A colour for each function by its time on both sides, with what it calls.
fn palette_of_difference(stacks: &Sides<'_>) -> PaletteMap {
    let mut functions = Sides::new();
    for (stack, samples) in stacks {
        for function in stack.split(';').collect::<BTreeSet<_>>() {
            let sides = functions.entry(function).or_default();
            for (sum, samples) in sides.iter_mut().zip(samples) {
                *sum += samples;
            }
        }
    }
    let mut palette = PaletteMap::default();
    let (r, g, b) = (250, 250, 250);
    palette.insert(String::new(), Color { r, g, b }); // inferno's own frame "all"
    for (function, [before, after]) in functions {
        // As much of the other two colours as both sides have in common; black text stays readable.
        let common = 2 * before.min(after) * 120 / (before + after).max(1);
        let pale = 130 + common as u8;
        let (r, b) = if after >= before {
            (255, pale)
        } else {
            (pale, 255)
        };
        palette.insert(function.to_owned(), Color { r, g: pale, b });
    }
    palette
}

/// Folded stacks in which `name (file.py:12)` is `name (file.py)`: the two sides stand in different lines.
fn without_lines(folded: &str) -> String {
    let without_line = |frame: &str| match frame.rsplit_once(".py:") {
        Some((name, line))
            if line
                .trim_end_matches(')')
                .bytes()
                .all(|byte| byte.is_ascii_digit()) =>
        {
            format!("{name}.py)")
        }
        _ => frame.to_owned(),
    };
    let line = |line: &str| {
        let (stack, samples) = line.rsplit_once(' ').unwrap_or((line, "0"));
        let stack: Vec<String> = stack.split(';').map(without_line).collect();
        format!("{} {samples}\n", stack.join(";"))
    };
    folded.lines().map(line).collect()
}

fn options(title: &str) -> Options<'static> {
    let mut options = Options::default();
    options.title = title.to_owned();
    options.count_name = "samples".to_owned();
    options.deterministic = true;
    options
}

fn draw(options: &mut Options<'_>, folded: &str, path: &Path) -> Result<(), WriteError> {
    if folded.is_empty() {
        return Err(WriteError::Empty(path.to_owned()));
    }
    let mut svg = Vec::new();
    flamegraph::from_lines(options, folded.lines(), &mut svg)
        .and_then(|()| std::fs::File::create(path)?.write_all(&svg))
        .map_err(|source| WriteError::Io {
            path: path.to_owned(),
            source,
        })
}

/// A colour for each frame: a hue by kind, a shade by name, so that neighbours differ and runs look alike.
fn palette(profile: &Profile) -> PaletteMap {
    let mut palette = PaletteMap::default();
    for frame in profile.stacks.frames() {
        let shade = frame.name.bytes().fold(7u32, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        }) % 40;
        palette.insert(folded_name(&frame.name), color(frame.kind, shade as u8));
    }
    palette
}

fn color(kind: FrameKind, shade: u8) -> Color {
    let (r, g, b) = match kind {
        FrameKind::Python => (235, 195 + shade, 70 + shade),
        FrameKind::Native => (240, 130 + shade, 50 + shade),
        FrameKind::Kernel => (225, 75 + shade, 75 + shade),
        FrameKind::Worker => (110 + shade, 200, 110 + shade),
        FrameKind::Marker => (170 + shade, 170 + shade, 170 + shade),
    };
    Color { r, g, b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_what_either_side_has() {
        let folded = ["a;b 30\na;c 10\n", "a;b 1\na;d 1\n"].map(str::to_owned);
        let stacks = side_by_side(&folded);
        let expected = [
            ("a;b", [37_500, 25_000]),
            ("a;c", [12_500, 0]),
            ("a;d", [0, 25_000]),
        ];
        assert_eq!(stacks, Sides::from(expected));
        let palette = palette_of_difference(&stacks);
        let color = |function: &str| {
            let (_, Color { r, g, b }) = palette.iter().find(|(name, _)| *name == function)?;
            Some((r, g, b))
        };
        assert_eq!(color("a"), Some((255, 250, 250)));
        assert_eq!(color("b"), Some((226, 226, 255)));
        assert_eq!(color("c"), Some((130, 130, 255)));
        assert_eq!(color("d"), Some((255, 130, 130)));
    }

    #[test]
    fn the_two_sides_of_a_difference_meet_in_the_same_function() {
        let folded = "<module> (w.py:9);op (w.py:12);f:g [lib.so] 3\nf (x.pyx:1) 1\n";
        assert_eq!(
            without_lines(folded),
            "<module> (w.py);op (w.py);f:g [lib.so] 3\nf (x.pyx:1) 1\n"
        );
    }
}
