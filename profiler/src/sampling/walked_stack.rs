//! Walks the stack of a sample; what its copy lacks is read from memory a little later.
//!
//! In: the registers and the stack copy of a sample. Out: the native stack, the evaluator's calls on it, and the bytes that they
//! lie in. The copy holds the upper end of the stack, where all changes quickly, as it was at the sample. What is below belongs to functions that
//! run for longer: it is taken from memory if the end of the copy is still the same there and the walk then leads to the
//! thread's first function.

use super::request::STACK_BYTES;
use crate::native::unwind::{NativeStack, Registers, StackWalker, Walk};
use crate::python::{EvaluatorCall, Memory};

/// So much of a stack below its copy is read, at most.
const LATE_BYTES: usize = 256 * 1024;
/// The end of a copy must be so many bytes the same in memory.
const SAME_BYTES: usize = 1024;

/// A stack that was walked.
pub struct WalkedStack {
    /// Addresses, from leaf to root.
    pub native: NativeStack,
    /// The evaluator's calls, from root to leaf.
    pub calls: Vec<EvaluatorCall>,
    /// The bytes from the stack pointer on.
    pub bytes: Vec<u8>,
    /// Whether the walk ended for want of what is just below the copy, where a longer copy may have it.
    pub cut: bool,
}

impl WalkedStack {
    /// Of a thread with these registers, whose stack begins with the bytes of `copy`. There are none where the kernel found the page of the stack not mapped
    /// at that instant, as that of a thread that has not touched its stack for a while may be.
    pub fn new(walker: &mut StackWalker, registers: Registers, copy: Vec<u8>) -> WalkedStack {
        let walk = walker.walk(registers, &copy);
        let readable = 0..(copy.len() + LATE_BYTES) as u64;
        let short = walk.lacks.is_some_and(|at| readable.contains(&at));
        if short && let Some(bytes) = with_late_bytes(Memory::of(walker.pid()), registers.sp, &copy)
        {
            let longer = walker.walk(registers, &bytes);
            if longer.native.complete {
                return WalkedStack::of(longer, bytes, false);
            }
        }
        let cut = short && copy.len() >= STACK_BYTES as usize;
        WalkedStack::of(walk, copy, cut)
    }

    fn of(walk: Walk, bytes: Vec<u8>, cut: bool) -> WalkedStack {
        WalkedStack {
            native: walk.native,
            calls: walk.calls,
            bytes,
            cut,
        }
    }
}

/// The copy of a stack that begins at `sp`, with what is below it now; `None` where its end is not the same any more.
fn with_late_bytes(memory: Memory, sp: u64, copy: &[u8]) -> Option<Vec<u8>> {
    let known = copy.len().saturating_sub(SAME_BYTES);
    let (above, end) = copy.split_at(known);
    let late = memory.some(sp.checked_add(known as u64)?, SAME_BYTES + LATE_BYTES);
    let goes_on = late.len() > end.len() && late.starts_with(end);
    goes_on.then(|| [above, &late].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not on this thread's stack, so that it stays as it is.
    fn memory_like_a_stack() -> Vec<u8> {
        (0..20_000_u32).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn a_copy_goes_on_in_memory_where_its_end_is_the_same() {
        let stack = memory_like_a_stack();
        let memory = Memory::of(std::process::id());
        let with_late = |copy: &[u8]| with_late_bytes(memory, stack.as_ptr() as u64, copy);
        for length in [0, 8, SAME_BYTES, 16 * 1024] {
            let longer = with_late(&stack[..length]).unwrap();
            assert!(longer.starts_with(&stack), "{length}");
        }
        let mut other = stack[..16 * 1024].to_vec();
        other[16 * 1024 - SAME_BYTES] ^= 1;
        assert_eq!(with_late(&other), None);
        // What changed above is no matter: the copy has it.
        other.copy_from_slice(&stack[..16 * 1024]);
        other[0] ^= 1;
        assert_eq!(with_late(&other).unwrap()[0], other[0]);
    }

    #[test]
    fn memory_that_is_not_there_adds_nothing() {
        let memory = Memory::of(std::process::id());
        assert_eq!(with_late_bytes(memory, 8, &[1; 64]), None);
        assert_eq!(with_late_bytes(memory, u64::MAX - 8, &[]), None);
    }
}
