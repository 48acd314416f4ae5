//! Two operands and an output whose shapes are broadcast together, walked plane by plane.
//!
//! In: two views that broadcast to the output's shape. Out: the output, written. The axes are put into the output's memory order
//! and walked two at a time, as planes; a kernel does one plane. It wants elements side by side (or one element repeated); what
//! lies apart is gathered in small blocks first and scattered afterwards. The output may be the very memory of an input, element
//! for element; an output that overlaps an input in any other way receives unspecified values.

use crate::axes::{Axes, Axis, arrange, offsets};
use crate::elementwise::{
    Kernel, Plane, add_one, add_pairs, add_row, multiply_one, multiply_pairs, scale_by,
};
use crate::split::Split;
use crate::view::Shape;
use crate::{Element, Error, Pool, View, ViewMut, memory, threshold};
use std::mem::MaybeUninit;

/// Elements of a block that is gathered or scattered.
const GATHERED: usize = 256;
/// Pieces for different threads differ by whole multiples of this many elements: no cache line is shared.
const SEAM: usize = 64;
/// Elements of the shortest row that is worth streaming: of a shorter one too much lies in lines that are not written whole.
const STREAMED_ROW: usize = 1024;
/// Bytes from which it is worth asking how large the last-level cache is: most are larger.
const STREAM_FROM: usize = 4 << 20;

/// The shape that two shapes broadcast to.
///
/// # Errors
/// [`Error::Broadcast`].
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Shape, Error> {
    if a == b {
        return Ok(Shape::from_slice(a));
    }
    let ndim = a.len().max(b.len());
    let len = |shape: &[usize], axis: usize| {
        (axis + shape.len())
            .checked_sub(ndim)
            .map_or(1, |own: usize| shape[own])
    };
    (0..ndim)
        .map(|axis| match (len(a, axis), len(b, axis)) {
            (m, n) if m == n || n == 1 => Ok(m),
            (1, n) => Ok(n),
            _ => Err(Error::Broadcast(a.to_vec(), b.to_vec())),
        })
        .collect()
}

/// Whether an array of shape `row` is a row of one of shape `array`: one axis, the array's last.
///
/// # Errors
/// [`Error::Row`] if not.
pub fn is_row(array: &[usize], row: &[usize]) -> Result<(), Error> {
    if row.len() == 1 && array.last() == row.first() {
        return Ok(());
    }
    Err(Error::Row {
        array: array.to_vec(),
        row: row.to_vec(),
    })
}

/// `out = a + b`, broadcast.
///
/// # Errors
/// [`Error::Broadcast`], [`Error::Output`], [`Error::Threads`].
pub fn add<T: Element>(
    a: &View<T>,
    b: &View<T>,
    out: &mut ViewMut<T>,
    pool: &Pool,
) -> Result<(), Error> {
    zip(
        a,
        b,
        out,
        Kernels {
            pairs: add_pairs,
            one: add_one,
        },
        pool,
    )
}

/// `out = a * b`, broadcast.
///
/// # Errors
/// [`Error::Broadcast`], [`Error::Output`], [`Error::Threads`].
pub fn multiply<T: Element>(
    a: &View<T>,
    b: &View<T>,
    out: &mut ViewMut<T>,
    pool: &Pool,
) -> Result<(), Error> {
    zip(
        a,
        b,
        out,
        Kernels {
            pairs: multiply_pairs,
            one: multiply_one,
        },
        pool,
    )
}

/// `out = a + row`, where `row` has one axis: the last of `a`.
///
/// # Errors
/// [`Error::Row`], [`Error::Output`], [`Error::Threads`].
pub fn broadcast_add<T: Element>(
    a: &View<T>,
    row: &View<T>,
    out: &mut ViewMut<T>,
    pool: &Pool,
) -> Result<(), Error> {
    is_row(a.shape(), row.shape())?;
    zip(
        a,
        row,
        out,
        Kernels {
            pairs: add_row,
            one: add_one,
        },
        pool,
    )
}

