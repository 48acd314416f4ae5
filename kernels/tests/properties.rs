//! The kernels against plain loops, over shapes, strides, types and threads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use raptors_kernels::{
    Element, Error, Number, Pool, View, ViewMut, add, broadcast_add, mean, mean_axis, multiply,
    scale, sum, sum_axis,
};

/// An array to view: which part of `data` it is.
#[derive(Debug, Clone)]
struct Layout {
    shape: Vec<usize>,
    strides: Vec<isize>,
    offset: usize,
    len: usize,
}

impl Layout {
    /// `shape` with the axes in memory order `order`, each with a gap and a direction (`step` 0 repeats one element).
    fn new(shape: &[usize], order: &[usize], steps: &[isize]) -> Self {
        let mut strides = vec![0; shape.len()];
        let (mut offset, mut len) = (0, 1);
        for &axis in order {
            let reach = shape[axis].max(1) - 1;
            strides[axis] = steps[axis] * len as isize;
            if steps[axis] < 0 {
                offset += reach * strides[axis].unsigned_abs();
            }
            len += reach * strides[axis].unsigned_abs();
        }
        Self {
            shape: shape.to_vec(),
            strides,
            offset,
            len,
        }
    }

    fn indices(&self) -> impl Iterator<Item = usize> {
        let count = self.shape.iter().product::<usize>();
        (0..count).map(move |mut number| {
            let mut at = self.offset as isize;
            for (&len, &stride) in self.shape.iter().zip(&self.strides).rev() {
                at += (number % len) as isize * stride;
                number /= len;
            }
            at as usize
        })
    }

    fn view<'a, T>(&self, data: &'a [T]) -> View<'a, T> {
        View::strided(data, self.offset, &self.shape, &self.strides).unwrap()
    }

    fn gather<T: Copy>(&self, data: &[T]) -> Vec<T> {
        self.indices().map(|i| data[i]).collect()
    }
}

fn layouts(shape: Vec<usize>) -> impl Strategy<Value = Layout> {
    let ndim = shape.len();
    let order = Just((0..ndim).collect::<Vec<_>>()).prop_shuffle();
    let steps = prop::collection::vec(prop::sample::select(vec![1, 1, 1, 2, -1, -3, 0]), ndim);
    (order, steps).prop_map(move |(order, steps)| Layout::new(&shape, &order, &steps))
}

fn shapes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        prop::collection::vec(0_usize..6, 0..5),
        prop::collection::vec(
            prop::sample::select(vec![1_usize, 3, 15, 16, 17, 64, 65, 130]),
            1..3
        ),
        (1_usize..3000).prop_map(|n| vec![n]),
        (129_usize..600, 1_usize..40).prop_map(|(m, n)| vec![m, n]),
    ]
}

/// Small whole numbers: every sum of them is exact, so results must be equal whatever the association.
trait Whole: Element {
    fn whole(n: i32) -> Self;
    fn sum_of(n: i64) -> Self::Sum;
    fn mean_of(n: i64, count: usize) -> Self::Mean;
}
macro_rules! whole {
    ($t:ty, $sum:ty, $mean:ty) => {
        impl Whole for $t {
            fn whole(n: i32) -> Self {
                n as $t
            }
            fn sum_of(n: i64) -> $sum {
                n as $sum
            }
            fn mean_of(n: i64, count: usize) -> $mean {
                n as $mean / count as $mean
            }
        }
    };
}
whole!(f32, f32, f32);
whole!(f64, f64, f64);
whole!(i32, i64, f64);

fn fill<T: Whole>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i32 % 64 - 32
    };
    (0..len).map(|_| T::whole(next())).collect()
}

fn pool(threads: usize) -> Pool {
    Pool::new(threads).unwrap()
}

fn same<T: Number + PartialOrd>(a: T, b: T) -> bool {
    let is_nan = |x: T| x.partial_cmp(&x).is_none();
    a == b || (is_nan(a) && is_nan(b))
}

