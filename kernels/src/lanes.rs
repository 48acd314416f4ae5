//! Groups of lanes: the one vector type that every kernel body is written in.
//!
//! In: elements in memory. Out: elements in memory. The number of lanes is the same at every instruction-set level
//! (16 x 32 bit, 8 x 64 bit), so the association of a sum, and with it every bit of it, is the same too. Without the
//! feature `scalar` the groups are `wide` vectors, which use what the build's `target-cpu` has; with it they are plain arrays.

use std::ops::Add;

/// What an element can do by itself. Integers wrap, as in NumPy.
pub trait Number: Copy + Send + Sync + PartialEq + std::fmt::Debug + 'static {
    /// Neutral element of addition.
    const ZERO: Self;
    /// `self + other`.
    fn plus(self, other: Self) -> Self;
    /// `self * other`.
    fn times(self, other: Self) -> Self;
}

macro_rules! number {
    ($t:ty, $zero:expr, |$a:ident, $b:ident| $plus:expr, $times:expr) => {
        impl Number for $t {
            const ZERO: Self = $zero;
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $plus
            }
            #[inline(always)]
            fn times(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $times
            }
        }
    };
}

number!(f32, 0.0, |a, b| a + b, a * b);
number!(f64, 0.0, |a, b| a + b, a * b);
number!(i32, 0, |a, b| a.wrapping_add(b), a.wrapping_mul(b));
number!(i64, 0, |a, b| a.wrapping_add(b), a.wrapping_mul(b));

/// The most lanes that a group has.
pub const MAX_LANES: usize = 16;

/// A group of lanes.
///
/// # Safety
/// The implementing type is laid out exactly as `[Self::Elem; Self::LEN]` (it may be more strictly aligned), any bit
/// pattern of elements is valid for it, and `LEN` is a power of two that is at most [`MAX_LANES`].
pub unsafe trait Lanes: Copy + Send + Sync + Add<Output = Self> + 'static {
    /// The type of one lane.
    type Elem: Number;
    /// How many lanes there are.
    const LEN: usize = size_of::<Self>() / size_of::<Self::Elem>();

    /// Every lane set to `value`.
    fn splat(value: Self::Elem) -> Self;

    /// Reads `LEN` elements; `from` needs only the element's alignment.
    ///
    /// # Safety
    /// `from` must be valid for reading `LEN` elements.
    #[inline(always)]
    unsafe fn load(from: *const Self::Elem) -> Self {
        // SAFETY: the caller's promise, and the trait's: same layout, any bits valid.
        unsafe { from.cast::<Self>().read_unaligned() }
    }

    /// Writes `LEN` elements; `to` needs only the element's alignment.
    ///
    /// # Safety
    /// `to` must be valid for writing `LEN` elements.
    #[inline(always)]
    unsafe fn store(self, to: *mut Self::Elem) {
        // SAFETY: the caller's promise, and the trait's: same layout.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }

    /// Reads the first `count` lanes, sets the others to zero.
    ///
    /// # Safety
    /// `count <= LEN`, and `from` must be valid for reading `count` elements.
    #[inline(always)]
    unsafe fn load_first(from: *const Self::Elem, count: usize) -> Self {
        let mut lanes = [Self::Elem::ZERO; MAX_LANES];
        // SAFETY: count <= LEN <= MAX_LANES, so both the copy and the load stay inside `lanes`.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
            Self::load(lanes.as_ptr())
        }
    }

    /// Writes the first `count` lanes.
    ///
    /// # Safety
    /// `count <= LEN`, and `to` must be valid for writing `count` elements.
    #[inline(always)]
    unsafe fn store_first(self, to: *mut Self::Elem, count: usize) {
        let mut lanes = [Self::Elem::ZERO; MAX_LANES];
        // SAFETY: LEN <= MAX_LANES for the store, count <= LEN for the copy.
        unsafe {
            self.store(lanes.as_mut_ptr());
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
        }
    }

    /// The sum of all lanes by a fixed tree: upper half onto lower half until one is left.
    #[inline(always)]
    fn total(self) -> Self::Elem {
        let mut lanes = [Self::Elem::ZERO; MAX_LANES];
        // SAFETY: LEN <= MAX_LANES.
        unsafe { self.store(lanes.as_mut_ptr()) };
        let mut half = Self::LEN / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] = lanes[i].plus(lanes[i + half]);
            }
            half /= 2;
        }
        lanes[0]
    }
}

#[cfg(not(feature = "scalar"))]
mod vector {
    use super::{Add, Lanes};

    /// 16 lanes of `f32`.
    pub type F32 = wide::f32x16;
    /// 8 lanes of `f64`.
    pub type F64 = wide::f64x8;
    /// 16 lanes of `i32`.
    pub type I32 = wide::i32x16;

