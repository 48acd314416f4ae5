//! Strided views: memory, shape and strides, as NumPy has them.
//!
//! Views hold raw pointers, not slices: an output may be the very memory of an input, and the owner of the memory may be another
//! language. The safe constructors borrow slices; the unsafe one is for everybody else.

use crate::Error;
use crate::axes::{Axes, Axis};
use smallvec::SmallVec;
use std::marker::PhantomData;

pub(crate) type Shape = SmallVec<[usize; 4]>;
pub(crate) type Strides = SmallVec<[isize; 4]>;

/// A view to read from.
#[derive(Debug, Clone)]
pub struct View<'a, T> {
    ptr: *const T,
    shape: Shape,
    strides: Strides,
    memory: PhantomData<&'a [T]>,
}

/// A view to write to.
#[derive(Debug)]
pub struct ViewMut<'a, T> {
    ptr: *mut T,
    shape: Shape,
    strides: Strides,
    memory: PhantomData<&'a mut [T]>,
}

// SAFETY: a view is used like the `&[T]` it stands for; T is Sync.
unsafe impl<T: Sync> Send for View<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for View<'_, T> {}
// SAFETY: a mutable view is used like the `&mut [T]` it stands for; T is Send.
unsafe impl<T: Send> Send for ViewMut<'_, T> {}

macro_rules! common {
    ($view:ident, $ptr:ty, $slice:ty, $from:ident) => {
        impl<'a, T> $view<'a, T> {
            /// A view of memory that somebody else owns. Strides are in elements and may be zero or negative.
            ///
            /// # Safety
            /// For the lifetime `'a` every element that `shape` and `strides` reach from `ptr` must be inside one allocation,
            /// aligned, initialised, and valid for what the view does (reading or writing); nobody may free it, and what others
            /// write to it meanwhile is at their risk. `shape` and `strides` are equally long.
            #[inline]
            pub unsafe fn from_raw(
                ptr: $ptr,
                shape: &[usize],
                strides: impl IntoIterator<Item = isize>,
            ) -> Self {
                let (shape, strides) = (Shape::from_slice(shape), strides.into_iter().collect());
                Self {
                    ptr,
                    shape,
                    strides,
                    memory: PhantomData,
                }
            }

            /// A view of `len` elements side by side that somebody else owns.
            ///
            /// # Safety
            /// As for `from_raw`.
            #[inline]
            pub unsafe fn row_from_raw(ptr: $ptr, len: usize) -> Self {
                Self {
                    ptr,
                    shape: Shape::from_buf_and_len([len, 0, 0, 0], 1),
                    strides: Strides::from_buf_and_len([1, 0, 0, 0], 1),
                    memory: PhantomData,
                }
            }

            /// The number of elements, if they lie side by side along the only axis.
            #[inline]
            pub(crate) fn row_len(&self) -> Option<usize> {
                match (self.shape.as_slice(), self.strides.as_slice()) {
                    (&[len], [1]) => Some(len),
                    _ => None,
                }
            }

            /// A view of all of `data` in C order.
            ///
            /// # Errors
            /// [`Error::Layout`] unless `shape` has exactly as many elements as `data`.
            pub fn contiguous(data: $slice, shape: &[usize]) -> Result<Self, Error> {
                let mut strides = Strides::from_elem(0, shape.len());
                let mut step = Some(1_usize);
                for (stride, &len) in strides.iter_mut().zip(shape).rev() {
                    *stride = step.unwrap_or(0) as isize;
                    step = step.and_then(|s| s.checked_mul(len));
                }
                if step != Some(data.len()) {
                    return Err(Error::Layout {
                        shape: shape.to_vec(),
                        strides: shape.len(),
                        len: data.len(),
                    });
                }
                Ok(Self {
                    ptr: data.$from(),
                    shape: Shape::from_slice(shape),
                    strides,
                    memory: PhantomData,
                })
            }

            /// A view of a part of `data`: strides in elements, the first element at `offset`.
            ///
            /// # Errors
            /// [`Error::Layout`] if an element would lie outside of `data`.
            pub fn strided(
                data: $slice,
                offset: usize,
                shape: &[usize],
                strides: &[isize],
            ) -> Result<Self, Error> {
                let layout = || Error::Layout {
                    shape: shape.to_vec(),
                    strides: strides.len(),
                    len: data.len(),
                };
                if shape.len() != strides.len() {
                    return Err(layout());
                }
                if !shape.contains(&0) {
                    let (low, high) = reach(shape, strides).ok_or_else(layout)?;
                    let offset = isize::try_from(offset).map_err(|_| layout())?;
                    let end = offset.checked_add(high).ok_or_else(layout)?;
                    if offset.checked_add(low).is_none_or(|start| start < 0)
                        || end as usize >= data.len()
                    {
                        return Err(layout());
                    }
                }
                let ptr = data.$from().wrapping_add(offset);
                Ok(Self {
                    ptr,
                    shape: Shape::from_slice(shape),
                    strides: Strides::from_slice(strides),
                    memory: PhantomData,
                })
            }

            /// The length of every axis.
            #[inline]
            pub fn shape(&self) -> &[usize] {
                &self.shape
            }

            /// The step from one element to the next along every axis, in elements.
            #[inline]
            pub fn strides(&self) -> &[isize] {
                &self.strides
            }

            /// The number of elements.
            #[inline]
            pub fn len(&self) -> usize {
                self.shape.iter().product()
            }

            /// Whether there are no elements.
            #[inline]
            pub fn is_empty(&self) -> bool {
                self.shape.contains(&0)
            }

            #[inline]
            pub(crate) fn ptr(&self) -> $ptr {
                self.ptr
            }
        }
    };
}

