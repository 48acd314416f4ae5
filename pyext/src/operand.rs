//! What Python passed in: checked, and seen as a kernel's view.

use crate::array::Array;
use crate::dtype::{Dtype, OPERANDS};
use numpy::npyffi::{self, NPY_ARRAY_ALIGNED, NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_F_CONTIGUOUS};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use raptors_kernels::{Element, View};

/// An array that a kernel can read.
pub struct Operand<'py> {
    pub array: Bound<'py, PyUntypedArray>,
    pub dtype: Dtype,
}

impl<'py> Operand<'py> {
    /// The operand of function `op` that `object` is: an array, or what NumPy makes an array of.
    ///
    /// # Errors
    /// `TypeError` for a dtype, byte order, alignment or subclass that the kernels do not know.
    pub fn new(op: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let array = match plain_array(object)? {
            Some(array) => array,
            None => as_array(object)?,
        };
        let descr = array.dtype();
        let dtype = Dtype::of_operand(&descr).ok_or_else(|| {
            PyTypeError::new_err(format!(
                "raptors.{op}: dtype {} is not supported; supported are {OPERANDS}",
                describe(&descr)
            ))
        })?;
        if !is_walkable(&array) {
            return Err(PyTypeError::new_err(format!(
                "raptors.{op}: the array is not aligned; pass an aligned copy (array.copy()) of dtype {OPERANDS}"
            )));
        }
        Ok(Self { array, dtype })
    }

    /// The operand as the kernels see it.
    ///
    /// # Safety
    /// `T` is the element of `self.dtype`, and the view is not used longer than the array is held.
    pub unsafe fn view<T: Element>(&self) -> View<'static, T> {
        // SAFETY: NumPy keeps pointer, shape and strides in order; aligned and of type T as checked by `new`.
        unsafe {
            View::from_raw(
                data(&self.array).cast(),
                self.array.shape(),
                element_strides::<T>(&self.array),
            )
        }
    }

    /// The elements as they lie in memory, as one axis.
    ///
    /// # Safety
    /// As [`Operand::view`]; the array is contiguous.
    pub unsafe fn flat<T: Element>(&self) -> View<'static, T> {
        // SAFETY: as in `view`; all elements lie side by side.
        unsafe { View::row_from_raw(data(&self.array).cast(), self.array.len()) }
    }
}

/// How arrays without gaps lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The last axis innermost.
    C,
    /// The first axis innermost.
    Fortran,
    /// Neither, or with gaps.
    Other,
}

impl Layout {
    /// The layout that all operands have.
    pub fn common(operands: &[&Operand<'_>]) -> Self {
        let all = operands
            .iter()
            .fold(!0, |all, operand| all & flags(&operand.array));
        if all & NPY_ARRAY_C_CONTIGUOUS != 0 {
            Self::C
        } else if all & NPY_ARRAY_F_CONTIGUOUS != 0 {
            Self::Fortran
        } else {
            Self::Other
        }
    }

    /// Whether an array has this layout.
    pub fn is_of(self, array: &Bound<'_, PyUntypedArray>) -> bool {
        let flags = flags(array);
        match self {
            Self::C => flags & NPY_ARRAY_C_CONTIGUOUS != 0,
            Self::Fortran => flags & NPY_ARRAY_F_CONTIGUOUS != 0,
            Self::Other => true,
        }
    }
}

/// The stride of an axis in bytes, 0 if it has one element: then it may be anything.
pub fn step(array: &Bound<'_, PyUntypedArray>, axis: usize) -> isize {
    if array.shape()[axis] == 1 {
        0
    } else {
        array.strides()[axis]
    }
}

/// `object` if it is an array without an arithmetic of its own: exactly an ndarray, a memmap or our Array. `None` if it is no
/// array at all.
///
/// # Errors
/// `TypeError` for any other subclass of ndarray: it may give numbers another meaning (masks, units).
pub fn plain_array<'py>(
    object: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyUntypedArray>>> {
    let py = object.py();
    if let Ok(array) = object.cast::<PyUntypedArray>() {
        // SAFETY: reads the type of a live object.
        if unsafe { npyffi::PyArray_CheckExact(py, object.as_ptr()) } != 0
            || object.is_instance(memmap(py)?)?
        {
            return Ok(Some(array.clone()));
        }
        return Err(PyTypeError::new_err(format!(
            "{} is a subclass of numpy.ndarray that may change what arithmetic means; pass numpy.asarray(...) of it",
            object.get_type().name()?
        )));
    }
    Ok(object
        .cast::<Array>()
        .ok()
        .map(|array| array.get().inner(py).clone()))
}

fn as_array<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    static AS_ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let as_array = AS_ARRAY.import(object.py(), "numpy", "asarray")?;
    Ok(as_array.call1((object,))?.cast_into::<PyUntypedArray>()?)
}

fn memmap(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static MEMMAP: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    MEMMAP.import(py, "numpy", "memmap")
}

/// A dtype as NumPy prints it, `>f4` for what has no name of its own.
pub fn describe(descr: &Bound<'_, PyArrayDescr>) -> String {
    descr.to_string()
}

/// Whether elements are aligned and whole strides apart.
pub fn is_walkable(array: &Bound<'_, PyUntypedArray>) -> bool {
    let size = array.dtype().itemsize() as isize;
    let whole = |(&stride, &len): (&isize, &usize)| stride % size == 0 || len <= 1;
    flags(array) & NPY_ARRAY_ALIGNED != 0 && array.strides().iter().zip(array.shape()).all(whole)
}

/// Strides in elements of `T`; those of axes with at most one element may be anything, and are never used.
pub fn element_strides<'a, T>(
    array: &'a Bound<'_, PyUntypedArray>,
) -> impl Iterator<Item = isize> + 'a {
    array
        .strides()
        .iter()
        .map(|stride| stride / size_of::<T>() as isize)
}

/// The address of the first element.
pub fn data(array: &Bound<'_, PyUntypedArray>) -> *mut u8 {
    // SAFETY: a live array, and we are attached to the interpreter.
    unsafe {
        (*npyffi::_PyArray_GET_ITEM_DATA(array.as_array_ptr()))
            .data
            .cast()
    }
}

/// NumPy's flags.
pub fn flags(array: &Bound<'_, PyUntypedArray>) -> i32 {
    // SAFETY: a live array, and we are attached to the interpreter.
    unsafe { (*npyffi::_PyArray_GET_ITEM_DATA(array.as_array_ptr())).flags }
}
