//! The Python module `raptors`: NumPy arrays in, kernels called without the GIL, NumPy arrays out.
//!
//! The way of a call: `functions` or `array` (what Python sees) -> `operand` (checks what came in) -> `target` and `memory` (where
//! the result goes) -> `ops` (calls the kernel). The crate is built once per instruction-set level, and the module is named after it; the
//! Python package picks one.

mod array;
mod dtype;
mod functions;
mod memory;
mod operand;
mod ops;
mod target;
mod threads;

use pyo3::prelude::*;

/// The kernels of one instruction-set level.
#[cfg_attr(feature = "scalar", pymodule, pyo3(name = "_off"))]
#[cfg_attr(
    all(not(feature = "scalar"), target_feature = "avx512f"),
    pymodule,
    pyo3(name = "_avx512")
)]
#[cfg_attr(
    all(
        not(feature = "scalar"),
        target_feature = "avx2",
        not(target_feature = "avx512f")
    ),
    pymodule,
    pyo3(name = "_avx2")
)]
#[cfg_attr(
    all(
        not(feature = "scalar"),
        target_arch = "x86_64",
        not(target_feature = "avx2")
    ),
    pymodule,
    pyo3(name = "_sse2")
)]
#[cfg_attr(
    all(not(feature = "scalar"), not(target_arch = "x86_64")),
    pymodule,
    pyo3(name = "_neon")
)]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    threads::configure()?;
    memory::configure()?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("LEVEL", raptors_kernels::LEVEL)?;
    module.add("SUPPORTED", raptors_kernels::supported())?;
    module.add_class::<array::Array>()?;
    module.add_function(wrap_pyfunction!(threads::threads, module)?)?;
    module.add_function(wrap_pyfunction!(memory::memory, module)?)?;
    functions::register(module)
}
