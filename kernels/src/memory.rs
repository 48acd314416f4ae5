//! Hints about memory: what will be read soon, and what will not be read again soon.
//!
//! In: addresses. Out: nothing that a result depends on. x86-64 only, and not at the level `off`; elsewhere the hints do nothing.
//! What they are worth, and where the distances come from, is in docs/kernels.md.

use crate::lanes::Lanes;

/// How far ahead a kernel reads that leaves its result in the cache, in bytes.
pub(crate) const NEAR: usize = 1 << 10;
/// How far ahead a kernel reads that streams its result to memory, in bytes.
pub(crate) const FAR: usize = 8 << 10;
/// What a streamed group of lanes is aligned to: a cache line, which it fills.
pub(crate) const LINE: usize = 64;

/// Whether [`stream`] goes around the caches in this build.
pub(crate) const STREAMS: bool = cfg!(all(not(feature = "scalar"), target_arch = "x86_64"));

/// Asks for the memory `ahead` bytes after `from`, which need not exist.
#[inline(always)]
pub(crate) fn read_ahead<T>(from: *const T, ahead: usize) {
    #[cfg(all(not(feature = "scalar"), target_arch = "x86_64"))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address is allowed: it reads nothing that the program sees and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_byte_add(ahead).cast()) };
    }
    #[cfg(not(all(not(feature = "scalar"), target_arch = "x86_64")))]
    let _ = (from, ahead);
}

/// Writes a group of lanes around the caches, where the build can; else as [`Lanes::store`] does.
///
/// # Safety
/// `to` is aligned to [`LINE`] and valid for writing the group. Other threads may see it after [`fence`] only.
#[inline(always)]
pub(crate) unsafe fn stream<L: Lanes>(lanes: L, to: *mut L::Elem) {
    const { assert!(size_of::<L>() == LINE) };
    // SAFETY: the caller's promise; the group is LINE bytes of plain data.
    unsafe { go_around(lanes, to) }
}

#[cfg(all(
    not(feature = "scalar"),
    target_arch = "x86_64",
    target_feature = "avx512f"
))]
#[inline(always)]
unsafe fn go_around<L: Lanes>(lanes: L, to: *mut L::Elem) {
    use std::arch::x86_64::{__m512i, _mm512_stream_si512};
    // SAFETY: as `stream` says.
    unsafe { _mm512_stream_si512(to.cast(), std::mem::transmute_copy::<L, __m512i>(&lanes)) };
}

#[cfg(all(
    not(feature = "scalar"),
    target_arch = "x86_64",
    target_feature = "avx2",
    not(target_feature = "avx512f")
))]
#[inline(always)]
unsafe fn go_around<L: Lanes>(lanes: L, to: *mut L::Elem) {
    use std::arch::x86_64::{__m256i, _mm256_stream_si256};
    // SAFETY: as `stream` says.
    unsafe {
        let parts = std::mem::transmute_copy::<L, [__m256i; 2]>(&lanes);
        for (i, part) in parts.into_iter().enumerate() {
            _mm256_stream_si256(to.cast::<__m256i>().add(i), part);
        }
    }
}

#[cfg(all(
    not(feature = "scalar"),
    target_arch = "x86_64",
    not(target_feature = "avx2")
))]
#[inline(always)]
unsafe fn go_around<L: Lanes>(lanes: L, to: *mut L::Elem) {
    use std::arch::x86_64::{__m128i, _mm_stream_si128};
    // SAFETY: as `stream` says.
    unsafe {
        let parts = std::mem::transmute_copy::<L, [__m128i; 4]>(&lanes);
        for (i, part) in parts.into_iter().enumerate() {
            _mm_stream_si128(to.cast::<__m128i>().add(i), part);
        }
    }
}

#[cfg(not(all(not(feature = "scalar"), target_arch = "x86_64")))]
#[inline(always)]
unsafe fn go_around<L: Lanes>(lanes: L, to: *mut L::Elem) {
    // SAFETY: as `stream` says.
    unsafe { lanes.store(to) };
}

/// Makes what was streamed visible to other threads before anything that is written later.
#[inline(always)]
pub(crate) fn fence() {
    #[cfg(all(not(feature = "scalar"), target_arch = "x86_64"))]
    // SAFETY: every x86-64 processor has the instruction, and it changes nothing but the order of stores.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// The size of the last-level cache in bytes, as the system tells it; `None` where it does not.
pub(crate) fn last_level_cache() -> Option<usize> {
    static SIZE: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();
    *SIZE.get_or_init(|| {
        (2..=4)
            .filter_map(|index| {
                let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
                bytes(&std::fs::read_to_string(path).ok()?)
            })
            .max()
    })
}

/// A size as the kernel writes it: `32768K`.
fn bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let (digits, unit) = match text.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix('M') {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::{F32, F64, I32, Number};

    #[test]
    fn sizes_are_read_as_the_kernel_writes_them() {
        assert_eq!(bytes("32768K\n"), Some(32 << 20));
        assert_eq!(bytes("1M"), Some(1 << 20));
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(bytes("many"), None);
        assert_eq!(bytes("99999999999999999999K"), None);
    }

    fn arrives<L: Lanes>(values: impl Fn(usize) -> L::Elem) {
        #[repr(align(64))]
        struct Line<T>([T; 16]);
        let source: Vec<L::Elem> = (0..L::LEN).map(values).collect();
        let mut line = Line([L::Elem::ZERO; 16]);
        // SAFETY: `source` has LEN elements, `line` is aligned and has as many or more.
        unsafe { stream(L::load(source.as_ptr()), line.0.as_mut_ptr()) };
        fence();
        assert_eq!(line.0[..L::LEN], source[..]);
    }

    #[test]
    fn what_is_streamed_arrives() {
        arrives::<F32>(|i| i as f32);
        arrives::<F64>(|i| i as f64);
        arrives::<I32>(|i| i as i32);
    }
}
