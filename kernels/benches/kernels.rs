//! The kernels alone, without Python: `RUSTFLAGS='-C target-cpu=native' cargo bench -p raptors-kernels`.
//!
//! Each on one thread and on all, on square arrays in C order; the output is allocated once. `scripts/bench.py` measures what a user sees.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use raptors_kernels::{Element, Error, Number, Pool, View, ViewMut};

const SIDES: [usize; 5] = [64, 512, 1024, 2048, 4096];
const THREADS: [usize; 2] = [1, 2];

fn main() {
    divan::main();
}

/// Runs `op` on a square of zeros and an output of `outputs` elements.
fn run<T: Element, O: Number>(
    bencher: Bencher,
    (side, threads): (usize, usize),
    outputs: usize,
    op: impl Fn(&View<T>, &mut [O], &Pool) -> Result<(), Error> + Sync,
) {
    let prepared = Pool::new(threads).map(|pool| (pool, vec![T::ZERO; side * side]));
    let (pool, data) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return eprintln!("{error}"),
    };
    let Ok(view) = View::contiguous(&data, &[side, side]) else {
        return;
    };
    let mut out = vec![O::ZERO; outputs];
    bencher
        .counter(BytesCount::of_slice(&data))
        .bench_local(|| op(black_box(&view), black_box(&mut out), &pool));
}

/// Every side with every number of threads.
fn cells() -> impl Iterator<Item = (usize, usize)> {
    SIDES
        .into_iter()
        .flat_map(|side| THREADS.map(|threads| (side, threads)))
}

macro_rules! benches {
    ($($name:ident, $out:ident, $outputs:expr, |$view:ident, $to:ident, $pool:ident| $op:expr;)*) => {$(
        #[divan::bench(types = [f32, f64, i32], args = cells(), name = stringify!($name))]
        fn $name<T: Element>(bencher: Bencher, cell: (usize, usize)) {
            let outputs: fn(usize) -> usize = $outputs;
            run::<T, T::$out>(bencher, cell, outputs(cell.0), |$view, $to, $pool| $op);
        }
    )*};
}

benches! {
    sum, Sum, |_| 1, |view, to, pool| raptors_kernels::sum(view, pool).map(|sum| to[0] = sum);
    sum_axis0, Sum, |n| n, |view, to, pool| raptors_kernels::sum_axis(view, 0, &mut ViewMut::contiguous(to, &view.shape()[1..])?, pool);
    sum_axis1, Sum, |n| n, |view, to, pool| raptors_kernels::sum_axis(view, 1, &mut ViewMut::contiguous(to, &view.shape()[..1])?, pool);
}

macro_rules! elementwise {
    ($($name:ident, |$view:ident, $to:ident, $pool:ident| $op:expr;)*) => {$(
        #[divan::bench(types = [f32, f64, i32], args = cells(), name = stringify!($name))]
        fn $name<T: Element>(bencher: Bencher, cell: (usize, usize)) {
            run::<T, T>(bencher, cell, cell.0 * cell.0, |$view, out, $pool| {
                let $to = &mut ViewMut::contiguous(out, $view.shape())?;
                $op
            });
        }
    )*};
}

elementwise! {
    add, |view, to, pool| raptors_kernels::add(view, view, to, pool);
    broadcast_add, |view, to, pool| {
        let row = vec![T::ZERO; view.shape()[1]];
        raptors_kernels::broadcast_add(view, &View::contiguous(&row, &view.shape()[1..])?, to, pool)
    };
    scale, |view, to, pool| raptors_kernels::scale(view, T::ZERO, to, pool);
}
