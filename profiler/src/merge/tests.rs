//! Stacks as CPython makes them, written out by hand.

use super::*;

fn native(names: &[&str]) -> Vec<NativeFrame> {
    names
        .iter()
        .map(|name| NativeFrame::new(*name, Role::of(name, "python3.11")))
        .collect()
}

/// Python frames; `+` before a name says that the evaluator was entered for it.
fn python(names: &[&str]) -> Vec<PythonFrame> {
    names
        .iter()
        .map(|name| {
            let function = name.trim_start_matches('+');
            PythonFrame {
                label: function.into(),
                function: function.into(),
                entry: name.starts_with('+'),
            }
        })
        .collect()
}

fn names(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| &*frame.name).collect()
}

const EVAL: &str = "_PyEval_EvalFrameDefault";

#[test]
fn one_evaluator_call_runs_several_python_frames() {
    let native = native(&[
        "_start",
        "main",
        "PyEval_EvalCode",
        EVAL,
        "cfunction_vectorcall_O",
        "array_add",
        "FLOAT_add",
    ]);
    let merged = merge(&native, true, &python(&["+<module>", "main", "op"]));
    assert!(merged.agreed);
    assert_eq!(
        names(&merged.frames),
        ["<module>", "main", "op", "array_add", "FLOAT_add"]
    );
}

#[test]
fn c_code_that_calls_back_keeps_its_place() {
    let native = native(&[
        "main",
        EVAL,
        "builtin_sorted",
        "list_sort_impl",
        "PyObject_Vectorcall",
        EVAL,
        "PyNumber_Add",
    ]);
    let merged = merge(
        &native,
        true,
        &python(&["+<module>", "run", "+key", "helper"]),
    );
    assert!(merged.agreed);
    assert_eq!(
        names(&merged.frames),
        [
            "<module>",
            "run",
            "builtin_sorted",
            "list_sort_impl",
            "key",
            "helper",
            "PyNumber_Add"
        ]
    );
}

#[test]
fn every_frame_is_an_entry_before_3_11() {
    let native = native(&[
        "main",
        EVAL,
        "_PyFunction_Vectorcall",
        EVAL,
        "_PyFunction_Vectorcall",
        EVAL,
    ]);
    let merged = merge(&native, true, &python(&["+<module>", "+main", "+op"]));
    assert!(merged.agreed);
    assert_eq!(names(&merged.frames), ["<module>", "main", "op"]);
}

#[test]
fn plumbing_at_the_leaf_is_what_runs() {
    let merged = merge(
        &native(&[EVAL, "_PyObject_MakeTpCall"]),
        true,
        &python(&["+op"]),
    );
    assert_eq!(names(&merged.frames), ["op", "_PyObject_MakeTpCall"]);
}

#[test]
fn disagreement_is_marked_and_nothing_is_guessed() {
    let native = native(&["main", EVAL, "list_sort_impl", EVAL, "leaf"]);
    let merged = merge(&native, true, &python(&["+<module>"]));
    assert!(!merged.agreed);
    assert_eq!(
        names(&merged.frames),
        [NO_PYTHON, "main", EVAL, "list_sort_impl", EVAL, "leaf"]
    );
}

#[test]
fn a_cut_native_stack_stands_under_the_python_frames() {
    let merged = merge(
        &native(&["np_sort", "vector_code"]),
        false,
        &python(&["+<module>", "op"]),
    );
    assert!(!merged.agreed);
    assert_eq!(
        names(&merged.frames),
        ["<module>", "op", CUT, "np_sort", "vector_code"]
    );

    let merged = merge(
        &native(&[EVAL, "leaf"]),
        false,
        &python(&["+<module>", "run", "+key"]),
    );
    assert_eq!(
        names(&merged.frames),
        ["<module>", "run", CUT, "key", "leaf"]
    );
}

#[test]
fn a_cut_stack_with_more_evaluator_calls_than_python_has_is_a_disagreement() {
    let merged = merge(
        &native(&[EVAL, "sort", EVAL]),
        false,
        &python(&["+<module>"]),
    );
    assert_eq!(merged.frames[0], Frame::new(FrameKind::Marker, NO_PYTHON));
}

