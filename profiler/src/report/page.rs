//! The page around the views: templates with their style and script.

use std::path::Path;

use askama::Template;

use super::ReportError;
use super::run::RunView;
use super::suite::SuiteView;
use crate::suite::Suite;
use crate::summary::Summary;

/// How every report begins: what tells it from other HTML files.
pub(super) const START: &str = "<!DOCTYPE html>\n<!-- raptors-prof report -->\n";

/// What every page has.
struct Head<'a> {
    title: String,
    nonce: &'a str,
    style: &'static str,
    script: &'static str,
}

impl Head<'_> {
    fn new(title: String, nonce: &str) -> Head<'_> {
        Head {
            title,
            nonce,
            style: include_str!("../../templates/report.css"),
            script: include_str!("../../templates/report.js"),
        }
    }
}

#[derive(Template)]
#[template(path = "report_run.html")]
struct RunPage<'a> {
    head: Head<'a>,
    run: RunView,
}

#[derive(Template)]
#[template(path = "report_suite.html")]
struct SuitePage<'a> {
    head: Head<'a>,
    suite: SuiteView,
}

/// The page of a run; `messages` get what it lacks.
pub(super) fn of_run(
    summary: &Summary,
    directory: &Path,
    nonce: &str,
    messages: &mut Vec<String>,
) -> Result<String, ReportError> {
    let run = RunView::new(summary, directory, nonce)?;
    messages.extend_from_slice(&run.lacks);
    let head = Head::new(run.title.clone(), nonce);
    Ok(RunPage { head, run }.render()?)
}

/// The page of a suite; `messages` get what it lacks.
pub(super) fn of_suite(
    suite: &Suite,
    directory: &Path,
    nonce: &str,
    messages: &mut Vec<String>,
) -> Result<String, ReportError> {
    let suite = SuiteView::new(suite, directory, nonce)?;
    for run in suite.runs.iter().filter_map(|cell| cell.run.as_ref()) {
        messages.extend_from_slice(&run.lacks);
    }
    let head = Head::new(suite.title.clone(), nonce);
    Ok(SuitePage { head, suite }.render()?)
}
