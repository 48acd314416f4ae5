//! Whether a program's stacks are so deep that samples should have more of them.
//!
//! In: of each sample, whether its stack was cut where the copy ends. Out: whether there are so many of them that copies should be
//! longer, from then on to the end of the recording.

/// Of so many samples in succession, a fifth of a second's at the usual rate, it is counted how many were cut.
const AMONG: u32 = 200;
/// More are too many: 3 %. Fewer are start-up (imports nest deeply for a moment), or not worth the cost for all.
const FEW: u32 = 6;

/// The samples that were cut.
#[derive(Default)]
pub struct Depth {
    samples: u32,
    cut: u32,
    great: bool,
}

impl Depth {
    /// Takes note of a sample.
    pub fn note(&mut self, cut: bool) {
        self.samples += 1;
        self.cut += u32::from(cut);
        self.great |= self.cut > FEW;
        if self.samples == AMONG {
            (self.samples, self.cut) = (0, 0);
        }
    }

    /// Whether stacks are deeper than their copies too often.
    pub fn is_great(&self) -> bool {
        self.great
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether stacks are deep once so many of each `AMONG` samples were cut.
    fn is_great(cut: u32) -> bool {
        let mut depth = Depth::default();
        for sample in 0..3 * AMONG {
            depth.note(sample % AMONG < cut);
        }
        depth.is_great()
    }

    #[test]
    fn more_than_a_few_cut_stacks_are_too_many() {
        assert!(!is_great(0));
        assert!(!is_great(FEW));
        assert!(is_great(FEW + 1));
    }

    #[test]
    fn what_was_found_holds() {
        let mut depth = Depth::default();
        for _ in 0..=FEW {
            depth.note(true);
        }
        for _ in 0..3 * AMONG {
            depth.note(false);
        }
        assert!(depth.is_great());
    }
}
