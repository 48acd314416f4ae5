//! Finds for which thread a worker thread works, by the mark that it keeps on its stack meanwhile.
//!
//! Any library may leave such a mark, and a sampler needs nothing but the stack copy to read it: the 16 bytes
//! [`MAGIC`], then the kernel's id of the thread that called, as a native-endian u64, aligned to 8 bytes. The
//! innermost mark counts. `raptors` leaves one (`kernels/src/announce.rs`).

/// What a mark begins with.
const MAGIC: &[u8; 16] = b"raptors:workfor:";

/// The thread for which the owner of this stack works; `stack` begins at the stack pointer.
pub fn works_for(stack: &[u8]) -> Option<u32> {
    let mut words = stack.chunks_exact(8);
    while let Some(word) = words.next() {
        if word != &MAGIC[..8] {
            continue;
        }
        let mut rest = words.clone();
        if rest.next() == Some(&MAGIC[8..]) {
            let thread = u64::from_ne_bytes(rest.next()?.try_into().ok()?);
            return u32::try_from(thread).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn the_innermost_mark_counts() {
        let (inner, outer) = (7_u64.to_ne_bytes(), 9_u64.to_ne_bytes());
        let bytes = stack(&[&[0; 24], MAGIC, &inner, &[1; 8], MAGIC, &outer]);
        assert_eq!(works_for(&bytes), Some(7));
    }

    #[test]
    fn what_only_looks_like_a_mark_is_none() {
        assert_eq!(works_for(b""), None);
        assert_eq!(works_for(&stack(&[&[0; 8], MAGIC])), None);
        assert_eq!(works_for(&stack(&[&[0; 4], MAGIC, &[7; 12]])), None);
        assert_eq!(works_for(&stack(&[&MAGIC[..8], &[0; 16]])), None);
        assert_eq!(works_for(&stack(&[MAGIC, &u64::MAX.to_ne_bytes()])), None);
    }

    #[test]
    fn half_a_mark_does_not_hide_a_whole_one() {
        let bytes = stack(&[&MAGIC[..8], MAGIC, &5_u64.to_ne_bytes()]);
        assert_eq!(works_for(&bytes), Some(5));
    }
}