    /// 16 lanes of `i64`, the sums of an [`I32`].
    #[derive(Clone, Copy)]
    #[repr(C)]
    pub struct I64(wide::i64x8, wide::i64x8);

    impl Add for I64 {
        type Output = Self;
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(self.0 + other.0, self.1 + other.1)
        }
    }

    macro_rules! lanes {
        ($($lanes:ty, $elem:ty;)*) => {$(
            // SAFETY: `wide` vectors are plain old data, laid out as the array of their lanes, 8 or 16 of them.
            unsafe impl Lanes for $lanes {
                type Elem = $elem;
                #[inline(always)]
                fn splat(value: $elem) -> Self {
                    <$lanes>::splat(value)
                }
            }
        )*};
    }

    lanes! { F32, f32; F64, f64; I32, i32; }

    // SAFETY: `repr(C)` pair of two 8-lane vectors without padding between them: 16 lanes in order.
    unsafe impl Lanes for I64 {
        type Elem = i64;
        #[inline(always)]
        fn splat(value: i64) -> Self {
            Self(wide::i64x8::splat(value), wide::i64x8::splat(value))
        }
    }

    /// Sign-extends every lane.
    #[inline(always)]
    pub fn widen(v: I32) -> I64 {
        let v = v.to_array();
        I64(
            wide::i64x8::new(std::array::from_fn(|i| i64::from(v[i]))),
            wide::i64x8::new(std::array::from_fn(|i| i64::from(v[i + 8]))),
        )
    }
}

#[cfg(feature = "scalar")]
mod vector {
    use super::{Add, Lanes, Number};
    use std::ops::Mul;

    /// A group of lanes without a vector type.
    #[derive(Clone, Copy)]
    #[repr(transparent)]
    pub struct Group<T, const N: usize>([T; N]);

    /// 16 lanes of `f32`.
    pub type F32 = Group<f32, 16>;
    /// 8 lanes of `f64`.
    pub type F64 = Group<f64, 8>;
    /// 16 lanes of `i32`.
    pub type I32 = Group<i32, 16>;
    /// 16 lanes of `i64`, the sums of an [`I32`].
    pub type I64 = Group<i64, 16>;

    impl<T: Number, const N: usize> Add for Group<T, N> {
        type Output = Self;
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(std::array::from_fn(|i| self.0[i].plus(other.0[i])))
        }
    }

    impl<T: Number, const N: usize> Mul for Group<T, N> {
        type Output = Self;
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Self(std::array::from_fn(|i| self.0[i].times(other.0[i])))
        }
    }

    // SAFETY: `repr(transparent)` over `[T; N]`, T one of the four numbers; only the sizes 8 and 16 are named above.
    unsafe impl<T: Number, const N: usize> Lanes for Group<T, N> {
        type Elem = T;
        #[inline(always)]
        fn splat(value: T) -> Self {
            Self([value; N])
        }
    }

    /// Sign-extends every lane.
    #[inline(always)]
    pub fn widen(v: I32) -> I64 {
        Group(std::array::from_fn(|i| i64::from(v.0[i])))
    }
}

pub use vector::{F32, F64, I32, I64, widen};

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Lanes>(values: impl Fn(usize) -> L::Elem, expected: L::Elem) {
        let source: Vec<L::Elem> = (0..L::LEN).map(values).collect();
        // SAFETY: `source` has LEN elements.
        let lanes = unsafe { L::load(source.as_ptr()) };
        assert_eq!(lanes.total(), expected);
        for count in 0..=L::LEN {
            let mut copy = vec![L::Elem::ZERO; L::LEN];
            // SAFETY: count <= LEN, both vectors have LEN elements.
            unsafe { L::load_first(source.as_ptr(), count).store_first(copy.as_mut_ptr(), count) };
            assert_eq!(copy[..count], source[..count]);
            assert!(copy[count..].iter().all(|&x| x == L::Elem::ZERO));
        }
    }

    #[test]
    fn lanes_keep_their_order_and_total() {
        check::<F32>(|i| i as f32, 120.0);
        check::<F64>(|i| i as f64, 28.0);
        check::<I32>(|i| i as i32, 120);
        check::<I64>(|i| i as i64, 120);
    }

    #[test]
    fn widening_keeps_sign_and_order() {
        let source: [i32; 16] = std::array::from_fn(|i| {
            if i % 2 == 0 {
                i32::MIN + i as i32
            } else {
                i32::MAX - i as i32
            }
        });
        let mut wide = [0i64; 16];
        // SAFETY: both arrays have 16 elements.
        unsafe { widen(I32::load(source.as_ptr())).store(wide.as_mut_ptr()) };
        assert_eq!(wide, source.map(i64::from));
    }
}
