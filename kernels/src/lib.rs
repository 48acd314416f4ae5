//! SIMD array kernels on `wide` and `rayon`: no Python, no profiler.
//!
//! In: strided views of any number of axes ([`View`], [`ViewMut`]) and a [`Pool`] of threads. Out: values, or elements written
//! through a [`ViewMut`].
//!
//! # Ops and dtypes
//!
//! One table; every cell is supported. The entry is the dtype of the result.
//!
//! | op                                      | float32 | float64 | int32                                     |
//! |-----------------------------------------|---------|---------|-------------------------------------------|
//! | [`sum`], [`sum_axis`] (`sum_axis0`, `1`)| float32 | float64 | int64, exact (modulo 2^64)                |
//! | [`mean`], [`mean_axis`]                 | float32 | float64 | float64: the exact sum divided by the count |
//! | [`add`], [`broadcast_add`], [`multiply`]| float32 | float64 | int32, wrapping                           |
//! | [`scale`]                               | float32 | float64 | int32, wrapping, by an integer factor     |
//!
//! int32 equals NumPy bit for bit, with one exception: NumPy's mean adds in float64 and so rounds once partial sums pass 2^53
//! (never with fewer than 2^22 elements); here the sum is exact whatever the size. There is no int32 array times a float
//! factor, whose result would not be int32.
//!
//! # Same bits everywhere
//!
//! The result does not depend on the number of threads, nor on the instruction-set level ([`LEVEL`]): the number of lanes is
//! fixed ([`lanes`]), a sum is a fixed tree over fixed blocks, and threads only take over whole subtrees ([`sum()`]).
//!
//! # Where what is
//!
//! `element`, `lanes`: the types · `view`, `axes`: arrays and the order in which they are walked · `broadcast`: operands of the
//! elementwise ops · `elementwise`, `sum`, `axis_sum`: the kernels · `memory`: hints about memory · `buffers`: memory for results ·
//! `pool`, `split`, `team`, `threshold`: threads · `announce`: for whom they work · `level`: instruction sets · `error`.

mod announce;
mod axes;
mod axis_sum;
mod broadcast;
mod buffers;
mod element;
mod elementwise;
mod error;
pub mod lanes;
mod level;
mod memory;
mod pool;
mod split;
mod sum;
mod team;
mod threshold;
mod view;

pub use axis_sum::{mean_axis, sum_axis};
pub use broadcast::{add, broadcast, broadcast_add, is_row, multiply, scale};
pub use buffers::{Buffers, Usage};
pub use element::Element;
pub use error::{Error, tuple};
pub use lanes::Number;
pub use level::{LEVEL, supported};
pub use pool::Pool;
pub use sum::{mean, sum};
pub use view::{View, ViewMut};
