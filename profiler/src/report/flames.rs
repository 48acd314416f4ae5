//! Flame graphs as documents of their own within the page: interactive as they are in their files, and apart from the page and from
//! each other.
//!
//! In: an SVG that inferno drew. Out: a document for a frame's `srcdoc`. The frame has an origin of its own (`sandbox`), and the
//! page's content security policy holds in it too: of all scripts, inferno's and ours alone have the nonce. The frame has no address
//! in which inferno could keep what was searched, and may not ask with a dialog: a field above the graph stands in for it.

use std::io;
use std::path::Path;

/// A larger file is no flame graph that a browser shows.
const MOST_BYTES: u64 = 64 << 20;
/// Height of the field above the graph, in pixels.
const FIELD: u32 = 40;
/// A taller graph is scrolled: so much fits on a printed page.
const TALLEST: u32 = 860;
/// How inferno's script begins.
const SCRIPT: &str = "<script type=\"text/ecmascript\">";
/// Inferno's script is started by ours: the policy forbids scripts in attributes.
const ONLOAD: &str = " onload=\"init(evt)\"";

const STYLE: &str = include_str!("../../templates/flame.css");
const START: &str = include_str!("../../templates/flame.js");

/// A flame graph.
pub(super) struct Flame {
    pub(super) title: String,
    /// In pixels.
    pub(super) height: u32,
    /// The document, escaped for an attribute in double quotes.
    pub(super) srcdoc: String,
}

/// Reads the flame graph at `path`.
///
/// # Errors
/// When it can't be read or is no SVG.
pub(super) fn read(path: &Path, title: String, nonce: &str) -> io::Result<Flame> {
    let metadata = path.metadata()?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return Err(io::Error::other("it is no flame graph"));
    }
    let svg = std::fs::read_to_string(path)?;
    let (height, document) =
        document(&svg, nonce).ok_or_else(|| io::Error::other("it is no flame graph"))?;
    Ok(Flame {
        title,
        height: height.saturating_add(FIELD).min(TALLEST),
        srcdoc: escaped(&document),
    })
}

/// The graph's height, and the document around it.
fn document(svg: &str, nonce: &str) -> Option<(u32, String)> {
    let svg = &svg[svg.find("<svg")?..];
    let (tag, content) = svg.split_at(svg.find('>')?);
    let height = tag.split(" height=\"").nth(1)?.split('"').next()?;
    let tag = tag.replacen(ONLOAD, "", 1);
    let ours = format!("<script nonce=\"{nonce}\">");
    let content = content.replacen(SCRIPT, &ours, 1);
    let document = format!(
        "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <style>{STYLE}</style>\n\
         <input type=\"search\" aria-label=\"Search\" placeholder=\"Search functions (regular expression)\">\n\
         {tag}{content}\n{ours}{START}</script>\n"
    );
    Some((height.parse().ok()?, document))
}

/// For an attribute in double quotes.
fn escaped(document: &str) -> String {
    document.replace('&', "&amp;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flamegraph;
    use crate::profile::{Frame, FrameKind, Profile, Samples, Sampling, StackTree};

    /// What inferno draws of functions with these names.
    fn drawn(names: &[&str]) -> String {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x.svg");
        let stack: Vec<Frame> = names
            .iter()
            .map(|name| Frame::new(FrameKind::Native, *name))
            .collect();
        let mut stacks = StackTree::default();
        stacks.add(&stack, 9);
        let profile = Profile {
            stacks,
            samples: Samples::default(),
            sampling: Sampling {
                event: "cpu-clock".to_owned(),
                rate_hz: Some(997),
                period: None,
                unit: Default::default(),
                total: 9,
                samples: 9,
                in_op: 9,
                lost: 0,
                merged: 9,
                merged_ratio: 1.0,
                unwound_ratio: 1.0,
                joined_workers: 0,
                kernel_frames: true,
                kernel_reason: None,
                python_failed_ratio: 0.0,
            },
        };
        flamegraph::write(&profile, "a title", &path).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn inferno_draws_what_is_looked_for() {
        let svg = drawn(&["main"]);
        assert!(
            svg.contains(SCRIPT) && svg.contains(ONLOAD),
            "another inferno: {svg}"
        );
        let (height, document) = document(&svg, "0123").unwrap();
        assert!(height > 50);
        assert!(!document.contains("onload"));
        assert_eq!(document.matches("<script nonce=\"0123\">").count(), 2);
        assert_eq!(document.matches("<script").count(), 2);
    }

    #[test]
    fn names_get_no_script_and_no_nonce() {
        let hostile = format!("<script>alert(1)</script> {SCRIPT} ]]> \" onload=\"init(evt)");
        let (_, document) = document(&drawn(&[&hostile, "</svg><script>"]), "0123").unwrap();
        assert_eq!(document.matches("<script").count(), 2, "{document}");
        assert!(document.contains("&lt;script&gt;alert(1)"));
    }

    #[test]
    fn an_attribute_is_not_left() {
        let text = escaped("<a b=\"c\">&quot; 'd'</a>");
        assert_eq!(text, "<a b=&quot;c&quot;>&amp;quot; 'd'</a>");
    }

    #[test]
    fn what_is_no_svg_is_refused() {
        for text in ["", "<html>", "<svg", "<svg>", "<svg height=\"x\">"] {
            assert!(document(text, "0").is_none(), "{text}");
        }
        let home = tempfile::tempdir().unwrap();
        assert!(read(home.path(), String::new(), "0").is_err());
        assert!(read(Path::new("/dev/zero"), String::new(), "0").is_err());
    }
}
