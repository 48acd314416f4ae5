//! The vocabulary of a cell: op x shape x dtype x layout, and the backends that compute it.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::compare::Side;

use super::{BuiltIn, Op, PlanError, name};

/// One op on one kind of array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The op.
    pub op: Op,
    /// Lengths of the axes of the main input; an own op may have been given none.
    pub shape: Option<Shape>,
    /// Type of its elements; an own op may have been given none.
    pub dtype: Option<Dtype>,
    /// How they lie in memory; None for an own op, which makes its arrays itself.
    pub layout: Option<Layout>,
}

impl Cell {
    /// A name for files: `broadcast_add-512x512-float32`.
    pub fn name(&self) -> String {
        let shape = self.shape.as_ref().map(Shape::to_string);
        let dtype = self.dtype.as_ref().map(Dtype::to_string);
        let parts = [Some(self.op.file_name()), shape, dtype];
        parts.into_iter().flatten().collect::<Vec<_>>().join("-")
    }

    /// Bytes that a call has to read and write: each input and the result once. None for an own op.
    pub fn bytes_moved(&self) -> Option<u128> {
        let (Op::BuiltIn(op), Some(shape), Some(dtype)) = (&self.op, &self.shape, self.dtype)
        else {
            return None;
        };
        let inputs = shape
            .elements()
            .saturating_mul(1 + u128::from(op.reads_two()));
        let elements = inputs.saturating_add(op.result_elements(shape));
        Some(elements.saturating_mul(dtype.size().into()))
    }
}

/// A cell of a built-in op, which lacks nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BuiltInCell {
    pub(super) op: BuiltIn,
    pub(super) shape: Shape,
    pub(super) dtype: Dtype,
    pub(super) layout: Layout,
}

impl BuiltInCell {
    /// Refuses ops that the shape does not have, and layouts that a shape can't have.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        if self.op.needs_two_axes() && self.shape.0.len() < 2 {
            return Err(PlanError::AxisMissing {
                op: self.op,
                shape: self.shape.clone(),
            });
        }
        if self.layout != Layout::Contiguous && self.shape.0.len() < 2 {
            return Err(PlanError::LayoutIdle {
                layout: self.layout,
                shape: self.shape.clone(),
            });
        }
        Ok(())
    }
}

impl From<BuiltInCell> for Cell {
    fn from(cell: BuiltInCell) -> Cell {
        Cell {
            op: Op::BuiltIn(cell.op),
            shape: Some(cell.shape),
            dtype: Some(cell.dtype),
            layout: Some(cell.layout),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.op)?;
        if let Some(shape) = &self.shape {
            write!(f, " {shape}")?;
        }
        if let Some(dtype) = self.dtype {
            write!(f, " {dtype}")?;
        }
        match self.layout {
            Some(Layout::Contiguous) | None => Ok(()),
            Some(layout) => write!(f, " {layout}"),
        }
    }
}

/// Type of the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 4 bytes
    Float32,
    /// 8 bytes
    Float64,
    /// 4 bytes
    Int32,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> u32 {
        match self {
            Dtype::Float32 | Dtype::Int32 => 4,
            Dtype::Float64 => 8,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self))
    }
}

/// How the elements of a two-dimensional array lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Row after row
    Contiguous,
    /// The `.T` view of a contiguous array of the reversed shape
    Transpose,
    /// An array of its own, column after column
    Fortran,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self))
    }
}

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// NumPy: the baseline of a built-in op.
    Numpy,
    /// The module `raptors`: the candidate of a built-in op.
    Raptors,
    /// The method `baseline` of an own op.
    Baseline,
    /// The method `candidate` of an own op.
    Candidate,
}

impl Backend {
    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Numpy => "numpy",
            Backend::Raptors => "raptors",
            Backend::Baseline => "baseline",
            Backend::Candidate => "candidate",
        }
    }

    /// The name in titles.
    pub fn title(self) -> &'static str {
        match self {
            Backend::Numpy => "NumPy",
            Backend::Raptors => "Raptors",
            Backend::Baseline => "Baseline",
            Backend::Candidate => "Candidate",
        }
    }

    /// Its part in the comparison.
    pub fn side(self) -> Side {
        match self {
            Backend::Numpy | Backend::Baseline => Side::Baseline,
            Backend::Raptors | Backend::Candidate => Side::Candidate,
        }
    }
}

