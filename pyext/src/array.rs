//! The class `Array`: a NumPy array whose methods are our kernels.

use crate::operand::{Operand, plain_array};
use crate::ops::{self, Binary, Reduction};
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

type Any<'py> = Bound<'py, PyAny>;

/// A NumPy array with Raptors' operations as methods.
///
/// Made by raptors.array, from_numpy, zeros and ones. It holds a NumPy array and shares its memory: to_numpy, numpy.asarray and
/// memoryview copy nothing. Operands of methods may be NumPy arrays too.
#[pyclass(module = "raptors", frozen)]
pub struct Array {
    inner: Py<PyUntypedArray>,
}

impl Array {
    /// The Array around a NumPy array.
    pub fn wrap(array: Bound<'_, PyUntypedArray>) -> Self {
        Self {
            inner: array.unbind(),
        }
    }

    /// The NumPy array inside.
    pub fn inner<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyUntypedArray> {
        self.inner.bind(py)
    }

    /// What `numpy.<maker>(what, dtype)` makes.
    ///
    /// # Errors
    /// NumPy's, and `TypeError` for a dtype that the kernels do not know.
    pub fn create(maker: &str, (what, dtype): (&Any<'_>, Option<&Any<'_>>)) -> PyResult<Self> {
        let py = what.py();
        // An Array of ours gives its NumPy array: no need to go by way of __array__.
        let plain = plain_array(what)?;
        let what = plain.as_ref().map_or(what, |array| array.as_any());
        let options = PyDict::new(py);
        if let Some(dtype) = dtype.filter(|dtype| !dtype.is_none()) {
            options.set_item("dtype", dtype)?;
        }
        let made = py
            .import("numpy")?
            .getattr(maker)?
            .call((what,), Some(&options))?;
        Ok(Self::wrap(Operand::new(maker, &made)?.array))
    }

    /// The Array that shares the memory of a NumPy array.
    ///
    /// # Errors
    /// `TypeError` for anything else, and for a dtype that the kernels do not know.
    pub fn share(object: &Any<'_>) -> PyResult<Self> {
        if plain_array(object)?.is_none() {
            let given = object.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "raptors.from_numpy: expected numpy.ndarray, got {given}; raptors.array converts other objects"
            )));
        }
        Ok(Self::wrap(Operand::new("from_numpy", object)?.array))
    }

    fn any<'a, 'py>(&'a self, py: Python<'py>) -> &'a Any<'py> {
        self.inner(py).as_any()
    }
}

#[pymethods]
impl Array {
    /// The length of every axis.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.inner(py).shape())
    }

    /// The NumPy dtype of the elements.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> Any<'py> {
        self.inner(py).dtype().into_any()
    }

    /// The number of axes.
    #[getter]
    fn ndim(&self, py: Python<'_>) -> usize {
        self.inner(py).ndim()
    }

    /// The number of elements.
    #[getter]
    fn size(&self, py: Python<'_>) -> usize {
        self.inner(py).len()
    }

    /// Sum of all elements, a NumPy scalar. See raptors.sum.
    fn sum<'py>(&self, py: Python<'py>) -> PyResult<Any<'py>> {
        ops::reduce(Reduction::Sum, self.any(py), None, None)?.into_numpy(py)
    }

    /// Mean of all elements, a NumPy scalar. See raptors.mean.
    fn mean<'py>(&self, py: Python<'py>) -> PyResult<Any<'py>> {
        ops::reduce(Reduction::Mean, self.any(py), None, None)?.into_numpy(py)
    }

    /// Sums along one axis, an Array with one axis less. See raptors.sum.
    fn sum_axis<'py>(&self, py: Python<'py>, axis: &Any<'py>) -> PyResult<Self> {
        ops::reduce(Reduction::Sum, self.any(py), Some(an_axis(axis)?), None)?.into_array(py)
    }

    /// Means along one axis, an Array with one axis less. See raptors.mean.
    fn mean_axis<'py>(&self, py: Python<'py>, axis: &Any<'py>) -> PyResult<Self> {
        ops::reduce(Reduction::Mean, self.any(py), Some(an_axis(axis)?), None)?.into_array(py)
    }

    /// Sum with another array, element by element. See raptors.add.
    fn add<'py>(&self, py: Python<'py>, other: &Any<'py>) -> PyResult<Self> {
        ops::binary(Binary::Add, self.any(py), other, None)?.into_array(py)
    }

    /// Product with another array, element by element. See raptors.multiply.
    fn multiply<'py>(&self, py: Python<'py>, other: &Any<'py>) -> PyResult<Self> {
        ops::binary(Binary::Multiply, self.any(py), other, None)?.into_array(py)
    }

    /// Adds a row vector to every row. See raptors.broadcast_add.
    fn broadcast_add<'py>(&self, py: Python<'py>, row: &Any<'py>) -> PyResult<Self> {
        ops::binary(Binary::BroadcastAdd, self.any(py), row, None)?.into_array(py)
    }

    /// Multiplies every element by a number. See raptors.scale.
    fn scale<'py>(&self, py: Python<'py>, factor: &Any<'py>) -> PyResult<Self> {
        ops::scale(self.any(py), factor, None)?.into_array(py)
    }

    /// The NumPy array inside: nothing is copied.
    fn to_numpy<'py>(&self, py: Python<'py>) -> Any<'py> {
        self.any(py).clone()
    }

    /// What numpy.asarray and numpy.array call.
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Any<'py>>,
        copy: Option<bool>,
    ) -> PyResult<Any<'py>> {
        let inner = self.any(py);
        let converted = match dtype {
            Some(dtype) => {
                let options = PyDict::new(py);
                options.set_item("copy", false)?;
                inner.call_method("astype", (dtype,), Some(&options))?
            }
            None => inner.clone(),
        };
        match (copy, converted.is(inner)) {
            (Some(false), false) => Err(PyValueError::new_err(
                "Unable to avoid copy while creating an array as requested.",
            )),
            (Some(true), true) => inner.call_method0("copy"),
            _ => Ok(converted),
        }
    }

    /// The buffer of the NumPy array inside, which is its owner too.
    ///
    /// # Safety
    /// Called by the interpreter, with a buffer to fill.
    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: std::ffi::c_int,
    ) -> PyResult<()> {
        let inner = slf.get().inner.as_ptr();
        // SAFETY: a live object; `view` is the interpreter's.
        match unsafe { ffi::PyObject_GetBuffer(inner, view, flags) } {
            0 => Ok(()),
            _ => Err(PyErr::fetch(slf.py())),
        }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.any(py).len()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let options = PyDict::new(py);
        options.set_item("separator", ", ")?;
        options.set_item("prefix", "raptors.Array(")?;
        let text = py
            .import("numpy")?
            .getattr("array2string")?
            .call((self.any(py),), Some(&options))?;
        Ok(format!(
            "raptors.Array({text}, dtype={})",
            self.inner(py).dtype()
        ))
    }
}

/// An axis where one must be named.
fn an_axis<'a, 'py>(axis: &'a Any<'py>) -> PyResult<&'a Any<'py>> {
    if axis.is_none() {
        return Err(PyTypeError::new_err("axis must be an integer, not None"));
    }
    Ok(axis)
}
