//! What can go wrong: shapes that do not fit, and threads that the system refuses.

use std::fmt::Write;

/// Why an operation was refused. Nothing has been written when one of these comes back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The operands' shapes do not broadcast.
    #[error("operands could not be broadcast together with shapes {} {}", tuple(.0), tuple(.1))]
    Broadcast(Vec<usize>, Vec<usize>),
    /// The second operand of `broadcast_add` is not a row of the first.
    #[error("cannot add a row of shape {} to an array of shape {}: its shape must be the array's last axis", tuple(.row), tuple(.array))]
    Row {
        /// Shape of the array.
        array: Vec<usize>,
        /// Shape of what was to be its row.
        row: Vec<usize>,
    },
    /// The output does not have the shape of the result.
    #[error("output has shape {}, but the result has shape {}", tuple(.out), tuple(.result))]
    Output {
        /// Shape of the output that was given.
        out: Vec<usize>,
        /// Shape that it must have.
        result: Vec<usize>,
    },
    /// No such axis.
    #[error("axis {axis} is out of bounds for array of dimension {ndim}")]
    Axis {
        /// The axis that was asked for.
        axis: usize,
        /// The array's number of axes.
        ndim: usize,
    },
    /// Shape, strides and memory do not belong together.
    #[error("shape {} with {strides} strides does not describe {len} elements", tuple(.shape))]
    Layout {
        /// The shape.
        shape: Vec<usize>,
        /// The number of strides.
        strides: usize,
        /// The number of elements in memory.
        len: usize,
    },
    /// A number of threads that cannot be had.
    #[error("cannot run {threads} threads: {reason}; set RAPTORS_THREADS to a smaller number")]
    Threads {
        /// The number that was asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

/// A shape as NumPy writes it: `()`, `(3,)`, `(2,3)`.
pub fn tuple(shape: &[usize]) -> String {
    let mut text = String::from("(");
    for (i, n) in shape.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{n}");
    }
    text.push_str(if shape.len() == 1 { ",)" } else { ")" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_read_as_in_numpy() {
        assert_eq!(tuple(&[]), "()");
        assert_eq!(tuple(&[3]), "(3,)");
        assert_eq!(
            Error::Broadcast(vec![2, 3], vec![4]).to_string(),
            "operands could not be broadcast together with shapes (2,3) (4,)"
        );
    }
}
