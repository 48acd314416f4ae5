//! Which cells: a preset, or the product of what each option lists.
//!
//! In: the options of the command line. Out: one checked plan a cell, before any is measured.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};

use super::SuiteError;
use crate::formats::Formats;
use crate::plan::{
    BackendChoice, BuiltIn, Cell, Dtype, How, Layout, Op, Options, Plan, Shape, Simd, Threads,
};

/// The cells of a suite. Each option may be repeated, and every combination is a cell.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What is measured")]
pub struct Matrix {
    /// A set of cells
    #[arg(long, value_enum, conflicts_with_all = ["op", "shape", "dtype", "layout"])]
    preset: Option<Preset>,
    /// The op: one of these, or FILE.py:CLASS for one of your own
    #[arg(long)]
    op: Vec<Op>,
    /// Shape of the array: R or RxC, such as 512x512
    #[arg(long, allow_hyphen_values = true)]
    shape: Vec<Shape>,
    /// Type of its elements
    #[arg(long, value_enum)]
    dtype: Vec<Dtype>,
    /// How they lie in memory [default: contiguous]
    #[arg(long, value_enum)]
    layout: Vec<Layout>,
    /// Threads of raptors [default: $RAPTORS_THREADS, else all cores]
    #[arg(long, value_name = "N")]
    threads: Vec<Threads>,
    /// Instruction set of raptors [default: $RAPTORS_SIMD, else auto]
    #[arg(long, value_enum)]
    simd: Vec<Simd>,
}

/// A set of cells that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// sum mean mean_axis0 mean_axis1 broadcast_add scale on 512x512, 1024x1024 and 2048x2048, float64 and float32: 36 cells
    #[value(name = "2d")]
    TwoAxes,
    /// The same ops on 512x512 int32, and those that one axis allows on 4096 float64 and 2048 float32: 12 cells
    Mixed,
    /// Every op on 64x64 float32: 10 cells
    Smoke,
}

/// One cell that is to be measured.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What tells it from the others: the name of its run directory, and in baselines.
    pub name: String,
    /// How it is measured.
    pub plan: Plan,
}

impl Matrix {
    /// What is measured, in a word: the preset, or `3-cells`.
    pub fn name(&self, cells: usize) -> String {
        match (self.preset, cells) {
            (Some(preset), _) => preset.name(),
            (None, 1) => "1-cell".to_owned(),
            (None, _) => format!("{cells}-cells"),
        }
    }

    /// All cells, each once.
    ///
    /// # Errors
    /// [`SuiteError`] for the first cell that can't be measured.
    pub fn plans(&self, how: &How) -> Result<Vec<Planned>, SuiteError> {
        let mut planned: Vec<Planned> = Vec::new();
        for cell in self.cells() {
            for &threads in &or_none(&self.threads) {
                for &simd in &or_none(&self.simd) {
                    let plan = Plan::new(options(&cell, threads, simd, how))?;
                    let name = name(&plan.cell, threads, simd);
                    match planned.iter().find(|other| other.name == name) {
                        None => planned.push(Planned { name, plan }),
                        Some(other) if other.plan.cell == plan.cell => {}
                        Some(_) => return Err(SuiteError::SameName { name }),
                    }
                }
            }
        }
        Ok(planned)
    }

    fn cells(&self) -> Vec<Cell> {
        match self.preset {
            Some(preset) => preset.cells(),
            None => product(
                &self.op,
                &or_none(&self.shape),
                &or_none(&self.dtype),
                &or_none(&self.layout),
            ),
        }
    }
}

impl Preset {
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    fn cells(self) -> Vec<Cell> {
        use BuiltIn::{BroadcastAdd, Mean, MeanAxis0, MeanAxis1, Scale, Sum};
        use Dtype::{Float32, Float64, Int32};
        let ops = [Sum, Mean, MeanAxis0, MeanAxis1, BroadcastAdd, Scale];
        // With one axis, mean_axis0 is mean.
        let ops_of_one_axis = [Sum, Mean, Scale];
        let square = |side| vec![side, side];
        match self {
            Preset::TwoAxes => {
                let shapes = [512, 1024, 2048].map(square);
                built_in(&ops, &shapes, &[Float64, Float32])
            }
            Preset::Mixed => [
                built_in(&ops_of_one_axis, &[vec![4096]], &[Float64]),
                built_in(&ops_of_one_axis, &[vec![2048]], &[Float32]),
                built_in(&ops, &[square(512)], &[Int32]),
            ]
            .concat(),
            Preset::Smoke => built_in(BuiltIn::value_variants(), &[square(64)], &[Float32]),
        }
    }
}

