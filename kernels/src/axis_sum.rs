//! Sum and mean along one axis.
//!
//! In: a view and an axis. Out: a view with one axis less, written. Where the elements of a sum lie closer to each other than the
//! sums do, each is added up by itself like a whole array (`Rows`); otherwise many sums advance side by side, `ROWS` rows a pass
//! (`Columns`). Either way the association depends on the length of the axis only.
//!
//! # Error bound
//!
//! `Rows`: that of [`crate::sum()`]. `Columns`: each pass adds `ROWS` = 4 rows by a tree (2 additions) to a running sum, which takes 16
//! passes, or at most 15 and 2 shorter ones for what is left; leaves of 64 rows are joined by a tree: at most
//! 2 + 17 + ceil(log2(n/64)) = 20 + ceil(log2(n/128)) additions a chain. NumPy's pairwise sum has up to 25 + ceil(log2(n/128)); along
//! the first axis of an array in C order NumPy adds row after row, n - 1.

use crate::axes::{Axes, Axis, arrange, left_part, offsets};
use crate::lanes::{Lanes, MAX_LANES, Number};
use crate::split::Split;
use crate::sum::{Source, block, row, sum_tree};
use crate::{Element, Error, Pool, View, ViewMut, memory};
use std::ops::Range;

/// Rows that are added in one pass. With eight, whose distance is often a power of two, they crowd one set of the L1 cache.
const ROWS: usize = 4;
/// Rows of a leaf of the tree.
const LEAF: usize = 64;
/// The most columns that are worked on at once: their sums stay in the L1 cache.
const WIDTH: usize = 256 * MAX_LANES;
/// The same for columns that have to be gathered first.
const GATHERED: usize = 8 * MAX_LANES;

/// The sums along `axis`, written to `out`, whose shape is that of `a` without the axis. 0 where the axis is empty.
///
/// # Errors
/// [`Error::Axis`], [`Error::Output`], [`Error::Threads`].
pub fn sum_axis<T: Element>(
    a: &View<T>,
    axis: usize,
    out: &mut ViewMut<T::Sum>,
    pool: &Pool,
) -> Result<(), Error> {
    reduce(a, axis, out, pool, |sum| sum)
}

/// The means along `axis`, written to `out`, whose shape is that of `a` without the axis. NaN where the axis is empty.
///
/// # Errors
/// [`Error::Axis`], [`Error::Output`], [`Error::Threads`].
pub fn mean_axis<T: Element>(
    a: &View<T>,
    axis: usize,
    out: &mut ViewMut<T::Mean>,
    pool: &Pool,
) -> Result<(), Error> {
    let count = a.shape().get(axis).copied().unwrap_or(0);
    reduce(a, axis, out, pool, |sum| T::mean(sum, count))
}

fn reduce<T: Element, O: Number>(
    a: &View<T>,
    axis: usize,
    out: &mut ViewMut<O>,
    pool: &Pool,
    finish: impl Fn(T::Sum) -> O + Copy + Send + Sync,
) -> Result<(), Error> {
    let ndim = a.shape().len();
    if axis >= ndim {
        return Err(Error::Axis { axis, ndim });
    }
    let result: Vec<usize> = (0..ndim)
        .filter(|&i| i != axis)
        .map(|i| a.shape()[i])
        .collect();
    if out.shape() != result {
        return Err(Error::Output {
            out: out.shape().to_vec(),
            result,
        });
    }
    if out.is_empty() {
        return Ok(());
    }
    let kept = (0..ndim).filter(|&i| i != axis).zip(out.strides());
    let mut kept: Axes<2> = kept
        .map(|(i, &to)| Axis {
            len: a.shape()[i],
            strides: [a.strides()[i], to],
        })
        .collect();
    let [from, to] = arrange(&mut kept, 0);
    // SAFETY: an element of the view, or no step at all where there is none.
    let first = unsafe { a.ptr().offset(if a.is_empty() { 0 } else { from }) };
    let reduction = Reduction {
        from: first,
        // SAFETY: another element of the view.
        to: unsafe { out.ptr().offset(to) },
        kept: &kept,
        count: a.shape()[axis],
        step: a.strides()[axis],
        finish,
    };
    // SAFETY: `kept` and the axis reach exactly the elements of the two views, whose shapes were compared.
    pool.run(a.len() * size_of::<T>(), |split| unsafe {
        reduction.run(split)
    })
}

