//! From operands to results: one function per kind of op. Kernels run without the GIL.

use crate::dtype::Dtype;
use crate::operand::{Layout, Operand, step};
use crate::target::{Order, Target, Wanted, axes_in_memory};
use crate::threads;
use numpy::PyUntypedArrayMethods;
use pyo3::exceptions::{
    PyOverflowError, PyRuntimeError, PyRuntimeWarning, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use raptors_kernels::{self as kernels, Element, Error, Number, Pool, View, ViewMut};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Below this many elements letting go of the GIL costs more than the kernel.
const KEEP_GIL_BELOW: usize = 4096;

/// Runs `$body` with `$t` standing for the element type of an operand's dtype.
macro_rules! with_element {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            Dtype::Float32 => {
                type $t = f32;
                $body
            }
            Dtype::Float64 => {
                type $t = f64;
                $body
            }
            Dtype::Int32 => {
                type $t = i32;
                $body
            }
            Dtype::Int64 => Err(PyTypeError::new_err("int64 is the dtype of results only")),
        }
    };
}

/// The ops of two arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    Add,
    Multiply,
    /// `b` is a row of `a`.
    BroadcastAdd,
}

impl Binary {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Multiply => "multiply",
            Self::BroadcastAdd => "broadcast_add",
        }
    }

    fn kernel<T: Element>(
        self,
        a: &View<T>,
        b: &View<T>,
        out: &mut ViewMut<T>,
        pool: &Pool,
    ) -> Result<(), Error> {
        match self {
            Self::Add => kernels::add(a, b, out, pool),
            Self::Multiply => kernels::multiply(a, b, out, pool),
            Self::BroadcastAdd => kernels::broadcast_add(a, b, out, pool),
        }
    }
}

/// The ops along an axis, or over everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    Sum,
    Mean,
}

impl Reduction {
    fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Mean => "mean",
        }
    }
}

/// `a op b`.
pub fn binary<'py>(
    op: Binary,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Target<'py>> {
    let py = a.py();
    let (a, b) = (Operand::new(op.name(), a)?, Operand::new(op.name(), b)?);
    if a.dtype != b.dtype {
        return Err(PyTypeError::new_err(format!(
            "raptors.{}: the arrays have different dtypes, {} and {}; convert one with astype",
            op.name(),
            a.dtype.name(),
            b.dtype.name()
        )));
    }
    let (shape_a, shape_b) = (a.array.shape(), b.array.shape());
    let shape = if op == Binary::BroadcastAdd {
        kernels::is_row(shape_a, shape_b).map_err(exception)?;
        kernels::broadcast(shape_a, &[])
    } else {
        kernels::broadcast(shape_a, shape_b)
    };
    let shape = shape.map_err(exception)?;
    let layout = match Layout::common(&[&a, &b]) {
        // Axes that only one of them has may go otherwise.
        Layout::Fortran if shape_a != shape_b => Layout::Other,
        layout => layout,
    };
    let order = match layout {
        Layout::C => Order::C,
        Layout::Fortran => Order::Fortran,
        Layout::Other => {
            let stride = |operand: &Operand<'_>, axis: usize| {
                let own = (axis + operand.array.ndim()).checked_sub(shape.len());
                own.map_or(0, |own| step(&operand.array, own))
            };
            Order::of(axes_in_memory(
                shape.len(),
                &[&|i| stride(&a, i), &|i| stride(&b, i)],
            ))
        }
    };
    let wanted = Wanted {
        op: op.name(),
        dtype: a.dtype,
        shape: &shape,
        order,
        in_place: true,
    };
    let target = Target::new(py, &wanted, &[&a, &b], out)?;
    // Side by side in the same order, shapes do not matter, and need not be walked.
    let flat = layout != Layout::Other && shape_a == shape_b && target.has_layout(layout);
    with_element!(a.dtype, T => {
        // SAFETY: T is the element of both operands and of the target; they are held until the kernel is done.
        let (a, b, mut out) = unsafe {
            if flat {
                (a.flat::<T>(), b.flat::<T>(), target.flat::<T>())
            } else {
                (a.view::<T>(), b.view::<T>(), target.view::<T>())
            }
        };
        let elements = out.len();
        run(py, elements, move |pool| op.kernel(&a, &b, &mut out, pool))
    })?;
    Ok(target)
}

