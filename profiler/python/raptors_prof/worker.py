"""The workload of raptors-prof: one op on one cell, by NumPy and by raptors, or by two methods of the user's.

raptors-prof runs this file with the user's interpreter. Commands come as JSON lines on stdin, replies leave as JSON lines
on what was stdout:

    (start)                          -> hello {pid, python, executable}
    setup {op, shape, dtype, ...}    -> ready {numpy, config, functions, note} | missing {module} | refused {message}
                                        | disagree {message} | unfit {message}
    run {backend, calls}             -> done {start_ns, end_ns, and what getrusage says}

It ends at the end of stdin. Plain Python >= 3.8.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import json
import os
import platform
import resource
import sys
import time
import types
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    Op = Callable[[], Any]


class Inputs(NamedTuple):
    """What an op reads; what it does not need is None."""

    a: Any
    b: Any
    row: Any
    factor: Any


def main() -> None:
    commands, replies = take_stdin(), take_stdout()
    reply(replies, "hello", pid=os.getpid(), python=platform.python_version(), executable=sys.executable)
    ops: dict[str, Op] = {}
    for line in commands:
        command = json.loads(line)
        if command["do"] == "setup":
            try:
                own = ":" in command["op"]
                ops, answer = set_up_own(command) if own else set_up(command)
            except ModuleNotFoundError as error:
                if error.name not in ("numpy", "raptors"):
                    raise
                reply(replies, "missing", module=error.name)
            except RefusedError as error:
                reply(replies, "refused", message=str(error))
            except UnfitError as error:
                reply(replies, "unfit", message=str(error))
            else:
                reply(replies, **answer)
        else:
            reply(replies, "done", **run_window(ops[command["backend"]], command["calls"]))


def run_window(op: Op, calls: int) -> dict[str, int]:
    collects = gc.isenabled()
    gc.disable()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    try:
        for _ in range(calls):
            op()
        end = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        after = resource.getrusage(resource.RUSAGE_SELF)
    finally:
        if collects:
            gc.enable()
    return {
        "start_ns": start,
        "end_ns": end,
        "user_ns": round((after.ru_utime - before.ru_utime) * 1e9),
        "kernel_ns": round((after.ru_stime - before.ru_stime) * 1e9),
        "minor_faults": after.ru_minflt - before.ru_minflt,
        "major_faults": after.ru_majflt - before.ru_majflt,
        "context_switches": after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw,
    }


def take_stdin() -> IO[str]:
    """Keeps stdin for commands and points fd 0 to nothing, so that no op that asks the user takes a command for an answer."""
    commands = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return commands


def take_stdout() -> IO[str]:
    """Keeps stdout for replies and points fd 1 to stderr, so that no library's print is taken for a reply."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def reply(replies: IO[str], kind: str, **fields: Any) -> None:
    replies.write(json.dumps({"reply": kind, **fields}) + "\n")
    replies.flush()


def set_up(command: dict[str, Any]) -> tuple[dict[str, Op], dict[str, Any]]:
    """Imports, makes the inputs, and runs each backend once: the ops by backend, and the answer."""
    np = importlib.import_module("numpy")
    backends: list[str] = command["backends"]
    raptors = import_raptors() if "raptors" in backends else None
    inputs = make_inputs(np, command)
    ops: dict[str, Op] = {}
    if "numpy" in backends:
        ops["numpy"] = numpy_ops(inputs)[command["op"]]
    if raptors is not None:
        ops["raptors"] = raptors_ops(raptors, inputs)[command["op"]]
    judgement = check(np, ops, inputs, command)
    if judgement.wrong is not None:
        return ops, {"kind": "disagree", "message": judgement.wrong}
    return ops, {
        "kind": "ready",
        "numpy": np.__version__,
        "config": None if raptors is None else raptors.config(),
        "functions": {backend: function_name(op) for backend, op in ops.items()},
        "note": judgement.note,
    }


def function_name(op: Op) -> str:
    """The Python function that a call of `op` runs; that of the window where it runs none of its own."""
    function = getattr(op, "__func__", op)
    return (function if isinstance(function, types.FunctionType) else run_window).__code__.co_name


