//! The element types that the kernels know, and what their sums and means are.

use crate::lanes::{self, Lanes, Number};
use std::ops::Mul;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for i32 {}
}

/// An element of an input array: `f32`, `f64` or `i32`.
pub trait Element: Number + sealed::Sealed {
    /// Its group of lanes.
    type Lanes: Lanes<Elem = Self> + Mul<Output = Self::Lanes>;
    /// The type of a sum: the element's own for floats, `i64` for `i32`.
    type Sum: Number;
    /// The lanes of a sum, as many as [`Element::Lanes`] has.
    type SumLanes: Lanes<Elem = Self::Sum>;
    /// The type of a mean: the element's own for floats, `f64` for `i32`.
    type Mean: Number;

    /// Turns elements into summands.
    fn widen(v: Self::Lanes) -> Self::SumLanes;
    /// `sum / count`, rounded once; NaN for a count of zero.
    fn mean(sum: Self::Sum, count: usize) -> Self::Mean;
}

macro_rules! float {
    ($t:ty, $lanes:ty) => {
        impl Element for $t {
            type Lanes = $lanes;
            type Sum = $t;
            type SumLanes = $lanes;
            type Mean = $t;
            #[inline(always)]
            fn widen(v: $lanes) -> $lanes {
                v
            }
            #[inline(always)]
            fn mean(sum: $t, count: usize) -> $t {
                sum / count as $t
            }
        }
    };
}

float!(f32, lanes::F32);
float!(f64, lanes::F64);

impl Element for i32 {
    type Lanes = lanes::I32;
    type Sum = i64;
    type SumLanes = lanes::I64;
    type Mean = f64;
    #[inline(always)]
    fn widen(v: lanes::I32) -> lanes::I64 {
        lanes::widen(v)
    }
    #[inline(always)]
    fn mean(sum: i64, count: usize) -> f64 {
        sum as f64 / count as f64
    }
}
