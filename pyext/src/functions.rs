//! The functions of the module. Their doc comments are what `help` shows.

use crate::array::Array;
use crate::ops::{self, Binary, Reduction};
use pyo3::prelude::*;

type Any<'py> = Bound<'py, PyAny>;

/// Sum of all elements, or of those along one axis.
///
/// Parameters
/// ----------
/// a : array of float32, float64 or int32
///     Any shape and strides.
/// axis : int, optional
///     The axis to sum along, counted from the end if negative. All elements by default.
/// out : array, optional
///     Where to put the result; of its shape and dtype.
///
/// Returns
/// -------
/// An array, or a NumPy scalar if no axis is left: float32 for float32, float64 for float64, int64 (exact) for int32. The error
/// of a float sum is bounded as that of NumPy's pairwise sum, along every axis; the bits depend neither on the number of
/// threads nor on the instruction set.
#[pyfunction]
#[pyo3(signature = (a, axis=None, out=None))]
fn sum<'py>(
    py: Python<'py>,
    a: &Any<'py>,
    axis: Option<&Any<'py>>,
    out: Option<&Any<'py>>,
) -> PyResult<Any<'py>> {
    ops::reduce(Reduction::Sum, a, axis, out)?.into_numpy(py)
}

/// Arithmetic mean of all elements, or of those along one axis.
///
/// Parameters
/// ----------
/// a : array of float32, float64 or int32
///     Any shape and strides.
/// axis : int, optional
///     The axis to take the mean along, counted from the end if negative. All elements by default.
/// out : array, optional
///     Where to put the result; of its shape and dtype.
///
/// Returns
/// -------
/// An array, or a NumPy scalar if no axis is left: float32 for float32, float64 for float64 and int32. The mean of nothing is
/// NaN, with a RuntimeWarning.
#[pyfunction]
#[pyo3(signature = (a, axis=None, out=None))]
fn mean<'py>(
    py: Python<'py>,
    a: &Any<'py>,
    axis: Option<&Any<'py>>,
    out: Option<&Any<'py>>,
) -> PyResult<Any<'py>> {
    ops::reduce(Reduction::Mean, a, axis, out)?.into_numpy(py)
}

/// Sum of two arrays, element by element.
///
/// Parameters
/// ----------
/// a, b : arrays of one dtype: float32, float64 or int32
///     Their shapes are broadcast together by NumPy's rules.
/// out : array, optional
///     Where to put the result; of its shape and dtype. May be `a` or `b`.
///
/// Returns
/// -------
/// An array of the same dtype (int32 wraps around), or a NumPy scalar if both have no axes.
#[pyfunction]
#[pyo3(signature = (a, b, out=None))]
fn add<'py>(
    py: Python<'py>,
    a: &Any<'py>,
    b: &Any<'py>,
    out: Option<&Any<'py>>,
) -> PyResult<Any<'py>> {
    ops::binary(Binary::Add, a, b, out)?.into_numpy(py)
}

/// Product of two arrays, element by element.
///
/// Parameters
/// ----------
/// a, b : arrays of one dtype: float32, float64 or int32
///     Their shapes are broadcast together by NumPy's rules.
/// out : array, optional
///     Where to put the result; of its shape and dtype. May be `a` or `b`.
///
/// Returns
/// -------
/// An array of the same dtype (int32 wraps around), or a NumPy scalar if both have no axes.
#[pyfunction]
#[pyo3(signature = (a, b, out=None))]
fn multiply<'py>(
    py: Python<'py>,
    a: &Any<'py>,
    b: &Any<'py>,
    out: Option<&Any<'py>>,
) -> PyResult<Any<'py>> {
    ops::binary(Binary::Multiply, a, b, out)?.into_numpy(py)
}