/// Lengths of one or two axes, each at least 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape(Vec<u64>);

impl Shape {
    /// The shape with these axes, of which none is empty.
    pub(crate) fn of(axes: &[u64]) -> Shape {
        Shape(axes.to_vec())
    }

    /// Number of elements.
    pub fn elements(&self) -> u128 {
        let lengths = self.0.iter().map(|&len| u128::from(len));
        lengths.fold(1, u128::saturating_mul)
    }

    /// Length of an axis; 1 for one that there is not.
    pub(super) fn axis(&self, index: usize) -> u128 {
        self.0.get(index).map_or(1, |&len| u128::from(len))
    }

    /// Length of the last axis.
    pub(super) fn row_len(&self) -> u128 {
        self.0.last().map_or(0, |&len| u128::from(len))
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let axes: Option<Vec<u64>> = text.split(['x', '*']).map(axis).collect();
        match axes {
            Some(axes) if axes.len() <= 2 => Ok(Shape(axes)),
            _ => Err(
                "allowed are R and RxC (or R*C) with whole numbers from 1, such as 4096 or 512x512"
                    .to_owned(),
            ),
        }
    }
}

/// Digits only: `u64::from_str` would take a plus sign.
fn axis(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&len| digits && len > 0)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes: Vec<String> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&axes.join("x"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_one_or_two_axes() {
        assert_eq!("512x256".parse(), Ok(Shape(vec![512, 256])));
        assert_eq!("512*256".parse(), Ok(Shape(vec![512, 256])));
        assert_eq!("4096".parse(), Ok(Shape(vec![4096])));
        for text in [
            "0x5",
            "5x0",
            "-1x5",
            "abc",
            "",
            "x",
            "5x",
            "1x2x3",
            "+1x5",
            "1 x5",
            "99999999999999999999",
        ] {
            assert!(text.parse::<Shape>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_op_that_needs_an_axis_names_it() {
        let cell = |op, shape: &str| BuiltInCell {
            op,
            shape: shape.parse().unwrap(),
            dtype: Dtype::Float32,
            layout: Layout::Contiguous,
        };
        assert_eq!(
            cell(BuiltIn::SumAxis1, "5")
                .check()
                .unwrap_err()
                .to_string(),
            "--op sum_axis1 needs a shape of two axes, such as 512x512, and --shape is 5"
        );
        assert_eq!(cell(BuiltIn::SumAxis0, "5").check(), Ok(()));
        assert_eq!(cell(BuiltIn::SumAxis1, "5x1").check(), Ok(()));
    }

    #[test]
    fn names_are_the_same_on_the_command_line_and_in_json() {
        for dtype in Dtype::value_variants() {
            assert_eq!(
                serde_json::to_value(dtype).unwrap(),
                serde_json::Value::from(name(dtype))
            );
        }
        for layout in Layout::value_variants() {
            assert_eq!(
                serde_json::to_value(layout).unwrap(),
                serde_json::Value::from(name(layout))
            );
        }
    }

    #[test]
    fn a_call_moves_its_inputs_and_its_result() {
        let moved = |op, shape: &str| {
            Cell::from(BuiltInCell {
                op,
                shape: shape.parse().unwrap(),
                dtype: Dtype::Float32,
                layout: Layout::Contiguous,
            })
            .bytes_moved()
        };
        assert_eq!(moved(BuiltIn::Sum, "10x10"), Some(404));
        assert_eq!(moved(BuiltIn::MeanAxis0, "10x10"), Some(440));
        assert_eq!(moved(BuiltIn::Scale, "10x10"), Some(800));
        assert_eq!(moved(BuiltIn::Add, "10x10"), Some(1200));
    }

    #[test]
    fn an_own_op_is_called_what_it_was_given() {
        let mut cell = Cell {
            op: "a b/ops.py:Sum".to_owned().try_into().unwrap(),
            shape: None,
            dtype: None,
            layout: None,
        };
        assert_eq!(
            (cell.to_string(), cell.name()),
            ("a b/ops.py:Sum".to_owned(), "Sum".to_owned())
        );
        cell.shape = "3x4".parse().ok();
        cell.dtype = Some(Dtype::Int32);
        assert_eq!(cell.to_string(), "a b/ops.py:Sum 3x4 int32");
        assert_eq!(cell.name(), "Sum-3x4-int32");
    }
}