fn check_sums<T: Whole<Mean: PartialOrd>>(layout: &Layout, seed: u64) {
    let data = fill::<T>(layout.len, seed);
    let view = layout.view(&data);
    let ints: Vec<i64> = {
        let as_ints = fill::<i32>(layout.len, seed);
        layout.gather(&as_ints).into_iter().map(i64::from).collect()
    };
    let total = ints.iter().sum();
    let pool = pool(1);
    assert_eq!(sum(&view, &pool).unwrap(), T::sum_of(total));
    assert!(same(
        mean(&view, &pool).unwrap(),
        T::mean_of(total, ints.len())
    ));
    for axis in 0..layout.shape.len() {
        let mut shape = layout.shape.clone();
        let count = shape.remove(axis);
        let inner: usize = layout.shape[axis + 1..].iter().product();
        let outputs: usize = shape.iter().product();
        let expected: Vec<i64> = (0..outputs)
            .map(|o| {
                (0..count)
                    .map(|k| ints[(o / inner * count + k) * inner + o % inner])
                    .sum()
            })
            .collect();
        let mut sums = vec![T::Sum::ZERO; outputs];
        sum_axis(
            &view,
            axis,
            &mut ViewMut::contiguous(&mut sums, &shape).unwrap(),
            &pool,
        )
        .unwrap();
        assert_eq!(
            sums,
            expected.iter().map(|&n| T::sum_of(n)).collect::<Vec<_>>()
        );
        let mut means = vec![T::Mean::ZERO; outputs * 2];
        let mut out = Layout::new(
            &shape,
            &(0..shape.len()).rev().collect::<Vec<_>>(),
            &vec![1; shape.len()],
        );
        if let Some(last) = out.strides.last_mut() {
            *last *= -1;
            out.offset = last.unsigned_abs() * shape[shape.len() - 1].saturating_sub(1);
        }
        let mut view_out = ViewMut::strided(&mut means, out.offset, &shape, &out.strides).unwrap();
        mean_axis(&view, axis, &mut view_out, &pool).unwrap();
        for (got, &n) in out.gather(&means).into_iter().zip(&expected) {
            assert!(same(got, T::mean_of(n, count)));
        }
    }
}