/// A reduction in the order in which it is done.
struct Reduction<'a, T, O, F> {
    from: *const T,
    to: *mut O,
    kept: &'a [Axis<2>],
    count: usize,
    step: isize,
    finish: F,
}

// SAFETY: the pointers are used like the views that they come from: `from` is read, and each element of `to` is written once.
unsafe impl<T: Sync, O: Send, F: Sync> Sync for Reduction<'_, T, O, F> {}
// SAFETY: as above.
unsafe impl<T: Sync, O: Send, F: Send> Send for Reduction<'_, T, O, F> {}

impl<T: Element, O: Number, F: Fn(T::Sum) -> O + Copy + Send + Sync> Reduction<'_, T, O, F> {
    unsafe fn run(&self, split: Split<'_>) {
        let outputs = self.kept.iter().map(|axis| axis.len).product();
        match self.kept.split_last() {
            Some((inner, outer))
                if inner.strides[0].unsigned_abs() < self.step.unsigned_abs() && self.count > 1 =>
            {
                let chunk = if inner.strides[0] == 1 {
                    WIDTH / (size_of::<T::Sum>() / 4)
                } else {
                    GATHERED
                };
                let columns = Columns {
                    all: self,
                    outer,
                    inner: *inner,
                    chunk,
                };
                let pieces = outputs / inner.len * inner.len.div_ceil(chunk);
                let elements = chunk.min(inner.len).saturating_mul(self.count);
                let cuts = self.count.div_ceil(LEAF);
                // SAFETY: all pieces of this reduction.
                each(pieces, elements, cuts, split, |pieces, split| unsafe {
                    pieces.for_each(|piece| columns.piece(piece, split));
                });
            }
            _ => {
                let cuts = self.count.div_ceil(block::<T>());
                // SAFETY: all outputs of this reduction.
                each(outputs, self.count, cuts, split, |outputs, split| unsafe {
                    self.sum_rows(outputs, split);
                });
            }
        }
    }

    /// Some outputs, each by itself.
    #[inline(never)]
    unsafe fn sum_rows(&self, outputs: Range<usize>, split: Split<'_>) {
        let axes = row(self.count, self.step);
        for output in outputs {
            let [from, to] = offsets(self.kept, output);
            // SAFETY: `output` is one of the outputs; its sum has `count` elements, `step` apart.
            unsafe {
                let sum = if self.count == 0 {
                    T::Sum::ZERO
                } else {
                    sum_tree(
                        Source {
                            ptr: self.from.offset(from),
                            axes: &axes,
                        },
                        0,
                        self.count,
                        split,
                    )
                    .total()
                };
                self.to.offset(to).write((self.finish)(sum));
            }
        }
    }
}

/// Does `count` things of `elements` elements each, which can be cut into `cuts` parts: some things a thread where there are enough of
/// them or they can't be cut as far, else one after the other, each shared among the threads.
fn each(
    count: usize,
    elements: usize,
    cuts: usize,
    split: Split<'_>,
    some: impl Fn(Range<usize>, Split<'_>) + Sync,
) {
    if count < split.pieces().min(cuts) && elements > split.piece_of(elements) {
        return some(0..count, split);
    }
    let piece = split.piece_of(count.saturating_mul(elements));
    split.tree(
        0..count,
        |part| {
            let middle = part.start + part.len() / 2;
            let large = part.len() > 1 && part.len().saturating_mul(elements) > piece;
            large.then_some([part.start..middle, middle..part.end])
        },
        |part| some(part.clone(), Split::ALONE),
        |(), ()| (),
    );
}

/// A reduction in which the columns of `inner` advance side by side, in chunks. A piece is one chunk of one element of `outer`.
struct Columns<'a, T, O, F> {
    all: &'a Reduction<'a, T, O, F>,
    outer: &'a [Axis<2>],
    inner: Axis<2>,
    chunk: usize,
}

