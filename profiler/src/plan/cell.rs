//! The vocabulary of a cell: op x shape x dtype x layout, and the backends that compute it.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{PlanError, name};

/// One op on one kind of array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The op.
    pub op: Op,
    /// Lengths of the axes of the main input.
    pub shape: Shape,
    /// Type of its elements.
    pub dtype: Dtype,
    /// How they lie in memory.
    pub layout: Layout,
}

impl Cell {
    /// A name for files: `broadcast_add-512x512-float32`.
    pub fn name(&self) -> String {
        format!("{}-{}-{}", self.op, self.shape, self.dtype)
    }

    /// Refuses ops that the shape or the dtype does not have, and layouts that a shape can't have.
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
        if !self.op.dtypes().contains(&self.dtype) {
            return Err(PlanError::DtypeMissing {
                op: self.op,
                dtype: self.dtype,
            });
        }
        Ok(())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.op, self.shape, self.dtype)?;
        match self.layout {
            Layout::Contiguous => Ok(()),
            layout => write!(f, " {}", name(&layout)),
        }
    }
}

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Sum of all elements
    Sum,
    /// Mean of all elements
    Mean,
    /// Sum along the first axis
    #[value(name = "sum_axis0")]
    #[serde(rename = "sum_axis0")]
    SumAxis0,
    /// Sum along the second axis
    #[value(name = "sum_axis1")]
    #[serde(rename = "sum_axis1")]
    SumAxis1,
    /// Mean along the first axis
    #[value(name = "mean_axis0")]
    #[serde(rename = "mean_axis0")]
    MeanAxis0,
    /// Mean along the second axis
    #[value(name = "mean_axis1")]
    #[serde(rename = "mean_axis1")]
    MeanAxis1,
    /// Array + array
    Add,
    /// Array + row vector
    BroadcastAdd,
    /// Array * array
    Multiply,
    /// Array * 1.0009765625 (int32: * 2)
    Scale,
}

impl Op {
    /// The dtypes that both backends have this op for.
    pub fn dtypes(self) -> &'static [Dtype] {
        match self {
            Op::Sum
            | Op::Mean
            | Op::SumAxis0
            | Op::SumAxis1
            | Op::MeanAxis0
            | Op::MeanAxis1
            | Op::Add
            | Op::BroadcastAdd
            | Op::Multiply
            | Op::Scale => &[Dtype::Float32, Dtype::Float64, Dtype::Int32],
        }
    }

    fn needs_two_axes(self) -> bool {
        matches!(self, Op::SumAxis1 | Op::MeanAxis1 | Op::BroadcastAdd)
    }

    /// Whether the op reads two arrays of the cell's shape.
    pub(super) fn reads_two(self) -> bool {
        matches!(self, Op::Add | Op::Multiply)
    }

    /// Whether the op adds elements up.
    pub(super) fn reduces(self) -> bool {
        use Op::{Add, BroadcastAdd, Multiply, Scale};
        !matches!(self, Add | BroadcastAdd | Multiply | Scale)
    }

    /// Elements of the result for an input of `shape`.
    pub(super) fn result_elements(self, shape: &Shape) -> u128 {
        let axis = |k: usize| shape.0.get(k).map_or(1, |&len| u128::from(len));
        match self {
            Op::Sum | Op::Mean => 1,
            Op::SumAxis0 | Op::MeanAxis0 => axis(1),
            Op::SumAxis1 | Op::MeanAxis1 => axis(0),
            Op::Add | Op::BroadcastAdd | Op::Multiply | Op::Scale => shape.elements(),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self))
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

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// NumPy: the baseline.
    Numpy,
    /// The module `raptors`: the candidate.
    Raptors,
}

impl Backend {
    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Numpy => "numpy",
            Backend::Raptors => "raptors",
        }
    }

    /// The name in sentences.
    pub fn title(self) -> &'static str {
        match self {
            Backend::Numpy => "NumPy",
            Backend::Raptors => "Raptors",
        }
    }
}

/// Lengths of one or two axes, each at least 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape(Vec<u64>);

impl Shape {
    /// Number of elements.
    pub fn elements(&self) -> u128 {
        self.0.iter().map(|&len| u128::from(len)).product()
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
        let cell = |op, shape: &str| Cell {
            op,
            shape: shape.parse().unwrap(),
            dtype: Dtype::Float32,
            layout: Layout::Contiguous,
        };
        assert_eq!(
            cell(Op::SumAxis1, "5").check().unwrap_err().to_string(),
            "--op sum_axis1 needs a shape of two axes, such as 512x512, and --shape is 5"
        );
        assert_eq!(cell(Op::SumAxis0, "5").check(), Ok(()));
        assert_eq!(cell(Op::SumAxis1, "5x1").check(), Ok(()));
    }

    #[test]
    fn names_are_the_same_on_the_command_line_and_in_json() {
        for op in Op::value_variants() {
            assert_eq!(
                serde_json::to_value(op).unwrap(),
                serde_json::Value::from(name(op))
            );
        }
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
    fn results_have_the_length_that_numpy_gives() {
        let shape: Shape = "3x5".parse().unwrap();
        assert_eq!(Op::Sum.result_elements(&shape), 1);
        assert_eq!(Op::SumAxis0.result_elements(&shape), 5);
        assert_eq!(Op::MeanAxis1.result_elements(&shape), 3);
        assert_eq!(Op::Scale.result_elements(&shape), 15);
        assert_eq!(Op::SumAxis0.result_elements(&"7".parse().unwrap()), 1);
    }
}
