//! `RAPTORS_THREADS`: how many threads the kernels may use.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use raptors_kernels::Pool;
use std::num::NonZero;
use std::sync::OnceLock;

const VARIABLE: &str = "RAPTORS_THREADS";

struct Configured {
    requested: Option<String>,
    pool: Pool,
}

static CONFIGURED: OnceLock<Configured> = OnceLock::new();

/// Reads the environment. No thread is started yet.
///
/// # Errors
/// `ValueError` for anything but a whole number of threads that can be had.
pub fn configure() -> PyResult<()> {
    if CONFIGURED.get().is_some() {
        return Ok(());
    }
    let requested = variable(VARIABLE);
    let refuse = |value: &str| {
        PyValueError::new_err(format!(
            "{VARIABLE}={value}: allowed are whole numbers from 1 to {}; leave it unset to use every core of this process",
            Pool::most_threads()
        ))
    };
    let pool = match &requested {
        Some(value) => {
            let threads = value.parse().map_err(|_| refuse(value))?;
            Pool::new(threads).map_err(|_| refuse(value))?
        }
        None => Pool::new(available()).map_err(|e| PyValueError::new_err(e.to_string()))?,
    };
    // Somebody else may have been faster, from the same environment.
    let _ = CONFIGURED.set(Configured { requested, pool });
    Ok(())
}

/// The value of an environment variable; `None` also for an empty one, which is what a shell or a compose file makes of "not set".
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)
        .map(|value| value.to_string_lossy().into_owned())
        .filter(|value| !value.is_empty())
}

/// The threads that this process may use (CPU affinity and cgroup quota), 1 if the system does not tell.
fn available() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// The pool of this process.
///
/// # Errors
/// What [`configure`] says; after the module's start it has been called.
pub fn pool() -> PyResult<&'static Pool> {
    configure()?;
    CONFIGURED
        .get()
        .map(|configured| &configured.pool)
        .ok_or_else(|| PyValueError::new_err("the module raptors has not been started"))
}

/// `threads()` -> (what RAPTORS_THREADS asked for or None, the number of threads used, the bytes below which one thread works or
/// None).
#[pyfunction]
pub fn threads() -> PyResult<(Option<String>, usize, Option<usize>)> {
    let pool = pool()?;
    let requested = CONFIGURED.get().and_then(|c| c.requested.clone());
    Ok((requested, pool.threads(), pool.sequential_below()))
}
