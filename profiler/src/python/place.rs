//! What a sample itself says of the evaluator: where its calls lie on the native stack and what stands there.
//!
//! Time changes the interpreter's memory between a sample and a look at it; the stack copy in the sample stays. The compiler gave
//! the evaluator one native frame of fixed size, so that what is found in it once lies at the same distance from its end
//! ever after. Pure: in go native frames, the bytes of the copy and what the memory says, out come addresses.

/// A call of the evaluator on a native stack: its frame reaches from `sp` to `cfa` (the caller's stack pointer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluatorCall {
    /// Lowest address.
    pub sp: u64,
    /// One past the highest.
    pub cfa: u64,
    /// Its registers: rbx, rbp, r12 to r15; while it runs itself, the other general ones too.
    pub registers: [u64; 15],
    /// Whether it runs itself, and no function that it called.
    pub runs: bool,
}

/// What a sample says.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The evaluator's calls, from root to leaf.
    pub calls: &'a [EvaluatorCall],
    /// Address of the first byte of the copy: the stack pointer.
    pub start: u64,
    /// The bytes from there on.
    pub bytes: &'a [u8],
}

impl Evidence<'_> {
    /// The word at `address`, if it was copied.
    pub fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(8)?)?;
        bytes.try_into().ok().map(u64::from_ne_bytes)
    }

    /// What a variable of call number `index` may be kept in, the likeliest first: its registers, its frame.
    pub fn words_of_call(&self, index: usize) -> Vec<u64> {
        let Some(call) = self.calls.get(index) else {
            return Vec::new();
        };
        let own = (call.sp..call.cfa.saturating_sub(CALLERS_BYTES)).step_by(8);
        let own = own.filter_map(|address| self.word(address));
        call.registers.iter().copied().chain(own).collect()
    }
}

/// The end of a frame holds the return address and six registers that are its caller's.
const CALLERS_BYTES: u64 = 56;

/// A distance below the end of the evaluator's frame at which it keeps something.
#[derive(Debug, Default)]
pub struct Place {
    distance: Option<u64>,
}

impl Place {
    /// The address of the place in `call`, once it is known.
    pub fn of(&self, call: EvaluatorCall) -> Option<u64> {
        self.distance
            .and_then(|distance| call.cfa.checked_sub(distance))
    }

    /// The thing was seen at `address`: if that is in one of these calls, one sight is enough.
    pub fn sight(&mut self, calls: &[EvaluatorCall], address: u64) {
        let call = calls
            .iter()
            .find(|call| (call.sp..call.cfa).contains(&address));
        if let Some(call) = call {
            self.distance = Some(call.cfa - address);
        }
    }
}

/// Where, of the words of a call, the evaluator keeps its pointer to the next instruction: the compiler's choice, told by which word
/// always points into code, while what others do so now and then is left over from before.
#[derive(Debug, Default)]
pub struct Pointer {
    calls: u32,
    hits: Vec<u32>,
    best: Option<usize>,
}

impl Pointer {
    /// Whether enough calls were looked at.
    pub fn is_settled(&self) -> bool {
        self.calls >= PLENTY
    }

    /// Whether each word of a call pointed there.
    pub fn score(&mut self, hits: impl Iterator<Item = bool>) {
        self.calls += 1;
        for (index, hit) in hits.enumerate() {
            if self.hits.len() <= index {
                self.hits.push(0);
            }
            self.hits[index] += u32::from(hit);
        }
        // Of equals the first.
        let best = (0..self.hits.len())
            .rev()
            .max_by_key(|&index| self.hits[index]);
        self.best = best.filter(|&index| self.hits[index] >= ENOUGH);
    }

    /// The word that is the pointer; `None` while that is not known.
    pub fn known_of(&self, words: &[u64]) -> Option<u64> {
        words.get(self.best?).copied()
    }

    /// The word that is the pointer, or those that may be it while that is not known.
    pub fn of<'a>(&self, words: &'a [u64]) -> &'a [u64] {
        match self.best {
            Some(best) => words.get(best..=best).unwrap_or_default(),
            None => words,
        }
    }
}

/// So many calls tell.
const PLENTY: u32 = 1000;
/// So many hits are no chance.
const ENOUGH: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_always_hits_is_the_pointer() {
        let mut pointer = Pointer::default();
        for round in 0..20 {
            let expected: &[u64] = if round < ENOUGH { &[1, 2, 3, 4] } else { &[3] };
            assert_eq!(pointer.of(&[1, 2, 3, 4]), expected);
            pointer.score([false, round % 2 == 0, true, true].into_iter());
        }
        assert_eq!(pointer.of(&[1]), [0; 0]);
    }

    const CALLS: [EvaluatorCall; 2] = [
        EvaluatorCall {
            sp: 1120,
            cfa: 1200,
            registers: [1; 15],
            runs: false,
        },
        EvaluatorCall {
            sp: 1024,
            cfa: 1096,
            registers: [7; 15],
            runs: true,
        },
    ];

    #[test]
    fn the_words_of_a_call_are_its_registers_and_its_frame() {
        let bytes: Vec<u8> = (0..18_u64).flat_map(u64::to_ne_bytes).collect();
        let evidence = Evidence {
            calls: &CALLS,
            start: 1008,
            bytes: &bytes,
        };
        assert_eq!(evidence.words_of_call(1)[14..], [7, 2, 3]);
        assert_eq!(evidence.words_of_call(0)[13..], [1, 1, 14, 15, 16]);
        assert_eq!(evidence.words_of_call(2), [0_u64; 0]);
        assert_eq!(evidence.word(1148), None);
    }

    #[test]
    fn a_place_is_known_after_one_sight_within_a_call() {
        let mut place = Place::default();
        place.sight(&CALLS, 1100);
        assert_eq!(place.of(CALLS[0]), None);
        place.sight(&CALLS, 1032);
        assert_eq!(place.of(CALLS[0]), Some(1136));
    }
}