/// Adds a row vector to every row of an array.
///
/// Parameters
/// ----------
/// a : array of float32, float64 or int32
///     At least one axis.
/// row : array of the same dtype
///     One axis, as long as the last axis of `a`.
/// out : array, optional
///     Where to put the result; of its shape and dtype. May be `a`.
///
/// Returns
/// -------
/// An array of the shape and dtype of `a` (int32 wraps around).
#[pyfunction]
#[pyo3(signature = (a, row, out=None))]
fn broadcast_add<'py>(
    py: Python<'py>,
    a: &Any<'py>,
    row: &Any<'py>,
    out: Option<&Any<'py>>,
) -> PyResult<Any<'py>> {
    ops::binary(Binary::BroadcastAdd, a, row, out)?.into_numpy(py)
}

/// Multiplies every element by a number.
///
/// Parameters
/// ----------
/// a : array of float32, float64 or int32
/// factor : number
///     Taken as the dtype of `a`; an int32 array takes an integer.
/// out : array, optional
///     Where to put the result; of its shape and dtype. May be `a`.
///
/// Returns
/// -------
/// An array of the shape and dtype of `a` (int32 wraps around), or a NumPy scalar if it has no axes.
#[pyfunction]
#[pyo3(signature = (a, factor, out=None))]
fn scale<'py>(
    py: Python<'py>,
    a: &Any<'py>,
    factor: &Any<'py>,
    out: Option<&Any<'py>>,
) -> PyResult<Any<'py>> {
    ops::scale(a, factor, out)?.into_numpy(py)
}

/// An Array of its own memory, from whatever numpy.array takes.
///
/// Parameters
/// ----------
/// obj : array or nested sequence of numbers
/// dtype : float32, float64 or int32, optional
///     By default what numpy.array chooses: float64 for Python floats. Python ints become int64, which is not supported: give
///     the dtype you want.
#[pyfunction]
#[pyo3(signature = (obj, dtype=None))]
fn array(obj: &Any<'_>, dtype: Option<&Any<'_>>) -> PyResult<Array> {
    Array::create("array", (obj, dtype))
}

/// An Array that shares the memory of a NumPy array: nothing is copied, and what one writes the other sees.
#[pyfunction]
fn from_numpy(a: &Any<'_>) -> PyResult<Array> {
    Array::share(a)
}

/// An Array of zeros.
///
/// Parameters
/// ----------
/// shape : int or tuple of ints
/// dtype : float32, float64 or int32, optional
///     float64 by default.
#[pyfunction]
#[pyo3(signature = (shape, dtype=None))]
fn zeros(shape: &Any<'_>, dtype: Option<&Any<'_>>) -> PyResult<Array> {
    Array::create("zeros", (shape, dtype))
}

/// An Array of ones.
///
/// Parameters
/// ----------
/// shape : int or tuple of ints
/// dtype : float32, float64 or int32, optional
///     float64 by default.
#[pyfunction]
#[pyo3(signature = (shape, dtype=None))]
fn ones(shape: &Any<'_>, dtype: Option<&Any<'_>>) -> PyResult<Array> {
    Array::create("ones", (shape, dtype))
}

/// Fails as a kernel with a mistake in it would: for the test that this becomes an exception.
#[pyfunction]
fn fail(py: Python<'_>, elements: usize) -> PyResult<()> {
    ops::run(py, elements, |pool| {
        panic!("asked to, with {} threads", pool.threads())
    })
}

/// Puts the functions into the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(sum, module)?)?;
    module.add_function(wrap_pyfunction!(mean, module)?)?;
    module.add_function(wrap_pyfunction!(add, module)?)?;
    module.add_function(wrap_pyfunction!(multiply, module)?)?;
    module.add_function(wrap_pyfunction!(broadcast_add, module)?)?;
    module.add_function(wrap_pyfunction!(scale, module)?)?;
    module.add_function(wrap_pyfunction!(array, module)?)?;
    module.add_function(wrap_pyfunction!(from_numpy, module)?)?;
    module.add_function(wrap_pyfunction!(zeros, module)?)?;
    module.add_function(wrap_pyfunction!(ones, module)?)?;
    module.add_function(wrap_pyfunction!(fail, module)?)
}