fn built_in(ops: &[BuiltIn], shapes: &[Vec<u64>], dtypes: &[Dtype]) -> Vec<Cell> {
    let ops: Vec<Op> = ops.iter().copied().map(Op::BuiltIn).collect();
    let shapes: Vec<_> = shapes.iter().map(|axes| Some(Shape::of(axes))).collect();
    let dtypes: Vec<_> = dtypes.iter().copied().map(Some).collect();
    product(&ops, &shapes, &dtypes, &[None])
}

fn product(
    ops: &[Op],
    shapes: &[Option<Shape>],
    dtypes: &[Option<Dtype>],
    layouts: &[Option<Layout>],
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for op in ops {
        for shape in shapes {
            for &dtype in dtypes {
                cells.extend(layouts.iter().map(|&layout| Cell {
                    op: op.clone(),
                    shape: shape.clone(),
                    dtype,
                    layout,
                }));
            }
        }
    }
    cells
}

/// What an option lists, or once that it is not given.
fn or_none<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    match values {
        [] => vec![None],
        values => values.iter().cloned().map(Some).collect(),
    }
}

/// The options of the main job for one cell.
pub(super) fn options(
    cell: &Cell,
    threads: Option<Threads>,
    simd: Option<Simd>,
    how: &How,
) -> Options {
    Options {
        op: cell.op.clone(),
        shape: cell.shape.clone(),
        dtype: cell.dtype,
        layout: cell.layout,
        backend: BackendChoice::Both,
        threads,
        simd,
        how: how.clone(),
        out: None,
        formats: Formats::default(),
    }
}

/// Cells that differ in anything that the command line says have different names; what the environment says is no part of one.
pub(crate) fn name(cell: &Cell, threads: Option<Threads>, simd: Option<Simd>) -> String {
    let layout = cell.layout.filter(|&layout| layout != Layout::Contiguous);
    let layout = layout.map(|layout| layout.to_string());
    let threads = threads.map(|threads| format!("{threads}-threads"));
    let simd = simd.map(|simd| simd.to_string());
    let parts = [Some(cell.name()), layout, threads, simd];
    parts.into_iter().flatten().collect::<Vec<_>>().join("-")
}

/// The order in which `count` cells are measured, by `seed`: so that no cell always has the same neighbour, or the machine's
/// warmest hour.
pub fn order(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    debug_assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        matrix: Matrix,
        #[command(flatten)]
        how: How,
    }

    fn names(arguments: &[&str]) -> Result<Vec<String>, String> {
        let cli = Cli::try_parse_from([&["suite"], arguments].concat());
        let Cli { matrix, how } = cli.map_err(|error| error.to_string())?;
        let plans = matrix.plans(&how).map_err(|error| error.to_string())?;
        Ok(plans.into_iter().map(|planned| planned.name).collect())
    }

    #[test]
    fn presets_have_the_cells_that_they_promise() {
        for (preset, count, one) in [
            ("2d", 36, "mean_axis1-2048x2048-float64"),
            ("mixed", 12, "scale-4096-float64"),
            ("smoke", 10, "multiply-64x64-float32"),
        ] {
            let names = names(&["--preset", preset]).unwrap();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), count);
            assert_eq!(names.len(), count);
            assert!(names.iter().any(|name| name == one), "{names:?}");
        }
    }

    #[test]
    fn every_combination_is_a_cell_of_its_own() {
        let names = names(&[
            "--op",
            "sum",
            "--op",
            "mean",
            "--shape",
            "8x8",
            "--shape",
            "4x4",
            "--dtype",
            "int32",
            "--layout",
            "fortran",
            "--threads",
            "1",
            "--threads",
            "2",
            "--simd",
            "off",
            "--op",
            "sum",
        ])
        .unwrap();
        assert_eq!(names.len(), 8, "{names:?}");
        assert_eq!(names[0], "sum-8x8-int32-fortran-1-threads-off");
    }

    #[test]
    fn a_cell_that_an_op_does_not_have_is_named() {
        let cells = [
            "--op",
            "sum",
            "--op",
            "sum_axis1",
            "--shape",
            "8x8",
            "--shape",
            "8",
            "--dtype",
            "int32",
        ];
        let error = names(&cells).unwrap_err();
        assert!(
            error.contains("sum_axis1") && error.contains("--shape is 8"),
            "{error}"
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for arguments in [
            &["--preset", "smoke", "--op", "sum"][..],
            &["--preset", "smoke", "--layout", "fortran"],
            &["--op", "sum", "--shape", "8"],
            &["--preset", "smoke", "--shape", "8"],
            &["--preset", "3d"],
        ] {
            assert!(names(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn the_order_comes_from_the_seed_alone() {
        assert_eq!(order(36, 7), order(36, 7));
        assert_ne!(order(36, 7), order(36, 8));
        let mut sorted = order(36, 7);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..36));
    }
}
