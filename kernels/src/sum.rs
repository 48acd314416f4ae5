//! Sum and mean of all elements.
//!
//! In: a view. Out: a value. The elements are taken in memory order and cut into blocks of a fixed size. A block is added up by
//! `UNROLL` groups of lanes side by side; blocks are added as the leaves of a fixed binary tree, still as lanes; the lanes are
//! folded once, at the end. Threads take over whole subtrees, so neither their number nor the level changes a bit.
//!
//! # Error bound
//!
//! With `u` the unit roundoff, the error is at most `d·u·Σ|x|` to first order, where `d` is the longest chain of additions that
//! an element passes: `STEPS` in a block, `log2(UNROLL)` to join its groups, `ceil(log2(blocks))` in the tree, `log2(lanes)` at
//! the end. For float32 that is 16 + 2 + ceil(log2(n/1024)) + 4, about 12 + log2(n); for float64 the same. NumPy's pairwise sum
//! has blocks of 128 with 8 running sums and up to 7 elements left over: 15 + 3 + 7 + ceil(log2(n/128)) at worst.

use crate::axes::{Axes, Axis, arrange, left_part, offsets};
use crate::split::Split;
use crate::{Element, Error, Number, Pool, View, lanes::Lanes, memory};
use std::mem::MaybeUninit;

/// Groups of lanes that are added up side by side.
const UNROLL: usize = 4;
/// Additions that each of those groups takes in a block.
const STEPS: usize = 16;
/// The most elements that a block of any type has.
const MAX_BLOCK: usize = crate::lanes::MAX_LANES * UNROLL * STEPS;

/// Elements of a block of type `T`.
pub(crate) const fn block<T: Element>() -> usize {
    T::Lanes::LEN * UNROLL * STEPS
}

/// The sum of all elements, 0 if there are none.
///
/// # Errors
/// [`Error::Threads`] if the pool cannot start.
pub fn sum<T: Element>(a: &View<T>, pool: &Pool) -> Result<T::Sum, Error> {
    if a.is_empty() {
        return Ok(T::Sum::ZERO);
    }
    let mut axes = a.axes();
    let [start] = arrange(&mut axes, 0);
    // SAFETY: `arrange` moves the start to another element of the view.
    let ptr = unsafe { a.ptr().offset(start) };
    let source = Source { ptr, axes: &axes };
    pool.run(a.len() * size_of::<T>(), |split| {
        // SAFETY: `axes` reach the same elements as the view, of which there are `len`.
        unsafe { sum_tree(source, 0, a.len(), split) }.total()
    })
}

/// The mean of all elements, NaN if there are none.
///
/// # Errors
/// [`Error::Threads`] if the pool cannot start.
pub fn mean<T: Element>(a: &View<T>, pool: &Pool) -> Result<T::Mean, Error> {
    Ok(T::mean(sum(a, pool)?, a.len()))
}

/// Elements to add up, in the order of `axes`.
#[derive(Debug)]
pub(crate) struct Source<'a, T> {
    pub ptr: *const T,
    pub axes: &'a [Axis<1>],
}

impl<T> Clone for Source<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Source<'_, T> {}
// SAFETY: it is a view to read from, like `View`.
unsafe impl<T: Sync> Send for Source<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Source<'_, T> {}

impl<T: Element> Source<'_, T> {
    /// Where the `len` elements from number `start` on lie, if they lie side by side.
    unsafe fn side_by_side(self, start: usize, len: usize) -> Option<*const T> {
        let offset = match self.axes {
            [] => 0,
            [Axis { strides: [1], .. }] => start as isize,
            [
                ..,
                Axis {
                    strides: [1],
                    len: row,
                },
            ] if start % row + len <= *row => offsets(self.axes, start)[0],
            _ => return None,
        };
        // SAFETY: the caller asks for elements of the source only.
        Some(unsafe { self.ptr.offset(offset) })
    }

    /// Copies the `len` elements from number `start` on to `to`.
    unsafe fn gather(self, start: usize, len: usize, to: *mut T) {
        let Some((inner, _)) = self.axes.split_last() else {
            // SAFETY: no axis, one element.
            return unsafe { to.write(*self.ptr) };
        };
        let mut done = 0;
        while done < len {
            let [offset] = offsets(self.axes, start + done);
            let run = (len - done).min(inner.len - (start + done) % inner.len);
            for i in 0..run {
                // SAFETY: `run` stays inside the innermost axis, and inside the `len` elements of `to`.
                unsafe {
                    to.add(done + i)
                        .write(*self.ptr.offset(offset + i as isize * inner.strides[0]))
                };
            }
            done += run;
        }
    }
}

