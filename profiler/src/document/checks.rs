//! Which values can be, and which summaries can.

use std::fmt::Display;

use super::{Document, Flaw};
use crate::compare::Comparison;
use crate::summary::{SCHEMA, Summary, Timing};

impl Document for Summary {
    const SCHEMA: &'static str = SCHEMA;

    fn check(&self) -> Result<(), Flaw> {
        for (name, backend) in &self.backends {
            if let Some(timing) = &backend.timing {
                of_timing(timing).map_err(|flaw| flaw.within(format!("backends.{name}.timing")))?;
            }
        }
        match &self.comparison {
            Some(comparison) => of_comparison(comparison).map_err(|flaw| flaw.within("comparison")),
            None => Ok(()),
        }
    }
}

fn of_timing(timing: &Timing) -> Result<(), Flaw> {
    for (at, &sample) in timing.samples_ns.iter().enumerate() {
        positive(format!("samples_ns[{at}]"), sample)?;
    }
    positive("median_ns", timing.median_ns)?;
    positive("min_ns", timing.min_ns)?;
    interval("ci95_ns", timing.ci95_ns)
}

fn of_comparison(comparison: &Comparison) -> Result<(), Flaw> {
    positive("ratio", comparison.ratio)?;
    positive("blocked_ratio", comparison.blocked_ratio)?;
    positive("margin", comparison.margin)?;
    interval("ci95", comparison.ci95)
}

/// Refuses a time or ratio that is not above zero, or not a number.
///
/// # Errors
/// [`Flaw`] in `field`.
pub fn positive(field: impl Display, value: f64) -> Result<(), Flaw> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    let reason = format!("{value} is no time or ratio: it has to be above 0");
    Err(Flaw::new(field.to_string(), reason))
}

/// Refuses an interval whose ends are not above zero, or are the wrong way round.
///
/// # Errors
/// [`Flaw`] in `field`.
pub fn interval(field: impl Display, ends: Option<[f64; 2]>) -> Result<(), Flaw> {
    let Some([lo, hi]) = ends else { return Ok(()) };
    positive(format!("{field}[0]"), lo)?;
    positive(format!("{field}[1]"), hi)?;
    if lo <= hi {
        return Ok(());
    }
    let reason = format!("{lo} to {hi} is no interval: it has to begin below its end");
    Err(Flaw::new(field.to_string(), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_go_upwards() {
        assert_eq!(interval("ci95", None), Ok(()));
        assert_eq!(interval("ci95", Some([1.0, 1.0])), Ok(()));
        let flaw = interval("ci95", Some([2.0, 1.0])).unwrap_err();
        assert_eq!(flaw.within("comparison").field, "comparison.ci95");
        assert_eq!(
            interval("ci95", Some([0.0, 1.0])).unwrap_err().field,
            "ci95[0]"
        );
        assert!(interval("ci95", Some([f64::NAN, 1.0])).is_err());
    }
}