impl<T: Element, O: Number, F: Fn(T::Sum) -> O + Copy + Send + Sync> Columns<'_, T, O, F> {
    unsafe fn piece(&self, piece: usize, split: Split<'_>) {
        let chunks = self.inner.len.div_ceil(self.chunk);
        let [from, to] = offsets(self.outer, piece / chunks);
        let column = piece % chunks * self.chunk;
        let width = self.chunk.min(self.inner.len - column);
        let [from_step, to_step] = self.inner.strides;
        // SAFETY: `column` is one of the columns of `inner`, `width` of them are left.
        unsafe {
            let rows = RowBlock {
                from: self.all.from.offset(from + column as isize * from_step),
                count: self.all.count,
                row_step: self.all.step,
                width,
                step: from_step,
            };
            let sums = rows.sums(split);
            let to = self.all.to.offset(to + column as isize * to_step);
            for (i, &sum) in sums[..width].iter().enumerate() {
                to.offset(i as isize * to_step)
                    .write((self.all.finish)(sum));
            }
        }
    }
}

/// `count` rows of `width` elements to be added to one row of sums, which is padded to whole groups of lanes.
#[derive(Clone, Copy)]
struct RowBlock<T> {
    from: *const T,
    count: usize,
    row_step: isize,
    width: usize,
    step: isize,
}

// SAFETY: it is a view to read from, like `View`.
unsafe impl<T: Sync> Sync for RowBlock<T> {}

impl<T: Element> RowBlock<T> {
    fn padded(&self) -> usize {
        self.width.next_multiple_of(T::Lanes::LEN)
    }

    fn part(&self, first: usize, count: usize) -> Self {
        // The block has row `first`; a part without rows is never made.
        Self {
            from: self.from.wrapping_offset(first as isize * self.row_step),
            count,
            ..*self
        }
    }

    /// The sums of all rows: those of the leaves of a fixed tree, shared among threads.
    unsafe fn sums(self, split: Split<'_>) -> Vec<T::Sum> {
        let piece = split.piece_of(self.count * self.width);
        split.tree(
            self,
            |part| match part.count * part.width > piece {
                true => part.halves(),
                false => None,
            },
            // SAFETY: a part of these rows, and sums for each of their columns.
            |part| unsafe {
                let mut sums = vec![T::Sum::ZERO; part.padded()];
                part.add_tree(&mut sums);
                sums
            },
            |mut a, b| {
                add_to::<T>(&mut a, &b);
                a
            },
        )
    }

    /// The two parts of the tree over these rows, if it is more than a leaf.
    fn halves(&self) -> Option<[Self; 2]> {
        (self.count > LEAF).then(|| {
            let left = left_part(self.count, LEAF);
            [self.part(0, left), self.part(left, self.count - left)]
        })
    }

    /// Adds all rows to `sums` (zeros at first, as many as a padded row has) as the leaves of a fixed tree.
    unsafe fn add_tree(&self, sums: &mut [T::Sum]) {
        // SAFETY: parts of these rows.
        unsafe {
            let Some([a, b]) = self.halves() else {
                return self.add_leaf(sums.as_mut_ptr());
            };
            let mut right = vec![T::Sum::ZERO; self.padded()];
            a.add_tree(sums);
            b.add_tree(&mut right);
            add_to::<T>(sums, &right);
        }
    }

    unsafe fn add_leaf(&self, sums: *mut T::Sum) {
        // SAFETY: the rows of this block.
        unsafe {
            match self.step {
                1 => add_rows(*self, sums),
                _ => self.add_gathered(sums),
            }
        }
    }

