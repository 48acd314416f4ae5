//! The part that a native function plays in a Python process, told by its symbol.

/// The part of a native function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Code that somebody wants to see.
    Plain,
    /// The interpreter's evaluator: a Python frame, or several, run in it.
    Evaluator,
    /// Call plumbing of the interpreter, of program start and of thread start.
    Glue,
    /// A nameless function of the C library: at the root it is program start, elsewhere it is shown.
    NamelessLibc,
    /// How a thread pool (Rayon) hands out work: left out where work follows.
    Pool,
    /// A function of the C library or of Rust's: shown, but no work of its own where a pool calls it.
    Library,
    /// A wrapper around one machine instruction: its caller is what runs.
    Instruction,
}

/// How call plumbing of CPython 3.8 to 3.13, glibc and Rust's threads is called, by prefix.
const GLUE: [&str; 51] = [
    "_start",
    "__libc_start_main",
    "__libc_start_call_main",
    "main",
    "Py_BytesMain",
    "Py_RunMain",
    "Py_Main",
    "pymain_",
    "_PyRun_",
    "PyRun_",
    "pyrun_",
    "run_mod",
    "run_eval_code_obj",
    "PyEval_EvalCode",
    "_PyEval_EvalCode",
    "_PyEval_Vector",
    "_PyEval_EvalFrame",
    "PyEval_EvalFrame",
    "_PyFunction_Vectorcall",
    "_PyFunction_FastCall",
    "function_code_fastcall",
    "_PyObject_Call",
    "_PyObject_FastCall",
    "_PyObject_MakeTpCall",
    "_PyObject_Vectorcall",
    "PyObject_Call",
    "PyObject_Vectorcall",
    "_PyVectorcall_Call",
    "PyVectorcall_Call",
    "_PyMethodDef_RawFastCall",
    "_PyMethodDescr_",
    "_PyCFunction_FastCall",
    "_PyCFunction_Vectorcall",
    "PyCFunction_Call",
    "cfunction_call",
    "cfunction_vectorcall_",
    "method_vectorcall",
    "method_call",
    "classmethoddescr_call",
    "slot_tp_call",
    "object_vacall",
    "call_function",
    "do_call_core",
    "trace_call_function",
    "start_thread",
    "clone",
    "__clone",
    "thread_run",
    "thread_bootstrap",
    "pythread_wrapper",
    "t_bootstrap",
];

/// How Rust's thread start is called, in any module.
const RUST_THREAD_START: [&str; 4] = [
    "std::sys::backtrace::__rust_begin_short_backtrace",
    "<std::sys::thread::unix::Thread>::new::thread_start",
    "core::ops::function::FnOnce::call_once",
    "core::ops::function::FnOnce::call_once{{vtable.shim}}",
];

/// What the types in the names of Rust's plumbing between a thread's start, or a caught panic, and what runs there have in them.
const RUST_PLUMBING: [&str; 3] = [
    "core::panic::unwind_safe::AssertUnwindSafe",
    "std::thread::lifecycle::",
    "<alloc::boxed::Box<dyn core::ops::function::FnOnce",
];

/// How the functions of Rayon are called, and those that it catches panics with.
const POOL: [&str; 3] = ["rayon_core::", "std::panic::", "std::panicking::"];

/// How the functions of Rust's libraries are called that a pool uses to wait and to pass work on.
const LIBRARY: [&str; 4] = ["core::", "alloc::", "std::", "crossbeam_"];

/// How the crates of instructions and vector types are called.
const INSTRUCTIONS: [&str; 3] = ["core::core_arch::", "safe_arch::", "wide::"];

/// What the modules are called that hold the plumbing: the interpreter (a program or a library) and the C library.
const RUNTIME: [&str; 4] = ["python", "libpython", "libc.so", "libpthread"];

impl Role {
    /// The role of the function called `symbol` (as shown: Rust names are readable, without hash) in `module`.
    pub fn of(symbol: &str, module: &str) -> Role {
        if Role::is_evaluator(symbol) {
            return Role::Evaluator;
        }
        let plumbing = is_runtime(module) && GLUE.iter().any(|name| matches_name(symbol, name));
        let rust = RUST_THREAD_START.contains(&symbol)
            || RUST_PLUMBING.iter().any(|part| symbol.contains(part));
        if plumbing || rust {
            return Role::Glue;
        }
        let starts = |names: &[&str]| {
            // `<T as Trait>::function` counts as T's.
            let path = symbol.strip_prefix('<').unwrap_or(symbol);
            names.iter().any(|name| path.starts_with(name))
        };
        if starts(&INSTRUCTIONS) {
            Role::Instruction
        } else if starts(&POOL) {
            Role::Pool
        } else if starts(&LIBRARY) || module.starts_with("libc.so") {
            Role::Library
        } else {
            Role::Plain
        }
    }