fn check_pairs<T: Whole>(a: &Layout, b: &Layout, out: &Layout, seed: u64) {
    let (x, y) = (fill::<T>(a.len, seed), fill::<T>(b.len, !seed));
    let pool = pool(1);
    type Op<T> = fn(&View<T>, &View<T>, &mut ViewMut<T>, &Pool) -> Result<(), Error>;
    type Expected<T> = fn(T, T) -> T;
    let add: (Op<T>, Expected<T>) = (add, T::plus);
    let multiply: (Op<T>, Expected<T>) = (multiply, T::times);
    for (op, expected) in [add, multiply] {
        let mut z = vec![T::ZERO; out.len];
        op(
            &a.view(&x),
            &b.view(&y),
            &mut ViewMut::strided(&mut z, out.offset, &out.shape, &out.strides).unwrap(),
            &pool,
        )
        .unwrap();
        let broadcast = |own: &Layout| {
            let ndim = out.shape.len();
            let mut full = Layout {
                shape: out.shape.clone(),
                strides: vec![0; ndim],
                ..own.clone()
            };
            for (i, (&len, &stride)) in own.shape.iter().zip(&own.strides).enumerate() {
                full.strides[ndim - own.shape.len() + i] = if len == 1 { 0 } else { stride };
            }
            full
        };
        let (x, y) = (broadcast(a).gather(&x), broadcast(b).gather(&y));
        let expected: Vec<T> = x.into_iter().zip(y).map(|(x, y)| expected(x, y)).collect();
        assert_eq!(out.gather(&z), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 300 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sums_and_means(layout in shapes().prop_flat_map(layouts), seed: u64) {
        check_sums::<f32>(&layout, seed);
        check_sums::<f64>(&layout, seed);
        check_sums::<i32>(&layout, seed);
    }

    #[test]
    fn sums_and_products(
        (a, b, out) in (shapes(), any::<u32>()).prop_flat_map(|(shape, mask)| {
            // b is a with some axes broadcast and some leading axes left out.
            let cut = if shape.is_empty() { 0 } else { mask as usize >> 8 & 1 };
            let b = shape[cut..].iter().enumerate().map(|(i, &n)| if mask >> i & 1 == 1 { 1 } else { n }).collect();
            let order = Just((0..shape.len()).collect::<Vec<_>>()).prop_shuffle();
            let steps = prop::collection::vec(prop::sample::select(vec![1_isize, 1, 2, -1]), shape.len());
            let out = { let shape = shape.clone(); (order, steps).prop_map(move |(o, s)| Layout::new(&shape, &o, &s)) };
            (layouts(shape), layouts(b), out)
        }),
        seed: u64,
    ) {
        check_pairs::<f32>(&a, &b, &out, seed);
        check_pairs::<f64>(&a, &b, &out, seed);
        check_pairs::<i32>(&a, &b, &out, seed);
        check_pairs::<f32>(&b, &a, &out, seed);
    }
}

#[test]
fn integers_wrap_and_their_sums_do_not() {
    let pool = pool(1);
    let a = vec![i32::MAX; 1000];
    let view = View::contiguous(&a, &[1000]).unwrap();
    assert_eq!(sum(&view, &pool).unwrap(), 1000 * i64::from(i32::MAX));
    let mut out = vec![0; 1000];
    add(
        &view,
        &view,
        &mut ViewMut::contiguous(&mut out, &[1000]).unwrap(),
        &pool,
    )
    .unwrap();
    assert!(out.iter().all(|&x| x == -2));
    scale(
        &view,
        2,
        &mut ViewMut::contiguous(&mut out, &[1000]).unwrap(),
        &pool,
    )
    .unwrap();
    assert!(out.iter().all(|&x| x == -2));
}

#[test]
fn nan_and_infinity_pass_through() {
    let pool = pool(1);
    for n in [1, 7, 64, 5000] {
        let mut a = vec![1.0_f32; n];
        a[n / 2] = f32::INFINITY;
        assert_eq!(
            sum(&View::contiguous(&a, &[n]).unwrap(), &pool).unwrap(),
            f32::INFINITY
        );
        a[n - 1] = f32::NAN;
        assert!(
            sum(&View::contiguous(&a, &[n]).unwrap(), &pool)
                .unwrap()
                .is_nan()
        );
    }
}

#[test]
fn in_place_is_element_for_element() {
    let mut a: Vec<f64> = (0..10_000).map(f64::from).collect();
    let (ptr, shape) = (a.as_mut_ptr(), [100, 100]);
    // SAFETY: `a` outlives the views and is not touched meanwhile; `add` allows an output that is its input.
    let (x, mut out) = unsafe {
        (
            View::from_raw(ptr.cast_const(), &shape, [100, 1]),
            ViewMut::from_raw(ptr, &shape, [100, 1]),
        )
    };
    add(&x, &x, &mut out, &pool(1)).unwrap();
    assert!(a.iter().enumerate().all(|(i, &v)| v == 2.0 * i as f64));
}

#[test]
fn what_does_not_fit_is_refused_by_shape() {
    let pool = pool(1);
    let (a, b) = ([0_f32; 6], [0_f32; 4]);
    let mut out = [0_f32; 6];
    let (a, b) = (
        View::contiguous(&a, &[2, 3]).unwrap(),
        View::contiguous(&b, &[4]).unwrap(),
    );
    let mut out = ViewMut::contiguous(&mut out, &[6]).unwrap();
    assert_eq!(
        add(&a, &b, &mut out, &pool),
        Err(Error::Broadcast(vec![2, 3], vec![4]))
    );
    assert_eq!(
        broadcast_add(&a, &b, &mut out, &pool),
        Err(Error::Row {
            array: vec![2, 3],
            row: vec![4]
        })
    );
    assert_eq!(
        multiply(&a, &a, &mut out, &pool),
        Err(Error::Output {
            out: vec![6],
            result: vec![2, 3]
        })
    );
    assert_eq!(
        sum_axis(&a, 2, &mut out, &pool),
        Err(Error::Axis { axis: 2, ndim: 2 })
    );
    assert_eq!(
        sum_axis(&a, 0, &mut out, &pool),
        Err(Error::Output {
            out: vec![6],
            result: vec![3]
        })
    );
}

/// Numbers on which every association of a sum gives other bits.
fn hard<T: From<f32>>(len: usize) -> Vec<T> {
    let mut state = 1_u64;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let mantissa = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
            T::from(mantissa * f32::from((state >> 32) as u8 / 16).exp2())
        })
        .collect()
}