class RefusedError(Exception):
    """raptors does not do here what RAPTORS_SIMD or RAPTORS_THREADS asks for."""


def import_raptors() -> Any:
    try:
        return importlib.import_module("raptors")
    except ValueError as error:
        raise RefusedError(error) from error


def make_inputs(np: Any, command: dict[str, Any]) -> Inputs:
    op, shape, dtype = command["op"], command["shape"], command["dtype"]
    rng = np.random.default_rng(command["seed"])

    def draw(shape: list[int]) -> Any:
        # Values of one sign keep sums well conditioned; small integers keep products and sums exact.
        if dtype == "int32":
            return rng.integers(0, 1000, size=shape, dtype=dtype)
        return rng.random(size=shape, dtype=dtype)

    def array() -> Any:
        if command["layout"] == "transpose":
            return draw(shape[::-1]).T
        if command["layout"] == "fortran":
            return np.asfortranarray(draw(shape))
        return draw(shape)

    return Inputs(
        a=array(),
        b=array() if op in ("add", "multiply") else None,
        row=draw(shape[-1:]) if op == "broadcast_add" else None,
        factor=2 if dtype == "int32" else 1.0009765625,
    )


def numpy_ops(inputs: Inputs) -> dict[str, Op]:
    """The ops as a NumPy user writes them."""
    a, b, row, factor = inputs

    def sum() -> Any:
        return a.sum()

    def mean() -> Any:
        return a.mean()

    def sum_axis0() -> Any:
        return a.sum(axis=0)

    def sum_axis1() -> Any:
        return a.sum(axis=1)

    def mean_axis0() -> Any:
        return a.mean(axis=0)

    def mean_axis1() -> Any:
        return a.mean(axis=1)

    def add() -> Any:
        return a + b

    def broadcast_add() -> Any:
        return a + row

    def multiply() -> Any:
        return a * b

    def scale() -> Any:
        return a * factor

    return by_name(sum, mean, sum_axis0, sum_axis1, mean_axis0, mean_axis1, add, broadcast_add, multiply, scale)


def raptors_ops(raptors: Any, inputs: Inputs) -> dict[str, Op]:
    """The same ops by the module raptors."""
    a, b, row, factor = inputs

    def sum() -> Any:
        return raptors.sum(a)

    def mean() -> Any:
        return raptors.mean(a)

    def sum_axis0() -> Any:
        return raptors.sum(a, axis=0)

    def sum_axis1() -> Any:
        return raptors.sum(a, axis=1)

    def mean_axis0() -> Any:
        return raptors.mean(a, axis=0)

    def mean_axis1() -> Any:
        return raptors.mean(a, axis=1)

    def add() -> Any:
        return raptors.add(a, b)

    def broadcast_add() -> Any:
        return raptors.broadcast_add(a, row)

    def multiply() -> Any:
        return raptors.multiply(a, b)

    def scale() -> Any:
        return raptors.scale(a, factor)

    return by_name(sum, mean, sum_axis0, sum_axis1, mean_axis0, mean_axis1, add, broadcast_add, multiply, scale)


def by_name(*ops: Op) -> dict[str, Op]:
    return {op.__name__: op for op in ops}


class Judgement(NamedTuple):
    """What the results are like: `wrong` says how far they are apart, `note` what else the user should know."""

    wrong: str | None = None
    note: str | None = None


def check(np: Any, ops: dict[str, Op], inputs: Inputs, command: dict[str, Any]) -> Judgement:
    """Runs every op once and compares; where NumPy itself may be off, float64 is the judge."""
    results = {backend: np.asarray(op()) for backend, op in ops.items()}
    if len(results) < 2:
        return Judgement()
    expected, got = results["numpy"], results["raptors"]
    if expected.shape != got.shape:
        return Judgement(wrong=f"numpy gives shape {expected.shape}, raptors {got.shape}")
    if expected.ndim > 0 and expected.dtype != got.dtype:
        return Judgement(wrong=f"numpy gives dtype {expected.dtype}, raptors {got.dtype}")
    tolerance = relative_tolerance(np, expected, command)
    apart = difference(np, ("numpy", expected), ("raptors", got), tolerance)
    if apart is None:
        return Judgement()
    if command["dtype"] != "float32" or not command["op"].startswith(("sum", "mean")):
        return Judgement(wrong=apart)
    # A float32 sum that is added up row by row ceases to grow at 2^24.
    exact = in_float64(np, inputs, command["op"])
    wrong = difference(np, ("float64", exact), ("raptors", got), tolerance)
    if wrong is not None:
        return Judgement(wrong=f"{apart}; by float64: {wrong}")
    return Judgement(note=f"raptors agrees with a sum in float64, but numpy's float32 does not: {apart}")