/// `a * factor`.
pub fn scale<'py>(
    a: &Bound<'py, PyAny>,
    factor: &Bound<'py, PyAny>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Target<'py>> {
    let py = a.py();
    let a = Operand::new("scale", a)?;
    let wanted = Wanted {
        op: "scale",
        dtype: a.dtype,
        shape: a.array.shape(),
        order: kept_order(&a, None),
        in_place: true,
    };
    match a.dtype {
        Dtype::Int32 => scale_by(
            py,
            &a,
            integer_factor(factor)?,
            Target::new(py, &wanted, &[&a], out)?,
        ),
        Dtype::Float32 => scale_by(
            py,
            &a,
            factor.extract::<f64>()? as f32,
            Target::new(py, &wanted, &[&a], out)?,
        ),
        _ => scale_by(
            py,
            &a,
            factor.extract::<f64>()?,
            Target::new(py, &wanted, &[&a], out)?,
        ),
    }
}

fn scale_by<'py, T: Element>(
    py: Python<'py>,
    a: &Operand<'py>,
    factor: T,
    target: Target<'py>,
) -> PyResult<Target<'py>> {
    let layout = Layout::common(&[a]);
    let flat = layout != Layout::Other && target.has_layout(layout);
    // SAFETY: the caller chose T by the operand's dtype, which is the target's too; both are held until the kernel is done.
    let (a, mut out) = unsafe {
        if flat {
            (a.flat::<T>(), target.flat::<T>())
        } else {
            (a.view::<T>(), target.view::<T>())
        }
    };
    let elements = out.len();
    run(py, elements, move |pool| {
        kernels::scale(&a, factor, &mut out, pool)
    })?;
    Ok(target)
}

fn integer_factor(factor: &Bound<'_, PyAny>) -> PyResult<i32> {
    // An int, or what has __index__, in range.
    if let Ok(factor) = factor.extract() {
        return Ok(factor);
    }
    let py = factor.py();
    let index = py.import("operator")?.call_method1("index", (factor,)).map_err(|_| {
        let given = factor.get_type().name().map_or_else(|_| "?".to_owned(), |n| n.to_string());
        PyTypeError::new_err(format!(
            "raptors.scale: an int32 array takes an integer factor (the result is int32), not {given}"
        ))
    })?;
    index.extract().map_err(|_| {
        PyOverflowError::new_err(format!("Python integer {index} out of bounds for int32"))
    })
}

/// The sum or mean over everything (`axis` None) or along one axis.
pub fn reduce<'py>(
    op: Reduction,
    a: &Bound<'py, PyAny>,
    axis: Option<&Bound<'py, PyAny>>,
    out: Option<&Bound<'py, PyAny>>,
) -> PyResult<Target<'py>> {
    let py = a.py();
    let a = Operand::new(op.name(), a)?;
    let axis = axis
        .filter(|axis| !axis.is_none())
        .map(|axis| normalize(axis, a.array.ndim()))
        .transpose()?;
    let shape: Vec<usize> = match axis {
        None => Vec::new(),
        Some(axis) => (0..a.array.ndim())
            .filter(|&i| i != axis)
            .map(|i| a.array.shape()[i])
            .collect(),
    };
    let wanted = Wanted {
        op: op.name(),
        dtype: if op == Reduction::Sum {
            a.dtype.sum()
        } else {
            a.dtype.mean()
        },
        shape: &shape,
        order: axis.map_or(Order::C, |axis| kept_order(&a, Some(axis))),
        in_place: false,
    };
    let target = Target::new(py, &wanted, &[&a], out)?;
    if op == Reduction::Mean && axis.map_or(a.array.is_empty(), |axis| a.array.shape()[axis] == 0) {
        PyErr::warn(
            py,
            &py.get_type::<PyRuntimeWarning>(),
            c"Mean of empty slice.",
            1,
        )?;
    }
    with_element!(a.dtype, T => match op {
        Reduction::Sum => reduce_with(&a, axis, &target, kernels::sum::<T>, kernels::sum_axis::<T>),
        Reduction::Mean => reduce_with(&a, axis, &target, kernels::mean::<T>, kernels::mean_axis::<T>),
    })?;
    Ok(target)
}