/// The tree over the blocks of the `len` elements from number `start` on (a multiple of the block size), shared among threads.
///
/// # Safety
/// `len` is not 0 and the source has these elements.
pub(crate) unsafe fn sum_tree<T: Element>(
    source: Source<T>,
    start: usize,
    len: usize,
    split: Split<'_>,
) -> T::SumLanes {
    let piece = split.piece_of(len).max(block::<T>());
    split.tree(
        (start, len),
        |&(start, len)| {
            (len > piece).then(|| {
                let left = left_part(len, block::<T>());
                [(start, left), (start + left, len - left)]
            })
        },
        // SAFETY: a part of the caller's elements.
        |&(start, len)| unsafe {
            match source.side_by_side(start, len) {
                Some(from) => sum_contiguous(from, len),
                None => sum_strided(source, start, len),
            }
        },
        |a, b| a + b,
    )
}

/// The tree over the blocks of elements that lie side by side.
///
/// # Safety
/// `from` has `len` elements.
#[inline(never)]
pub(crate) unsafe fn sum_contiguous<T: Element>(from: *const T, len: usize) -> T::SumLanes {
    // SAFETY: whole blocks, one block, or two parts.
    unsafe {
        if len == 4 * block::<T>() {
            return sum_four_blocks(from);
        }
        if len <= block::<T>() {
            return sum_block::<T, true>(from, len);
        }
        let left = left_part(len, block::<T>());
        sum_contiguous(from, left) + sum_contiguous(from.add(left), len - left)
    }
}

/// What [`sum_contiguous`] does for four whole blocks, at once.
///
/// # Safety
/// `from` has that many elements.
#[inline(always)]
unsafe fn sum_four_blocks<T: Element>(from: *const T) -> T::SumLanes {
    // SAFETY: the caller's elements.
    let [a, b, c, d] = std::array::from_fn(|i| unsafe {
        sum_block::<T, true>(from.add(i * block::<T>()), block::<T>())
    });
    (a + b) + (c + d)
}

/// The tree over the blocks of elements that lie apart: each block is first gathered.
///
/// # Safety
/// The source has these elements.
#[inline(never)]
unsafe fn sum_strided<T: Element>(source: Source<T>, start: usize, len: usize) -> T::SumLanes {
    // SAFETY: one block, which fits into the buffer, or two parts.
    unsafe {
        if len <= block::<T>() {
            let mut buffer = [const { MaybeUninit::<T>::uninit() }; MAX_BLOCK];
            source.gather(start, len, buffer.as_mut_ptr().cast());
            return sum_block::<T, false>(buffer.as_ptr().cast(), len);
        }
        let left = left_part(len, block::<T>());
        sum_strided(source, start, left) + sum_strided(source, start + left, len - left)
    }
}

/// One block: `UNROLL` groups of lanes, then their sum. `AHEAD`: more blocks follow in memory.
#[inline(always)]
unsafe fn sum_block<T: Element, const AHEAD: bool>(from: *const T, len: usize) -> T::SumLanes {
    let lanes = T::Lanes::LEN;
    let mut groups = [T::SumLanes::splat(T::Sum::ZERO); UNROLL];
    let mut done = 0;
    while done + lanes * UNROLL <= len {
        for (u, group) in groups.iter_mut().enumerate() {
            if AHEAD {
                memory::read_ahead(from.wrapping_add(done + u * lanes), memory::NEAR);
            }
            // SAFETY: the loop's condition.
            *group = *group + T::widen(unsafe { T::Lanes::load(from.add(done + u * lanes)) });
        }
        done += lanes * UNROLL;
    }
    for group in &mut groups {
        let count = (len - done).min(lanes);
        if count == 0 {
            break;
        }
        // SAFETY: `count` elements are left.
        *group = *group + T::widen(unsafe { T::Lanes::load_first(from.add(done), count) });
        done += count;
    }
    (groups[0] + groups[1]) + (groups[2] + groups[3])
}

/// The axes of a single row.
pub(crate) fn row(len: usize, stride: isize) -> Axes<1> {
    smallvec::smallvec![Axis {
        len,
        strides: [stride]
    }]
}