def in_float64(np: Any, inputs: Inputs, op: str) -> Any:
    method, _, axis = op.partition("_axis")
    return np.asarray(getattr(inputs.a, method)(axis=int(axis) if axis else None, dtype="float64"))


def difference(np: Any, expected: tuple[str, Any], got: tuple[str, Any], tolerance: float) -> str | None:
    """None when two named results agree, else how far they are apart."""
    (expected_name, expected), (got_name, got) = expected, got
    excess = np.abs(np.subtract(got, expected, dtype="float64"))
    excess -= tolerance * np.abs(expected)
    # NaN compares false: `not <= 0` holds for it too.
    wrong = np.count_nonzero(~(excess <= 0))
    if wrong == 0:
        return None
    worst = np.unravel_index(np.argmax(excess), excess.shape)
    where = f" at {[int(i) for i in worst]}" if excess.ndim else ""
    return (
        f"{wrong} of {excess.size} values differ by more than {tolerance:.2g} (relative);"
        f" the worst{where}: {expected_name} {expected[worst]!s}, {got_name} {got[worst]!s}"
    )


def relative_tolerance(np: Any, expected: Any, command: dict[str, Any]) -> float:
    """What rounding allows between two orders of summation: 8 eps sqrt(n) for n summands of one sign.

    The growth with sqrt(n) is the probabilistic bound of Higham and Mary, SIAM J. Sci. Comput. 41 (2019), A2815.
    """
    if np.issubdtype(expected.dtype, np.integer):
        return 0.0
    summands = float(np.prod(command["shape"], dtype="float64")) / max(expected.size, 1)
    precision = "float64" if command["dtype"] == "int32" else command["dtype"]
    return 8.0 * float(np.finfo(precision).eps) * float(np.sqrt(summands))


class UnfitError(Exception):
    """The user's op is not what it should be, or lacks what it asks for."""


def set_up_own(command: dict[str, Any]) -> tuple[dict[str, Op], dict[str, Any]]:
    """Runs the user's file, makes an instance of the class and its inputs, and calls each backend once."""
    path, _, name = command["op"].rpartition(":")
    module = run_file(path)
    own = getattr(module, name, None)
    if not inspect.isclass(own):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise UnfitError(f"{path} has no class {name}; its classes: {', '.join(classes) or 'none'}")
    instance: Any = own()
    inputs = own_inputs(getattr(instance, "setup", None), f"{path}: {name}.setup", command)
    if inputs is not None:
        instance.setup(**inputs)
    for method in ("baseline", "candidate"):
        check_method(instance, method, f"{path}: class {name}")
    ops: dict[str, Op] = {backend: getattr(instance, backend) for backend in command["backends"]}
    # A copy: the second may write to where the first left its result.
    results = {backend: plain(op()) for backend, op in ops.items()}
    np, config = sys.modules.get("numpy"), getattr(sys.modules.get("raptors"), "config", None)
    return ops, {
        "kind": "ready",
        "numpy": getattr(np, "__version__", None),
        "config": None if config is None else config(),
        "functions": {backend: function_name(op) for backend, op in ops.items()},
        "note": compare_results(results),
    }


def run_file(path: str) -> types.ModuleType:
    """Runs a file as `python FILE` would, but under its own name: `if __name__ == "__main__"` is left out."""
    path = os.path.abspath(path)
    own_directory = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(path) if entry == own_directory else entry for entry in sys.path]
    name = os.path.splitext(os.path.basename(path))[0]
    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules.setdefault(name, module)
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, vars(module))  # noqa: S102 - it is the user's own
    return module


