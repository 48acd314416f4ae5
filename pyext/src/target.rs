//! Where a result goes: a new array, the caller's `out`, or, where `out` overlaps an input, a temporary copied there at the end.

use crate::array::Array;
use crate::dtype::Dtype;
use crate::memory;
use crate::operand::{
    Layout, Operand, data, describe, element_strides, flags, is_walkable, plain_array,
};
use numpy::npyffi::{self, NPY_ARRAY_WRITEABLE, NpyTypes, PY_ARRAY_API};
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use raptors_kernels::{Number, ViewMut};
use std::ops::Range;

/// What the result of a function looks like.
pub struct Wanted<'a> {
    /// The function, for messages.
    pub op: &'a str,
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub order: Order,
    /// Whether the result may be an input's memory, element for element.
    pub in_place: bool,
}

/// How a new array lies in memory.
pub enum Order {
    /// The last axis innermost.
    C,
    /// The first axis innermost.
    Fortran,
    /// The axes, outermost first.
    Axes(Vec<usize>),
}

impl Order {
    /// The order of these axes, outermost first.
    pub fn of(axes: Vec<usize>) -> Self {
        if axes.is_sorted() {
            Self::C
        } else {
            Self::Axes(axes)
        }
    }
}

/// An array that a kernel can write, and what becomes of it.
pub struct Target<'py> {
    array: Bound<'py, PyUntypedArray>,
    /// What the caller passed as `out`.
    out: Option<Bound<'py, PyAny>>,
    /// The array to copy the result to.
    copy_to: Option<Bound<'py, PyUntypedArray>>,
}

impl<'py> Target<'py> {
    /// # Errors
    /// `TypeError` or `ValueError` for an `out` that cannot take the result, `MemoryError` where there is no room for it.
    pub fn new(
        py: Python<'py>,
        wanted: &Wanted<'_>,
        inputs: &[&Operand<'py>],
        out: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let Some(out) = out.filter(|out| !out.is_none()) else {
            let array = allocate(py, wanted.dtype, wanted.shape, &wanted.order)?;
            return Ok(Self {
                array,
                out: None,
                copy_to: None,
            });
        };
        let array = check_out(wanted, out)?;
        let out = Some(out.clone());
        let overlaps = inputs.iter().any(|input| {
            overlap(&input.array, &array) && !(wanted.in_place && same_layout(&input.array, &array))
        });
        if overlaps || overlaps_itself(&array) || !is_walkable(&array) {
            let temporary = allocate(py, wanted.dtype, wanted.shape, &Order::C)?;
            return Ok(Self {
                array: temporary,
                out,
                copy_to: Some(array),
            });
        }
        Ok(Self {
            array,
            out,
            copy_to: None,
        })
    }

    /// The target as the kernels see it.
    ///
    /// # Safety
    /// `T` is the element of the dtype that was wanted, and the view is not used longer than the target is held.
    pub unsafe fn view<T: Number>(&self) -> ViewMut<'static, T> {
        // SAFETY: NumPy keeps pointer, shape and strides in order; type, alignment and writeability were checked by `new`.
        unsafe {
            ViewMut::from_raw(
                data(&self.array).cast(),
                self.array.shape(),
                element_strides::<T>(&self.array),
            )
        }
    }

    /// The elements as they lie in memory, as one axis.
    ///
    /// # Safety
    /// As [`Target::view`]; the array is contiguous.
    pub unsafe fn flat<T: Number>(&self) -> ViewMut<'static, T> {
        // SAFETY: as in `view`; all elements lie side by side.
        unsafe { ViewMut::row_from_raw(data(&self.array).cast(), self.array.len()) }
    }

    /// Whether the result lies in memory as operands of this layout do.
    pub fn has_layout(&self, layout: Layout) -> bool {
        layout.is_of(&self.array)
    }

    /// The result as a function returns it: `out` itself, a NumPy scalar for a result without axes, else an array.
    pub fn into_numpy(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.finish(py)? {
            Self { out: Some(out), .. } => Ok(out),
            // SAFETY: PyArray_Return takes over the reference and returns a new one, or null with an exception set.
            Self { array, .. } => unsafe {
                let array = array.into_ptr().cast();
                Bound::from_owned_ptr_or_err(py, PY_ARRAY_API.PyArray_Return(py, array))
            },
        }
    }

    /// The result as a method returns it.
    pub fn into_array(self, py: Python<'py>) -> PyResult<Array> {
        Ok(Array::wrap(self.finish(py)?.array))
    }

    fn finish(self, py: Python<'py>) -> PyResult<Self> {
        if let Some(to) = &self.copy_to {
            // SAFETY: two live arrays of the same shape and dtype.
            let failed = unsafe {
                PY_ARRAY_API.PyArray_CopyInto(py, to.as_array_ptr(), self.array.as_array_ptr())
            };
            if failed != 0 {
                return Err(PyErr::fetch(py));
            }
        }
        Ok(self)
    }
}

fn check_out<'py>(
    wanted: &Wanted<'_>,
    out: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let op = wanted.op;
    let array = plain_array(out)?.ok_or_else(|| {
        let given = out.get_type().name().map_or_else(|_| "?".to_owned(), |n| n.to_string());
        PyTypeError::new_err(format!(
            "raptors.{op}: return arrays must be of ArrayType: out is {given}, not numpy.ndarray or raptors.Array"
        ))
    })?;
    if Dtype::of(&array.dtype()) != Some(wanted.dtype) {
        return Err(PyTypeError::new_err(format!(
            "raptors.{op}: out has dtype {}, but the result has dtype {}",
            describe(&array.dtype()),
            wanted.dtype.name()
        )));
    }
    if array.shape() != wanted.shape {
        return Err(PyValueError::new_err(format!(
            "raptors.{op}: out has shape {}, but the result has shape {}",
            raptors_kernels::tuple(array.shape()),
            raptors_kernels::tuple(wanted.shape)
        )));
    }
    if flags(&array) & NPY_ARRAY_WRITEABLE == 0 {
        return Err(PyValueError::new_err("output array is read-only"));
    }
    Ok(array)
}