    /// Whether a function called `symbol` is the evaluator, or the compiler's cold part of it.
    pub fn is_evaluator(symbol: &str) -> bool {
        symbol.starts_with("_PyEval_EvalFrameDefault")
    }

    /// Whether the evaluator may be in a file called `name`.
    pub fn may_hold_evaluator(name: &str) -> bool {
        name.contains("python")
    }

    /// The role of `symbol` that was inlined into a function of this role in `module`.
    ///
    /// It has no call of its own on the native stack, so it never counts as an evaluator. What is inlined into the evaluator or
    /// into the interpreter's plumbing is plumbing too: a CPython with debug information merges to the same stacks as one
    /// without, and only where such a function is the leaf, it is what runs. Rust's thread start is different: the whole
    /// thread may be inlined into it.
    pub fn of_inlined(self, symbol: &str, module: &str) -> Role {
        match (self, Role::of(symbol, module)) {
            (Role::Evaluator, _) | (_, Role::Evaluator) => Role::Glue,
            (Role::Glue, _) if is_runtime(module) => Role::Glue,
            (_, role) => role,
        }
    }
}

fn is_runtime(module: &str) -> bool {
    RUNTIME.iter().any(|runtime| module.starts_with(runtime))
}

/// Names that end in `_` are prefixes of many; the others stand alone or before a compiler's suffix
/// (`.constprop.0`, `.cold`) or a variant's (`Dict`, `OneArg`, `_impl`, `3`).
fn matches_name(symbol: &str, name: &str) -> bool {
    match symbol.strip_prefix(name) {
        None => false,
        Some(_) if name.ends_with('_') || name.len() > 6 => true,
        Some(rest) => rest.is_empty() || rest.starts_with('.') || rest == "3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluator_and_its_cold_part() {
        assert_eq!(
            Role::of("_PyEval_EvalFrameDefault", "libpython3.11.so.1.0"),
            Role::Evaluator
        );
        assert_eq!(
            Role::of("_PyEval_EvalFrameDefault.cold", "python3.11"),
            Role::Evaluator
        );
    }

    #[test]
    fn plumbing_is_glue_and_kernels_are_not() {
        for symbol in [
            "main",
            "clone3",
            "__clone3",
            "_PyEval_Vector",
            "PyObject_VectorcallMethod",
            "start_thread",
            "cfunction_vectorcall_FASTCALL_KEYWORDS",
            "_PyObject_MakeTpCall.constprop.0",
            "<std::sys::thread::unix::Thread>::new::thread_start",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
        ] {
            assert_eq!(Role::of(symbol, "python3.12"), Role::Glue, "{symbol}");
            let elsewhere = Role::of(symbol, "kernels.so");
            let rust = symbol.contains("::");
            assert_eq!(elsewhere == Role::Glue, rust, "{symbol}");
        }
        for (symbol, role) in [
            ("rayon_core::join::join_context", Role::Pool),
            (
                "<rayon_core::job::StackJob<L,F,R> as rayon_core::job::Job>::execute",
                Role::Pool,
            ),
            ("std::panicking::catch_unwind::do_call", Role::Pool),
            ("core::sync::atomic::AtomicUsize::load", Role::Library),
            (
                "core::core_arch::x86::avx512f::_mm512_add_ps",
                Role::Instruction,
            ),
            (
                "<wide::f32x16_::f32x16 as core::ops::arith::Add>::add",
                Role::Instruction,
            ),
            ("rayon_cores::kernel", Role::Plain),
        ] {
            assert_eq!(Role::of(symbol, "kernels.so"), role, "{symbol}");
        }
        for symbol in [
            "FLOAT_add",
            "mainly",
            "clone_array",
            "list_sort_impl",
            "builtin_sorted",
            "PyNumber_Add",
            "raptors_kernels::elementwise::add",
        ] {
            assert_eq!(
                Role::of(symbol, "libpython3.8.so.1.0"),
                Role::Plain,
                "{symbol}"
            );
        }
    }

    #[test]
    fn inlined_functions_are_never_evaluators_and_plumbing_only_in_plumbing() {
        let python = "libpython3.12.so.1.0";
        let cases = [
            (Role::Evaluator, "long_add", python, Role::Glue),
            (Role::Glue, "long_add", python, Role::Glue),
            (Role::Plain, "_PyEval_EvalFrameDefault", python, Role::Glue),
            (
                Role::Plain,
                "_PyObject_VectorcallTstate",
                python,
                Role::Glue,
            ),
            (Role::Plain, "long_add", python, Role::Plain),
            (Role::Glue, "kernels::main_loop", "kernels", Role::Plain),
        ];
        for (outer, symbol, module, expected) in cases {
            assert_eq!(outer.of_inlined(symbol, module), expected, "{symbol}");
        }
    }
}
