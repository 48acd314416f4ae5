//! Flame graphs and differential flame graphs as SVG, drawn by inferno.
//!
//! In: profiles. Out: one self-contained SVG file each. Colours tell Python, native, kernel and worker frames apart.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use inferno::differential;
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

/// Writes what `after` has more (red) and less (blue) of than `before`, both scaled to the same number of
/// samples; widths are those of `after`.
///
/// # Errors
/// As [`write`], when either profile is empty or the file can't be written.
pub fn write_diff(
    before: &Profile,
    after: &Profile,
    title: &str,
    path: &Path,
) -> Result<(), WriteError> {
    let (before, after) = (
        without_lines(&before.folded()),
        without_lines(&after.folded()),
    );
    if before.is_empty() || after.is_empty() {
        return Err(WriteError::Empty(path.to_owned()));
    }
    let mut folded = Vec::new();
    let scaled = differential::Options {
        normalize: true,
        strip_hex: false,
    };
    differential::from_readers(scaled, before.as_bytes(), after.as_bytes(), &mut folded).map_err(
        |source| WriteError::Io {
            path: path.to_owned(),
            source,
        },
    )?;
    let mut options = options(title);
    options.subtitle =
        Some("width: share of the second · red: more than in the first · blue: less".to_owned());
    draw(&mut options, &String::from_utf8_lossy(&folded), path)
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
    fn the_two_sides_of_a_difference_meet_in_the_same_function() {
        let folded = "<module> (w.py:9);op (w.py:12);f:g [lib.so] 3\nf (x.pyx:1) 1\n";
        assert_eq!(
            without_lines(folded),
            "<module> (w.py);op (w.py);f:g [lib.so] 3\nf (x.pyx:1) 1\n"
        );
    }
}
