//! The kernels that add and multiply: one plane of three operands at a time.
//!
//! In: a plane, its columns side by side. Out: the plane of the output, written. The output may be an input, element for element. It
//! stays in the cache, or goes around it ([`memory::stream`]) where the caller says so.

use crate::lanes::Lanes;
use crate::{Element, memory};

/// Groups of lanes in one turn of a kernel's loop.
const UNROLL: usize = 4;

/// Two axes of three operands: a, b, out. The elements of a row are side by side, or (b in a kernel `one`) one and the same.
pub(crate) struct Plane<T> {
    pub a: *const T,
    pub b: *const T,
    pub out: *mut T,
    pub rows: usize,
    pub row_steps: [isize; 3],
    pub columns: usize,
    /// Whether the output goes around the caches.
    pub streamed: bool,
}

impl<T> Plane<T> {
    /// The same plane where b is known to have one row, which goes with every row of a.
    #[inline(always)]
    fn of_one_row(self) -> Self {
        let [a, _, out] = self.row_steps;
        Self {
            row_steps: [a, 0, out],
            ..self
        }
    }
}

/// Does a plane.
///
/// # Safety
/// The three operands have the plane's rows and columns.
pub(crate) type Kernel<T> = unsafe fn(Plane<T>);

/// The body of every kernel. `ONE`: b is one element a row; `ALONE`: a is the only operand that comes from far away.
#[inline(always)]
unsafe fn plane<T: Element, const ONE: bool, const ALONE: bool>(
    p: Plane<T>,
    op: impl Fn(T::Lanes, T::Lanes) -> T::Lanes,
) {
    for number in 0..p.rows as isize {
        // SAFETY: the plane has this row.
        unsafe {
            let row = Row {
                a: p.a.offset(number * p.row_steps[0]),
                b: p.b.offset(number * p.row_steps[1]),
                out: p.out.offset(number * p.row_steps[2]),
                len: p.columns,
            };
            if p.streamed {
                row.stream::<ONE, ALONE>(&op);
            } else {
                row.keep::<ONE, ALONE>(&op);
            }
        }
    }
    if p.streamed {
        memory::fence();
    }
}

/// A row of a plane.
struct Row<T> {
    a: *const T,
    b: *const T,
    out: *mut T,
    len: usize,
}

impl<T: Element> Row<T> {
    /// Does the row; the result stays in the cache.
    #[inline(always)]
    unsafe fn keep<const ONE: bool, const ALONE: bool>(
        self,
        op: &impl Fn(T::Lanes, T::Lanes) -> T::Lanes,
    ) {
        let lanes = T::Lanes::LEN;
        let mut j = 0;
        // SAFETY: the loops stay inside the row, and each group is read before it is written.
        unsafe {
            while j + UNROLL * lanes <= self.len {
                for j in (j..j + UNROLL * lanes).step_by(lanes) {
                    if ALONE {
                        memory::read_ahead(self.a.add(j), memory::NEAR);
                    }
                    self.group::<ONE>(op, j).store(self.out.add(j));
                }
                j += UNROLL * lanes;
            }
            while j + lanes <= self.len {
                self.group::<ONE>(op, j).store(self.out.add(j));
                j += lanes;
            }
            self.some::<ONE>(op, j, self.len - j);
        }
    }

    /// Does the row; the result goes around the caches, in whole lines.
    #[inline(always)]
    unsafe fn stream<const ONE: bool, const ALONE: bool>(
        self,
        op: &impl Fn(T::Lanes, T::Lanes) -> T::Lanes,
    ) {
        let lanes = T::Lanes::LEN;
        // SAFETY: as in `keep`; from the first line on, every group begins a line.
        unsafe {
            let mut j = self.out.align_offset(memory::LINE).min(self.len);
            self.some::<ONE>(op, 0, j);
            while j + lanes <= self.len {
                memory::read_ahead(self.a.add(j), memory::FAR);
                if !ALONE {
                    memory::read_ahead(self.b.add(j), memory::FAR);
                }
                memory::stream(self.group::<ONE>(op, j), self.out.add(j));
                j += lanes;
            }
            self.some::<ONE>(op, j, self.len - j);
        }
    }

