//! The dtypes that the kernels know.

use numpy::{PyArrayDescr, PyArrayDescrMethods};
use pyo3::prelude::*;

/// The dtype of an array. `Int64` is only the result of summing `Int32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    Float32,
    Float64,
    Int32,
    Int64,
}

/// What operands may be, for messages.
pub const OPERANDS: &str = "float32, float64, int32 (native byte order)";

impl Dtype {
    /// The dtype of an operand, `None` if the kernels do not know it.
    pub fn of_operand(descr: &Bound<'_, PyArrayDescr>) -> Option<Self> {
        Self::of(descr).filter(|&dtype| dtype != Self::Int64)
    }

    /// The dtype of a result, `None` if it cannot be one.
    pub fn of(descr: &Bound<'_, PyArrayDescr>) -> Option<Self> {
        if descr.is_native_byteorder() != Some(true) {
            return None;
        }
        match (descr.kind(), descr.itemsize()) {
            (b'f', 4) => Some(Self::Float32),
            (b'f', 8) => Some(Self::Float64),
            (b'i', 4) => Some(Self::Int32),
            (b'i', 8) => Some(Self::Int64),
            _ => None,
        }
    }

    /// NumPy's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
        }
    }

    /// NumPy's object.
    pub fn descr(self, py: Python<'_>) -> Bound<'_, PyArrayDescr> {
        match self {
            Self::Float32 => numpy::dtype::<f32>(py),
            Self::Float64 => numpy::dtype::<f64>(py),
            Self::Int32 => numpy::dtype::<i32>(py),
            Self::Int64 => numpy::dtype::<i64>(py),
        }
    }

    /// The dtype of a sum.
    pub fn sum(self) -> Self {
        if self == Self::Int32 {
            Self::Int64
        } else {
            self
        }
    }

    /// The dtype of a mean.
    pub fn mean(self) -> Self {
        if self == Self::Int32 {
            Self::Float64
        } else {
            self
        }
    }
}
