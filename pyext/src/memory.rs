//! `RAPTORS_POOL_BYTES`: large results lie in buffers that are used again.
//!
//! NumPy lets an array's memory come from a handler (NEP 49), which it keeps with the array and gives the memory back to when the
//! array dies. So a result is an array like any other, one that owns its data. The handler is in force only while we make one.

use crate::threads::variable;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyCapsule;
use raptors_kernels::Buffers;
use std::ffi::{c_char, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

const VARIABLE: &str = "RAPTORS_POOL_BYTES";

/// The most bytes that are kept for later, unless the environment says another number.
const DEFAULT: usize = 256 << 20;

/// Results below this size come from NumPy's allocator: the C library's heap has no fresh pages for them either, and setting the
/// handler takes a tenth of a microsecond.
const SMALLEST: usize = 256 << 10;

struct Configured {
    requested: Option<String>,
    buffers: Buffers,
}

static CONFIGURED: OnceLock<Configured> = OnceLock::new();

/// Reads the environment.
///
/// # Errors
/// `ValueError` for anything but a whole number of bytes.
pub fn configure() -> PyResult<()> {
    if CONFIGURED.get().is_some() {
        return Ok(());
    }
    let requested = variable(VARIABLE);
    let limit = match &requested {
        Some(value) => value.parse().map_err(|_| {
            PyValueError::new_err(format!(
                "{VARIABLE}={value}: allowed are whole numbers of bytes, 0 to keep no memory; leave it unset for {DEFAULT}"
            ))
        })?,
        None => DEFAULT,
    };
    // Somebody else may have been faster, from the same environment.
    let _ = CONFIGURED.set(Configured {
        requested,
        buffers: Buffers::new(limit),
    });
    Ok(())
}

/// `memory()` -> (what RAPTORS_POOL_BYTES asked for or None, the limit, bytes idle, hits, misses).
#[pyfunction]
pub fn memory() -> PyResult<(Option<String>, usize, usize, u64, u64)> {
    configure()?;
    let configured = CONFIGURED.get();
    let Configured { requested, buffers } = configured
        .ok_or_else(|| PyRuntimeError::new_err("the module raptors has not been started"))?;
    let usage = buffers.usage();
    Ok((
        requested.clone(),
        buffers.limit(),
        usage.idle,
        usage.hits,
        usage.misses,
    ))
}

/// Runs `make`, which makes an array of `size` bytes; its data comes from our buffers if it is large.
///
/// # Errors
/// Those of `make`, and NumPy's for a handler that cannot be set.
pub fn with_buffers<'py, R>(
    py: Python<'py>,
    size: usize,
    make: impl FnOnce() -> PyResult<R>,
) -> PyResult<R> {
    let pooled = CONFIGURED.get().is_some_and(|c| c.buffers.limit() >= size);
    if size < SMALLEST || !pooled {
        return make();
    }
    let numpy = Numpy::get(py)?;
    let before = numpy.set(py, numpy.handler.bind(py).as_any())?;
    let made = make();
    numpy.set(py, &before)?;
    made
}

/// NumPy's function that sets the handler, and our handler as NumPy wants it.
struct Numpy {
    set_handler: unsafe extern "C" fn(*mut ffi::PyObject) -> *mut ffi::PyObject,
    handler: Py<PyCapsule>,
}

impl Numpy {
    /// Where `PyDataMem_SetHandler` is in the table of NumPy's C functions, from NumPy 1.22 on.
    const SET_HANDLER: usize = 304;

    fn get(py: Python<'_>) -> PyResult<&Self> {
        static NUMPY: PyOnceLock<Numpy> = PyOnceLock::new();
        NUMPY.get_or_try_init(py, || {
            let module = py
                .import("numpy._core.multiarray")
                .or_else(|_| py.import("numpy.core.multiarray"))?;
            let table = module.getattr("_ARRAY_API")?;
            // SAFETY: NumPy keeps the table as long as it lives; the entry is a function of this type in every NumPy that the
            // package admits (1.23 and newer).
            let set_handler = unsafe {
                let table = ffi::PyCapsule_GetPointer(table.as_ptr(), std::ptr::null());
                let table = NonNull::new(table).ok_or_else(|| PyErr::fetch(py))?;
                table.cast().add(Self::SET_HANDLER).read()
            };
            // SAFETY: the handler is a static of the layout that NumPy documents.
            let handler = unsafe {
                let handler = (&raw const HANDLER).cast_mut().cast();
                let capsule = ffi::PyCapsule_New(handler, c"mem_handler".as_ptr(), None);
                Bound::from_owned_ptr_or_err(py, capsule)?.cast_into_unchecked()
            };
            Ok(Self {
                set_handler,
                handler: handler.unbind(),
            })
        })
    }

    /// Sets the handler; returns the one before.
    fn set<'py>(
        &self,
        py: Python<'py>,
        handler: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: a capsule of a handler, which NumPy takes its own reference to; it returns a new reference or an error.
        unsafe { Bound::from_owned_ptr_or_err(py, (self.set_handler)(handler.as_ptr())) }
    }
}

/// NumPy's `PyDataMem_Handler`, version 1.
#[repr(C)]
struct Handler {
    name: [c_char; 127],
    version: u8,
    context: *mut c_void,
    malloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    calloc: unsafe extern "C" fn(*mut c_void, usize, usize) -> *mut c_void,
    realloc: unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void, *mut c_void, usize),
}

// SAFETY: it is never written, and its context is null.
unsafe impl Sync for Handler {}

static HANDLER: Handler = Handler {
    name: name(b"raptors"),
    version: 1,
    context: std::ptr::null_mut(),
    malloc,
    calloc,
    realloc,
    free,
};

const fn name(text: &[u8]) -> [c_char; 127] {
    let mut name = [0; 127];
    let mut i = 0;
    while i < text.len() {
        name[i] = text[i] as c_char;
        i += 1;
    }
    name
}

/// Memory for `size` bytes, null if there is none.
fn take(size: usize) -> *mut c_void {
    CONFIGURED
        .get()
        .and_then(|configured| configured.buffers.take(size))
        .map_or(std::ptr::null_mut(), |data| data.as_ptr().cast())
}

unsafe extern "C" fn malloc(_: *mut c_void, size: usize) -> *mut c_void {
    take(size)
}

unsafe extern "C" fn calloc(_: *mut c_void, count: usize, size: usize) -> *mut c_void {
    let Some(size) = count.checked_mul(size) else {
        return std::ptr::null_mut();
    };
    let data = take(size);
    if !data.is_null() {
        // SAFETY: a buffer of at least `size` bytes.
        unsafe { data.cast::<u8>().write_bytes(0, size) };
    }
    data
}

unsafe extern "C" fn realloc(context: *mut c_void, old: *mut c_void, size: usize) -> *mut c_void {
    let Some(data) = NonNull::new(old.cast::<u8>()) else {
        return take(size);
    };
    let new = take(size);
    if !new.is_null() {
        // SAFETY: `old` is a buffer of ours in use, `new` another one; what fits into both is copied.
        unsafe {
            let kept = Buffers::capacity(data).min(size);
            new.cast::<u8>()
                .copy_from_nonoverlapping(data.as_ptr(), kept);
            free(context, old, 0);
        }
    }
    new
}

unsafe extern "C" fn free(_: *mut c_void, data: *mut c_void, _: usize) {
    if let (Some(configured), Some(data)) = (CONFIGURED.get(), NonNull::new(data.cast())) {
        // SAFETY: NumPy gives back what it got here, once.
        unsafe { configured.buffers.give(data) };
    }
}