    /// A leaf whose columns lie apart. A function of its own, so that its buffer is not on the stack of the tree.
    #[inline(never)]
    unsafe fn add_gathered(&self, sums: *mut T::Sum) {
        // SAFETY: the rows of this block; what is gathered has unit steps and at most GATHERED columns.
        unsafe {
            let mut gathered = [T::ZERO; ROWS * GATHERED];
            for first in (0..self.count).step_by(ROWS) {
                let rows = self.part(first, ROWS.min(self.count - first));
                for (r, to) in gathered.chunks_mut(GATHERED).take(rows.count).enumerate() {
                    let from = rows.from.offset(r as isize * rows.row_step);
                    for (j, to) in to[..self.width].iter_mut().enumerate() {
                        *to = *from.offset(j as isize * self.step);
                    }
                }
                add_rows(
                    RowBlock {
                        from: gathered.as_ptr(),
                        row_step: GATHERED as isize,
                        step: 1,
                        ..rows
                    },
                    sums,
                );
            }
        }
    }
}

/// Adds `right` to `sums`, both padded.
fn add_to<T: Element>(sums: &mut [T::Sum], right: &[T::Sum]) {
    let lanes = T::Lanes::LEN;
    for (to, right) in sums.chunks_exact_mut(lanes).zip(right.chunks_exact(lanes)) {
        // SAFETY: each chunk is a group of lanes.
        unsafe {
            let sum = T::SumLanes::load(to.as_ptr()) + T::SumLanes::load(right.as_ptr());
            sum.store(to.as_mut_ptr());
        }
    }
}

/// Adds the rows of a leaf to `sums`: four a pass, then two and one.
///
/// # Safety
/// The elements of a row lie side by side, and `sums` has as many elements as a padded row.
#[inline(never)]
unsafe fn add_rows<T: Element>(rows: RowBlock<T>, sums: *mut T::Sum) {
    let mut next = 0;
    // SAFETY: every pass takes rows that are there.
    unsafe {
        while next + ROWS <= rows.count {
            pass::<T, ROWS>(rows, next, sums);
            next += ROWS;
        }
        if rows.count & 2 != 0 {
            pass::<T, 2>(rows, next, sums);
            next += 2;
        }
        if rows.count & 1 != 0 {
            pass::<T, 1>(rows, next, sums);
        }
    }
}

/// Adds `K` rows (4, 2 or 1) to `sums`, joined by a tree.
#[inline(always)]
unsafe fn pass<T: Element, const K: usize>(rows: RowBlock<T>, first: usize, sums: *mut T::Sum) {
    let lanes = T::Lanes::LEN;
    let starts = std::array::from_fn(|r| {
        rows.from
            .wrapping_offset((first + r) as isize * rows.row_step)
    });
    let whole = rows.width - rows.width % lanes;
    // SAFETY: the rows have `width` elements; `sums` is padded to whole groups of lanes.
    unsafe {
        for j in (0..whole).step_by(lanes) {
            add_group::<T, K>(starts, sums.add(j), |start| {
                memory::read_ahead(start.add(j), memory::NEAR);
                T::Lanes::load(start.add(j))
            });
        }
        if whole < rows.width {
            let left = rows.width - whole;
            add_group::<T, K>(starts, sums.add(whole), |start| {
                T::Lanes::load_first(start.add(whole), left)
            });
        }
    }
}

/// Adds a group of lanes of `K` rows to a group of `sums`.
#[inline(always)]
unsafe fn add_group<T: Element, const K: usize>(
    starts: [*const T; K],
    sums: *mut T::Sum,
    load: impl Fn(*const T) -> T::Lanes,
) {
    let row = |r: usize| T::widen(load(starts[r]));
    let pair = |r: usize| row(r) + row(r + K / 2);
    let total = match K {
        4 => pair(0) + pair(1),
        2 => pair(0),
        _ => row(0),
    };
    // SAFETY: the caller's `sums` has a group of lanes.
    unsafe { (T::SumLanes::load(sums) + total).store(sums) };
}