common!(View, *const T, &'a [T], as_ptr);
common!(ViewMut, *mut T, &'a mut [T], as_mut_ptr);

impl<T> View<'_, T> {
    /// The stride of an axis when the view is broadcast to `ndim` axes: 0 where it has none or only one element.
    #[inline]
    pub(crate) fn broadcast_stride(&self, axis: usize, ndim: usize) -> isize {
        match (axis + self.shape.len()).checked_sub(ndim) {
            Some(own) if self.shape[own] != 1 => self.strides[own],
            _ => 0,
        }
    }

    pub(crate) fn axes(&self) -> Axes<1> {
        self.shape
            .iter()
            .zip(&self.strides)
            .map(|(&len, &stride)| Axis {
                len,
                strides: [stride],
            })
            .collect()
    }
}

impl<T: Copy> ViewMut<'_, T> {
    /// Sets the only element of a view that has one.
    ///
    /// # Errors
    /// [`Error::Output`] if the view has axes.
    pub fn set(&mut self, value: T) -> Result<(), Error> {
        if !self.shape.is_empty() {
            return Err(Error::Output {
                out: self.shape.to_vec(),
                result: Vec::new(),
            });
        }
        // SAFETY: a view without axes has one element.
        unsafe { self.ptr.write(value) };
        Ok(())
    }
}

/// The smallest and the largest offset that a shape without an empty axis reaches; `None` if that overflows.
fn reach(shape: &[usize], strides: &[isize]) -> Option<(isize, isize)> {
    shape
        .iter()
        .zip(strides)
        .try_fold((0_isize, 0_isize), |(low, high), (&len, &stride)| {
            let far = isize::try_from(len - 1).ok()?.checked_mul(stride)?;
            Some((low.checked_add(far.min(0))?, high.checked_add(far.max(0))?))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_outside_their_memory_are_refused() {
        let data = [0_f32; 6];
        assert!(View::contiguous(&data, &[2, 3]).is_ok());
        assert!(View::contiguous(&data, &[2, 2]).is_err());
        assert!(View::contiguous(&data, &[usize::MAX, 2]).is_err());
        assert!(View::strided(&data, 5, &[2, 3], &[-3, -1]).is_ok());
        assert!(View::strided(&data, 4, &[2, 3], &[-3, -1]).is_err());
        assert!(View::strided(&data, 1, &[2, 3], &[3, 1]).is_err());
        assert!(View::strided(&data, 0, &[2], &[isize::MAX]).is_err());
        assert!(View::strided(&data, 100, &[0, 3], &[3, 1]).is_ok());
        assert!(View::strided(&data, 0, &[2, 3], &[1]).is_err());
    }
}
