//! How much a sample counts.

use serde::{Deserialize, Serialize};

/// What a profile counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Samples.
    #[default]
    Samples,
    /// The sampled event.
    Events,
    /// Time.
    Microseconds,
}

impl Unit {
    /// How much a sample counts that stands for so many events; those of clocks are nanoseconds.
    pub fn weight(self, events: u64) -> u64 {
        match self {
            Unit::Samples => 1,
            Unit::Events => events,
            // What was there at all is not nothing.
            Unit::Microseconds => (events.saturating_add(500) / 1000).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_and_never_nothing() {
        let of = |unit: Unit| [1, 1499, 1_003_009].map(|events| unit.weight(events));
        assert_eq!(of(Unit::Microseconds), [1, 1, 1003]);
        assert_eq!(of(Unit::Events), [1, 1499, 1_003_009]);
        assert_eq!(of(Unit::Samples), [1, 1, 1]);
    }
}