/// A new array, uninitialised.
fn allocate<'py>(
    py: Python<'py>,
    dtype: Dtype,
    shape: &[usize],
    order: &Order,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let descr = dtype.descr(py);
    let mut strides = match order {
        Order::Axes(axes) => Some(strides(shape, axes, descr.itemsize())),
        Order::C | Order::Fortran => None,
    };
    let fortran = i32::from(matches!(order, Order::Fortran));
    let given = strides
        .as_mut()
        .map_or(std::ptr::null_mut(), |strides| strides.as_mut_ptr());
    let bytes = shape
        .iter()
        .fold(descr.itemsize(), |bytes, &len| bytes.saturating_mul(len));
    // SAFETY: `shape` and `strides` have as many entries as the array has axes and are only read; no data means that NumPy
    // allocates it, and that any flag but 0 asks for Fortran order; for a descriptor whose reference it takes over.
    memory::with_buffers(py, bytes, || unsafe {
        let array = PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            npyffi::get_type_object(py, NpyTypes::PyArray_Type),
            descr.into_ptr().cast(),
            shape.len() as i32,
            shape.as_ptr().cast_mut().cast(),
            given,
            std::ptr::null_mut(),
            fortran,
            std::ptr::null_mut(),
        );
        Ok(Bound::from_owned_ptr_or_err(py, array)?.cast_into_unchecked())
    })
}

/// Strides in bytes of an array without gaps whose axes lie in memory in this order.
fn strides(shape: &[usize], order: &[usize], itemsize: usize) -> Vec<isize> {
    let mut strides = vec![0; shape.len()];
    let mut step = itemsize as isize;
    for &axis in order.iter().rev() {
        strides[axis] = step;
        // NumPy refuses a size that overflows.
        step = step.saturating_mul(shape[axis].max(1) as isize);
    }
    strides
}

/// The memory order of a result: axes as the operands have them in memory, outermost first (what NumPy calls K order). Operands
/// give a stride per axis, 0 where they are broadcast.
pub fn axes_in_memory(ndim: usize, operands: &[&dyn Fn(usize) -> isize]) -> Vec<usize> {
    // Whether axis `a`, now outside of axis `b`, should be inside: the first operand that has both decides, and any may object.
    let belongs_inside = |a: usize, b: usize| {
        let both = operands
            .iter()
            .map(|stride| (stride(a).unsigned_abs(), stride(b).unsigned_abs()));
        let mut both = both.filter(|&(a, b)| a != 0 && b != 0).peekable();
        both.peek().is_some().then(|| both.all(|(a, b)| b > a))
    };
    let mut order: Vec<usize> = Vec::with_capacity(ndim);
    for axis in (0..ndim).rev() {
        let mut place = 0;
        for (i, &inner) in order.iter().enumerate() {
            match belongs_inside(axis, inner) {
                Some(true) => place = i + 1,
                Some(false) => break,
                None => {}
            }
        }
        order.insert(place, axis);
    }
    order
}

/// The addresses from the first to the last byte of an array.
fn extent(array: &Bound<'_, PyUntypedArray>) -> Range<usize> {
    let start = data(array) as usize;
    if array.is_empty() {
        return start..start;
    }
    let axes = array.shape().iter().zip(array.strides());
    let (low, high) = axes.fold((0_isize, 0_isize), |(low, high), (&len, &stride)| {
        let far = (len as isize - 1) * stride;
        (low + far.min(0), high + far.max(0))
    });
    start.wrapping_add_signed(low)..start.wrapping_add_signed(high) + array.dtype().itemsize()
}

fn overlap(a: &Bound<'_, PyUntypedArray>, b: &Bound<'_, PyUntypedArray>) -> bool {
    let (a, b) = (extent(a), extent(b));
    a.start < b.end && b.start < a.end
}

fn same_layout(a: &Bound<'_, PyUntypedArray>, b: &Bound<'_, PyUntypedArray>) -> bool {
    let steps = |array: &Bound<'_, PyUntypedArray>| {
        let axes = array.strides().iter().zip(array.shape());
        axes.map(|(&stride, &len)| if len > 1 { stride } else { 0 })
            .collect::<Vec<_>>()
    };
    data(a) == data(b) && a.shape() == b.shape() && steps(a) == steps(b)
}

/// Whether two elements may share memory; true also where that is hard to tell.
fn overlaps_itself(array: &Bound<'_, PyUntypedArray>) -> bool {
    if array.is_c_contiguous() || array.is_empty() {
        return false;
    }
    let axes = array
        .strides()
        .iter()
        .zip(array.shape())
        .filter(|&(_, &len)| len > 1);
    let mut axes: Vec<_> = axes
        .map(|(stride, &len)| (stride.unsigned_abs(), len))
        .collect();
    axes.sort_unstable();
    let mut reach = array.dtype().itemsize();
    axes.into_iter().any(|(stride, len)| {
        let overlaps = stride < reach;
        reach += stride * (len - 1);
        overlaps
    })
}
