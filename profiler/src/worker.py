"""The workload of raptors-prof: one op on one cell, by NumPy and by raptors.

raptors-prof runs this file with the user's interpreter. Commands come as JSON lines on stdin, replies leave as JSON lines
on what was stdout:

    (start)                          -> hello {pid, python, executable}
    setup {op, shape, dtype, ...}    -> ready {numpy, raptors, config, note} | missing {module} | refused {message}
                                        | disagree {message}
    run {backend, calls}             -> done {start_ns, end_ns, and what getrusage says}

It ends at the end of stdin. Plain Python >= 3.8.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import platform
import resource
import sys
import time
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
    replies = take_stdout()
    reply(replies, "hello", pid=os.getpid(), python=platform.python_version(), executable=sys.executable)
    ops: dict[str, Op] = {}
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "setup":
            try:
                ops, answer = set_up(command)
            except ModuleNotFoundError as error:
                if error.name not in ("numpy", "raptors"):
                    raise
                reply(replies, "missing", module=error.name)
            except RefusedError as error:
                reply(replies, "refused", message=str(error))
            else:
                reply(replies, **answer)
        else:
            reply(replies, "done", **run_window(ops[command["backend"]], command["calls"]))


def run_window(op: Op, calls: int) -> dict[str, int]:
    gc.disable()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    for _ in range(calls):
        op()
    end = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    after = resource.getrusage(resource.RUSAGE_SELF)
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
        "raptors": None if raptors is None else raptors.config()["version"],
        "config": None if raptors is None else raptors.config(),
        "note": judgement.note,
    }


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


if __name__ == "__main__":
    main()