/// `out = a * factor`.
///
/// # Errors
/// [`Error::Output`], [`Error::Threads`].
pub fn scale<T: Element>(
    a: &View<T>,
    factor: T,
    out: &mut ViewMut<T>,
    pool: &Pool,
) -> Result<(), Error> {
    let factor = [factor];
    zip(
        a,
        &View::contiguous(&factor, &[])?,
        out,
        Kernels {
            pairs: multiply_pairs,
            one: scale_by,
        },
        pool,
    )
}

/// What to do with a plane: `pairs` if b has an element for each of a, `one` if b has one for a whole row.
struct Kernels<T> {
    pairs: Kernel<T>,
    one: Kernel<T>,
}

fn zip<T: Element>(
    a: &View<T>,
    b: &View<T>,
    out: &mut ViewMut<T>,
    kernels: Kernels<T>,
    pool: &Pool,
) -> Result<(), Error> {
    if let Some(plane) = short_row(a, b, out) {
        // SAFETY: a row of the three views.
        unsafe { (kernels.pairs)(plane) };
        return Ok(());
    }
    let shape = broadcast(a.shape(), b.shape())?;
    if out.shape() != shape.as_slice() {
        return Err(Error::Output {
            out: out.shape().to_vec(),
            result: shape.to_vec(),
        });
    }
    if out.is_empty() {
        return Ok(());
    }
    let ndim = shape.len();
    let strides = |i: usize| {
        [
            a.broadcast_stride(i, ndim),
            b.broadcast_stride(i, ndim),
            out.strides()[i],
        ]
    };
    let mut axes: Axes<3> = (0..ndim)
        .map(|i| Axis {
            len: shape[i],
            strides: strides(i),
        })
        .collect();
    let start = arrange(&mut axes, 2);
    let bytes = [a.len(), b.len(), out.len()].iter().sum::<usize>() * size_of::<T>();
    let walk = Walk {
        a: a.ptr(),
        b: b.ptr(),
        out: out.ptr(),
        axes,
        kernels: &kernels,
        streamed: memory::STREAMS
            && bytes >= STREAM_FROM
            && memory::last_level_cache().is_some_and(|cache| bytes >= cache)
            && ![a.ptr(), b.ptr()].contains(&out.ptr().cast_const()),
    }
    .moved(start);
    // SAFETY: the axes reach elements of the three views only.
    pool.run(bytes, |split| unsafe { walk.run(split) })
}

/// The only row of all three operands, if there is nothing to arrange and too little to share: then the overhead counts.
fn short_row<T: Element>(a: &View<T>, b: &View<T>, out: &ViewMut<T>) -> Option<Plane<T>> {
    let columns = a.row_len()?;
    let small = columns * 3 * size_of::<T>() < threshold::LEAST;
    let alike = b.row_len() == Some(columns) && out.row_len() == Some(columns);
    (small && alike).then(|| Plane {
        a: a.ptr(),
        b: b.ptr(),
        out: out.ptr(),
        rows: 1,
        row_steps: [0; 3],
        columns,
        streamed: false,
    })
}

/// Three operands in the order in which they are walked.
struct Walk<'a, T> {
    a: *const T,
    b: *const T,
    out: *mut T,
    axes: Axes<3>,
    kernels: &'a Kernels<T>,
    /// Whether rows that are long enough go around the caches.
    streamed: bool,
}

// SAFETY: the pointers are used like the views that they come from; different walks write different elements.
unsafe impl<T: Send + Sync> Sync for Walk<'_, T> {}