#[test]
fn workers_stand_under_their_caller() {
    let native = native(&["clone3", "start_thread", "rayon_main_loop", "kernel"]);
    let joined = join_worker(
        &native,
        true,
        "raptors-0",
        Some(&python(&["+<module>", "op"])),
    );
    assert_eq!(
        names(&joined.frames),
        [
            "<module>",
            "op",
            "[worker raptors-0]",
            "rayon_main_loop",
            "kernel"
        ]
    );
    let cut = join_worker(&native[2..], false, "pool", None);
    assert_eq!(
        names(&cut.frames)[..3],
        [UNATTRIBUTED, "[worker pool]", CUT]
    );
    let lost = join_worker(&native, true, "pool", None);
    assert_eq!(
        names(&lost.frames),
        [UNATTRIBUTED, "[worker pool]", "rayon_main_loop", "kernel"]
    );
}

#[test]
fn a_pool_is_shown_where_it_has_no_work() {
    let works = native(&[
        "rayon_core::registry::main_loop",
        "std::panic::catch_unwind",
        "kernels::sum",
        "rayon_core::join::join",
        "kernels::sum",
        "kernels::add_row",
        "<wide::f32x16_::f32x16 as core::ops::arith::Add>::add",
        "core::core_arch::x86::avx512f::_mm512_add_ps",
    ]);
    let joined = join_worker(&works, true, "pool", None);
    assert_eq!(
        names(&joined.frames)[2..],
        ["kernels::sum", "kernels::sum", "kernels::add_row"]
    );
    let idle = native(&[
        "rayon_core::registry::main_loop",
        "rayon_core::sleep::Sleep::sleep",
        "std::sync::Condvar::wait",
    ]);
    let joined = join_worker(&idle, true, "pool", None);
    assert_eq!(joined.frames.len(), 2 + idle.len());
}

/// Random stacks built from a known merged one: the merge must find it again, each Python frame once, both orders kept.
#[test]
fn random_stacks_come_out_as_they_were_built() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..2000 {
        let (mut natives, mut pythons, mut expected) =
            (native(&["_start", "main"]), Vec::new(), Vec::new());
        for call in 0..1 + random(5) {
            natives.push(NativeFrame::new(EVAL, Role::Evaluator));
            for depth in 0..1 + random(4) {
                let name = format!("py{call}.{depth}");
                pythons.push(PythonFrame {
                    label: name.as_str().into(),
                    function: name.as_str().into(),
                    entry: depth == 0,
                });
                expected.push(name);
            }
            for depth in 0..random(3) {
                let name = format!("c{call}.{depth}");
                natives.push(NativeFrame::new(name.as_str(), Role::Plain));
                expected.push(name);
            }
            if random(2) == 0 {
                natives.push(NativeFrame::new("PyObject_Vectorcall", Role::Glue));
            }
        }
        natives.push(NativeFrame::new("leaf", Role::Plain));
        expected.push("leaf".to_owned());
        let merged = merge(&natives, true, &pythons);
        assert!(merged.agreed);
        assert_eq!(names(&merged.frames), expected);
        assert!(!merge(&natives[1..], true, &pythons[1..]).agreed || !pythons[1].entry);
    }
}

/// The evaluator with functions inlined into it, as a CPython with debug information has them, and what it called.
fn evaluator_with(inlined: &[&str], called: &[&str]) -> Vec<NativeFrame> {
    let mut frames = native(&["main", EVAL]);
    let role = |name: &&str| Role::Evaluator.of_inlined(name, "python3.11");
    frames.extend(
        inlined
            .iter()
            .map(|name| NativeFrame::new(*name, role(name))),
    );
    frames.extend(native(called));
    frames
}

#[test]
fn what_is_inlined_into_the_evaluator_is_no_call_of_it() {
    let called = evaluator_with(&["call_function", EVAL], &["array_add", "FLOAT_add"]);
    let merged = merge(&called, true, &python(&["+<module>", "op"]));
    assert!(merged.agreed);
    assert_eq!(
        names(&merged.frames),
        ["<module>", "op", "array_add", "FLOAT_add"]
    );
}

#[test]
fn what_is_inlined_into_the_evaluator_is_shown_where_it_runs() {
    let running = evaluator_with(&["binary_op", "Py_DECREF"], &[]);
    let merged = merge(&running, true, &python(&["+<module>", "op"]));
    assert!(merged.agreed);
    assert_eq!(names(&merged.frames), ["<module>", "op", "Py_DECREF"]);
}
