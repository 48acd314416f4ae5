//! Whether a profile is taken, which may depend on what timing says.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::compare::Verdict;

/// Of which cells a profile is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profiling {
    /// Where the verdict is `slower`
    Laggards,
    /// Of each
    All,
    /// Of none
    None,
}

impl Profiling {
    /// Whether one is taken where timing gave this `verdict` (None: there is nothing to compare).
    pub fn wants(self, verdict: Option<Verdict>) -> bool {
        match self {
            Profiling::Laggards => verdict == Some(Verdict::Slower),
            Profiling::All => true,
            Profiling::None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laggards_are_what_is_slower() {
        let wants = |verdict| Profiling::Laggards.wants(verdict);
        assert!(wants(Some(Verdict::Slower)));
        assert!(!wants(Some(Verdict::Inconclusive)) && !wants(Some(Verdict::Same)) && !wants(None));
        assert!(Profiling::All.wants(None) && !Profiling::None.wants(Some(Verdict::Slower)));
    }
}