    /// The result for the group of lanes that begins at element `j`.
    #[inline(always)]
    unsafe fn group<const ONE: bool>(
        &self,
        op: &impl Fn(T::Lanes, T::Lanes) -> T::Lanes,
        j: usize,
    ) -> T::Lanes {
        // SAFETY: the caller's row has this group.
        unsafe {
            let b = if ONE {
                T::Lanes::splat(*self.b)
            } else {
                T::Lanes::load(self.b.add(j))
            };
            op(T::Lanes::load(self.a.add(j)), b)
        }
    }

    /// Does the `count` elements, less than a group, from element `j` on.
    #[inline(always)]
    unsafe fn some<const ONE: bool>(
        &self,
        op: &impl Fn(T::Lanes, T::Lanes) -> T::Lanes,
        j: usize,
        count: usize,
    ) {
        if count == 0 {
            return;
        }
        // SAFETY: the caller's row has these elements.
        unsafe {
            let b = if ONE {
                T::Lanes::splat(*self.b)
            } else {
                T::Lanes::load_first(self.b.add(j), count)
            };
            op(T::Lanes::load_first(self.a.add(j), count), b).store_first(self.out.add(j), count);
        }
    }
}

macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident($p:ident) = $plane:expr, $one:literal, $alone:literal, $op:tt;)*) => {$(
        $(#[$doc])*
        #[inline(never)]
        pub(crate) unsafe fn $name<T: Element>($p: Plane<T>) {
            // SAFETY: the caller's plane.
            unsafe { plane::<T, $one, $alone>($plane, |a, b| a $op b) }
        }
    )*};
}

// Functions of their own, not inlined and no two of them the same code, so that a profile names them.
kernels! {
    /// Adds element to element.
    add_pairs(p) = p, false, false, +;
    /// Adds one row to every row.
    add_row(p) = p.of_one_row(), false, true, +;
    /// Adds to each row an element of its own.
    add_one(p) = p, true, true, +;
    /// Multiplies element by element.
    multiply_pairs(p) = p, false, false, *;
    /// Multiplies each row by an element of its own.
    multiply_one(p) = p, true, true, *;
    /// Multiplies everything by one factor.
    scale_by(p) = p.of_one_row(), true, true, *;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same plane kept in the cache and streamed: outputs at every distance from a line, rows of every remainder.
    fn streams_the_same<T: Element>(values: impl Fn(usize) -> T) {
        const ROW: usize = 70;
        let source: Vec<T> = (0..3 * ROW).map(values).collect();
        for kernel in [add_pairs::<T>, add_row, add_one, multiply_pairs, scale_by] as [Kernel<T>; 5]
        {
            let skips = if cfg!(miri) { 2 } else { 20 };
            for (skip, columns) in
                (0..skips).flat_map(|skip| [1, 15, 16, 33, 50].map(|n| (skip, n)))
            {
                let [kept, streamed] = [false, true].map(|streamed| {
                    let mut out = vec![T::ZERO; 2 * ROW + skip];
                    let plane = Plane {
                        a: source.as_ptr(),
                        b: source[ROW - 7..].as_ptr(),
                        out: out[skip..].as_mut_ptr(),
                        rows: 2,
                        row_steps: [ROW as isize; 3],
                        columns,
                        streamed,
                    };
                    // SAFETY: both rows of all three operands are inside their vectors.
                    unsafe { kernel(plane) };
                    out
                });
                assert!(kept == streamed, "{skip} {columns}");
            }
        }
    }

    #[test]
    fn streaming_changes_no_element() {
        streams_the_same::<f32>(|i| i as f32 + 0.5);
        streams_the_same::<f64>(|i| i as f64 + 0.5);
        streams_the_same::<i32>(|i| i as i32 - 50);
    }
}