impl<T: Element> Walk<'_, T> {
    /// The same walk from another element on.
    fn moved(self, [a, b, out]: [isize; 3]) -> Self {
        Self {
            a: self.a.wrapping_offset(a),
            b: self.b.wrapping_offset(b),
            out: self.out.wrapping_offset(out),
            ..self
        }
    }

    /// Walks everything, shared among threads.
    unsafe fn run(self, split: Split<'_>) {
        let piece = split.piece_of(self.len());
        split.tree(
            self,
            |part| (part.len() > piece).then(|| part.halves()),
            // SAFETY: a part of the caller's operands.
            |part| unsafe { part.walk() },
            |(), ()| (),
        );
    }

    fn len(&self) -> usize {
        self.axes.iter().map(|axis| axis.len).product()
    }

    /// Two walks that together are this one: the outermost axis cut in half.
    fn halves(&self) -> [Self; 2] {
        let axes = self.axes.iter().copied().skip_while(|axis| axis.len == 1);
        let axes: Axes<3> = axes.collect();
        let Axis { len, strides } = axes[0];
        let middle = if axes.len() == 1 {
            (len / 2).next_multiple_of(SEAM)
        } else {
            len / 2
        };
        let part = |len| {
            let mut axes = axes.clone();
            axes[0].len = len;
            Walk { axes, ..*self }
        };
        let right = strides.map(|stride| stride * middle as isize);
        [part(middle), part(len - middle).moved(right)]
    }

    /// Walks everything on this thread, plane by plane.
    unsafe fn walk(&self) {
        let single = Axis {
            len: 1,
            strides: [0; 3],
        };
        let (outer, rows, columns) = match self.axes.as_slice() {
            [] => (&[][..], single, single),
            [columns] => (&[][..], single, *columns),
            [outer @ .., rows, columns] => (outer, *rows, *columns),
        };
        for index in 0..outer.iter().map(|axis| axis.len).product() {
            let [a, b, out] = offsets(outer, index);
            // SAFETY: the operands have this plane.
            unsafe {
                let p = Plane {
                    a: self.a.offset(a),
                    b: self.b.offset(b),
                    out: self.out.offset(out),
                    rows: rows.len,
                    row_steps: rows.strides,
                    columns: columns.len,
                    streamed: self.streamed && columns.len >= STREAMED_ROW,
                };
                match (columns.len, columns.strides) {
                    (1, _) | (_, [1, 1, 1]) => (self.kernels.pairs)(p),
                    (_, [1, 0, 1]) => (self.kernels.one)(p),
                    // Both operations commute.
                    (_, [0, 1, 1]) => {
                        let row_steps = [p.row_steps[1], p.row_steps[0], p.row_steps[2]];
                        (self.kernels.one)(Plane {
                            a: p.b,
                            b: p.a,
                            row_steps,
                            ..p
                        });
                    }
                    (_, steps) => self.gathered(p, steps),
                }
            }
        }
    }

    /// A plane whose columns lie apart: block by block of columns, so that the memory around a column is used again for the
    /// column's neighbours while it is in the cache.
    #[inline(never)]
    unsafe fn gathered(&self, p: Plane<T>, steps: [isize; 3]) {
        let mut buffers = [[const { MaybeUninit::<T>::uninit() }; GATHERED]; 3];
        let [buffer_a, buffer_b, buffer_out] = buffers
            .each_mut()
            .map(|buffer| buffer.as_mut_ptr().cast::<T>());
        for column in (0..p.columns).step_by(GATHERED) {
            let columns = GATHERED.min(p.columns - column);
            for row in 0..p.rows as isize {
                // SAFETY: the plane has this row and these columns, of which there are no more than a buffer holds.
                unsafe {
                    let start = |k: usize| row * p.row_steps[k] + column as isize * steps[k];
                    let a = side_by_side(p.a.offset(start(0)), steps[0], columns, buffer_a);
                    let b = side_by_side(p.b.offset(start(1)), steps[1], columns, buffer_b);
                    let to = p.out.offset(start(2));
                    let out = if steps[2] == 1 { to } else { buffer_out };
                    (self.kernels.pairs)(Plane {
                        a,
                        b,
                        out,
                        rows: 1,
                        row_steps: [0; 3],
                        columns,
                        streamed: false,
                    });
                    if steps[2] != 1 {
                        for i in 0..columns {
                            *to.offset(i as isize * steps[2]) = *out.add(i);
                        }
                    }
                }
            }
        }
    }
}

/// Where `len` elements `step` apart can be read side by side: where they are, or copied to `buffer`.
///
/// # Safety
/// `from` has these elements, `buffer` has room for them.
#[inline(always)]
unsafe fn side_by_side<T: Copy>(
    from: *const T,
    step: isize,
    len: usize,
    buffer: *mut T,
) -> *const T {
    if step == 1 {
        return from;
    }
    for i in 0..len {
        // SAFETY: the caller's promise.
        unsafe { buffer.add(i).write(*from.offset(i as isize * step)) };
    }
    buffer
}