def check_method(instance: Any, method: str, where: str) -> None:
    function = getattr(instance, method, None)
    if function is None:
        raise UnfitError(f"{where} has no method {method}; it needs baseline(self) and candidate(self)")
    check_function(function, f"{where}: {method}")


def check_function(function: Any, where: str) -> None:
    if not callable(function):
        raise UnfitError(f"{where} can't be called")
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        raise UnfitError(f"{where} only makes a generator or coroutine: a call runs nothing of it")


def own_inputs(setup: Op | None, where: str, command: dict[str, Any]) -> dict[str, Any] | None:
    """What `setup` is called with, by name: shape and dtype where they were given, rng where it takes one."""
    shape, dtype = command["shape"], command["dtype"]
    given: dict[str, Any] = {}
    if shape is not None:
        given["shape"] = tuple(shape)
    if dtype is not None:
        given["dtype"] = dtype
    if setup is None:
        for name in given:
            raise UnfitError(f"{where} is not there to take the {name}: leave out --{name}, or write it")
        return None
    if not callable(setup):
        raise UnfitError(f"{where} can't be called")
    parameters = inspect.signature(setup).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    single = [parameter for parameter in parameters if parameter.kind.name not in ("VAR_POSITIONAL", "VAR_KEYWORD")]
    by_name = {parameter.name for parameter in single if parameter.kind is not parameter.POSITIONAL_ONLY}
    for name in given:
        if name not in by_name and not takes_all:
            raise UnfitError(f"{where} takes no {name}: leave out --{name}, or add it to its parameters")
    if "rng" in by_name:
        given["rng"] = importlib.import_module("numpy").random.default_rng(command["seed"])
    for parameter in single:
        name = parameter.name
        if name in given or parameter.default is not parameter.empty:
            continue
        if name in by_name and name in ("shape", "dtype"):
            raise UnfitError(f"{where} needs a {name}: give --{name}, or a default to its parameter")
        raise UnfitError(f"{where} may take shape, dtype and rng, by name; it has {name}")
    return given


def plain(result: Any) -> Any:
    """A copy of an array or number, which the other backend can't change; None for anything else."""
    np = sys.modules.get("numpy")
    if np is not None and isinstance(result, (np.ndarray, np.generic)):
        return np.array(result) if result.dtype.kind in "biufc" else None
    if isinstance(result, int):
        return result if abs(result) < 2**63 else None
    return result if isinstance(result, (float, complex)) else None


def compare_results(results: dict[str, Any]) -> str | None:
    """How the results differ, where both are arrays or numbers: in the first half of the digits that their types have."""
    if len(results) < 2 or any(result is None for result in results.values()):
        return None
    baseline, candidate = results["baseline"], results["candidate"]
    np = sys.modules.get("numpy")
    if np is None:
        exact = isinstance(baseline, int) and isinstance(candidate, int)
        allowed = 0.0 if exact else sys.float_info.epsilon**0.5 * max(abs(baseline), abs(candidate))
        # NaN compares false.
        same = baseline == candidate or abs(baseline - candidate) <= allowed
        return None if same else f"the results differ: baseline {baseline}, candidate {candidate}"
    expected, got = np.asarray(baseline), np.asarray(candidate)
    if expected.shape != got.shape:
        return f"the results differ: baseline has shape {expected.shape}, candidate {got.shape}"
    inexact = [result.dtype for result in (expected, got) if result.dtype.kind in "fc"]
    tolerance = max((float(np.finfo(dtype).eps) ** 0.5 for dtype in inexact), default=0.0)
    largest = float(np.max(np.abs(expected), initial=0, where=np.isfinite(expected)))
    same = np.isclose(got, expected, rtol=tolerance, atol=tolerance * largest, equal_nan=True)
    if np.all(same):
        return None
    first = np.unravel_index(np.argmin(same), same.shape)
    where = f" at {[int(i) for i in first]}" if same.ndim else ""
    return (
        f"the results differ in {np.count_nonzero(~same)} of {same.size} values (relative tolerance {tolerance:.2g});"
        f" the first{where}: baseline {expected[first]!s}, candidate {got[first]!s}"
    )


if __name__ == "__main__":
    main()