fn bits_at_every_thread_count<T: Element + From<f32>>(shape: [usize; 2]) {
    let len = shape[0] * shape[1];
    let data = hard::<T>(len);
    let transposed = [shape[1], shape[0]];
    let views = [
        View::contiguous(&data, &shape).unwrap(),
        View::strided(&data, 0, &transposed, &[1, shape[1] as isize]).unwrap(),
        View::strided(&data, len - 1, &shape, &[-(shape[1] as isize), -1]).unwrap(),
    ];
    for view in views {
        let results = [1, 2, 3].map(|threads| {
            let pool = Pool::sharing_from(threads, 0).unwrap();
            let mut axis = [0, 1].map(|axis| vec![T::Sum::ZERO; view.shape()[1 - axis]]);
            for (k, out) in axis.iter_mut().enumerate() {
                let len = out.len();
                sum_axis(
                    &view,
                    k,
                    &mut ViewMut::contiguous(out, &[len]).unwrap(),
                    &pool,
                )
                .unwrap();
            }
            let mut row = vec![T::ZERO; len];
            let last = View::strided(&data, 0, &view.shape()[1..], &[1]).unwrap();
            broadcast_add(
                &view,
                &last,
                &mut ViewMut::contiguous(&mut row, view.shape()).unwrap(),
                &pool,
            )
            .unwrap();
            (sum(&view, &pool).unwrap(), axis, row)
        });
        assert!(results[0] == results[1] && results[0] == results[2]);
    }
}

#[test]
#[cfg_attr(miri, ignore = "millions of elements")]
fn the_number_of_threads_changes_no_bit() {
    bits_at_every_thread_count::<f32>([2063, 1021]);
    bits_at_every_thread_count::<f32>([300_007, 7]);
    bits_at_every_thread_count::<f64>([7, 150_001]);
    bits_at_every_thread_count::<f64>([1, 1_100_000]);
}

#[test]
fn sums_are_as_accurate_as_their_bound() {
    let pool = pool(1);
    for len in [100, 5000, if cfg!(miri) { 9000 } else { 300_000 }] {
        let data = hard::<f32>(len);
        let exact: f64 = data.iter().map(|&x| f64::from(x)).sum();
        let size: f64 = data.iter().map(|&x| f64::from(x.abs())).sum();
        let bound = (12.0 + (len as f64).log2().ceil()) * f64::from(f32::EPSILON / 2.0) * size;
        let got = sum(&View::contiguous(&data, &[len]).unwrap(), &pool).unwrap();
        assert!(
            (f64::from(got) - exact).abs() <= bound,
            "{got} {exact} {bound}"
        );
        let mut columns = [0_f32; 2];
        let out = &mut ViewMut::contiguous(&mut columns, &[2]).unwrap();
        sum_axis(
            &View::strided(&data, 0, &[len, 2], &[1, 0]).unwrap(),
            0,
            out,
            &pool,
        )
        .unwrap();
        assert!(
            (f64::from(columns[0]) - exact).abs() <= bound,
            "{} {exact} {bound}",
            columns[0]
        );
    }
}