fn reduce_with<T: Element, O: Number>(
    a: &Operand<'_>,
    axis: Option<usize>,
    target: &Target<'_>,
    all: impl FnOnce(&View<T>, &Pool) -> Result<O, Error> + Send,
    along: impl FnOnce(&View<T>, usize, &mut ViewMut<O>, &Pool) -> Result<(), Error> + Send,
) -> PyResult<()> {
    let elements = a.array.len();
    let py = a.array.py();
    // SAFETY: the caller chose T by the operand's dtype and O by the result's; both are held until the kernel is done.
    let (a, mut out) = unsafe { (a.view::<T>(), target.view::<O>()) };
    match axis {
        None => out
            .set(run(py, elements, move |pool| all(&a, pool))?)
            .map_err(exception),
        Some(axis) => run(py, elements, move |pool| along(&a, axis, &mut out, pool)),
    }
}

/// The memory order of a result that has the axes of `a`, less one.
fn kept_order(a: &Operand<'_>, without: Option<usize>) -> Order {
    match Layout::common(&[a]) {
        Layout::C => Order::C,
        Layout::Fortran => Order::Fortran,
        // NumPy puts all axes in order before it leaves one out, which may tell how others go that could go either way.
        Layout::Other => {
            let mut order = axes_in_memory(a.array.ndim(), &[&|i| step(&a.array, i)]);
            if let Some(without) = without {
                order.retain(|&axis| axis != without);
                for axis in order.iter_mut().filter(|axis| **axis > without) {
                    *axis -= 1;
                }
            }
            Order::of(order)
        }
    }
}

/// An axis from 0 to `ndim`, counted from the end if negative.
fn normalize(axis: &Bound<'_, PyAny>, ndim: usize) -> PyResult<usize> {
    let axis: isize = axis.extract().map_err(|_| {
        let given = axis
            .get_type()
            .name()
            .map_or_else(|_| "?".to_owned(), |n| n.to_string());
        PyTypeError::new_err(format!("axis must be an integer or None, not {given}"))
    })?;
    let from_start = if axis < 0 {
        axis.saturating_add_unsigned(ndim)
    } else {
        axis
    };
    match usize::try_from(from_start) {
        Ok(found) if found < ndim => Ok(found),
        _ => Err(axis_error(axis, ndim)),
    }
}

/// NumPy's AxisError, a ValueError and an IndexError.
fn axis_error(axis: isize, ndim: usize) -> PyErr {
    Python::attach(|py| {
        let home = py
            .import("numpy.exceptions")
            .or_else(|_| py.import("numpy"));
        let class = home.and_then(|module| module.getattr("AxisError"));
        match class.and_then(|class| class.call1((axis, ndim))) {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        }
    })
}

/// Runs a kernel, without the GIL if it is worth it. A panic in it, which is a mistake of ours, becomes a `RuntimeError`.
pub fn run<R: Send>(
    py: Python<'_>,
    elements: usize,
    kernel: impl FnOnce(&Pool) -> Result<R, Error> + Send,
) -> PyResult<R> {
    let pool = threads::pool()?;
    let guarded = || catch_unwind(AssertUnwindSafe(|| kernel(pool)));
    let result = if elements < KEEP_GIL_BELOW {
        guarded()
    } else {
        py.detach(guarded)
    };
    result
        .map_err(|panic| panicked(&*panic))?
        .map_err(exception)
}

fn panicked(panic: &(dyn Any + Send)) -> PyErr {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    PyRuntimeError::new_err(format!(
        "raptors: a kernel failed ({message}); this is a mistake in raptors, please report it"
    ))
}

/// The exception that NumPy raises for the like.
fn exception(error: Error) -> PyErr {
    match error {
        Error::Axis { axis, ndim } => axis_error(axis as isize, ndim),
        Error::Threads { .. } => PyRuntimeError::new_err(error.to_string()),
        _ => PyValueError::new_err(error.to_string()),
    }
}
