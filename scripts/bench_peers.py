"""The libraries that bench.py compares: how each does an op, given the same inputs.

In: the operands of a cell. Out: calls that each do it once. None of them writes into an array of the caller's: each call makes its
result anew, as most programs have it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PEERS = ["numexpr", "torch", "numba"]

Call = Callable[[], Any]
Maker = Callable[[str, "Inputs"], Call]


@dataclass
class Inputs:
    """Operands: `a` as the cell lays it out, `b` alike, `row` for broadcast_add, `factor` for scale."""

    a: Any
    b: Any
    row: Any
    factor: Any
    axis: int | None
    """The axis of a reduction."""


def inputs(np: Any, op: str, shape: tuple[int, ...], dtype: str, layout: str) -> Inputs:
    """Draw the operands of a cell; a transposed array lies in memory as its transpose does."""
    rng = np.random.default_rng(1)

    def draw() -> Any:
        in_memory = shape if layout == "contiguous" else shape[::-1]
        if dtype == "int32":
            memory = rng.integers(0, 1000, size=in_memory, dtype="int32")
        else:
            memory = rng.random(size=in_memory, dtype=dtype)
        return memory if layout == "contiguous" else memory.T

    a = draw()
    b = draw() if op in ("add", "multiply") else None
    factor = 2 if dtype == "int32" else 1.0009765625
    axis = int(op[-1]) if op[-1].isdigit() else None
    return Inputs(a, b, a[(0,) * (a.ndim - 1)].copy(), a.dtype.type(factor), axis)


def in_float64(op: str, i: Inputs) -> Any:
    """NumPy's result, where a sum is added up in float64."""
    if op.startswith(("sum", "mean")):
        return getattr(i.a, op.partition("_axis")[0])(axis=i.axis, dtype="float64")
    return numpy_call(op, i)()


def numpy_call(op: str, i: Inputs) -> Call:
    """NumPy, as one writes it."""
    calls: dict[str, Call] = {
        "sum": lambda: i.a.sum(axis=i.axis),
        "mean": lambda: i.a.mean(axis=i.axis),
        "add": lambda: i.a + i.b,
        "multiply": lambda: i.a * i.b,
        "broadcast_add": lambda: i.a + i.row,
        "scale": lambda: i.a * i.factor,
    }
    return calls[op.partition("_axis")[0]]


def raptors_call(raptors: Any, op: str, i: Inputs) -> Call:
    """raptors."""
    factor = i.factor.item()
    calls: dict[str, Call] = {
        "sum": lambda: raptors.sum(i.a, i.axis),
        "mean": lambda: raptors.mean(i.a, i.axis),
        "add": lambda: raptors.add(i.a, i.b),
        "multiply": lambda: raptors.multiply(i.a, i.b),
        "broadcast_add": lambda: raptors.broadcast_add(i.a, i.row),
        "scale": lambda: raptors.scale(i.a, factor),
    }
    return calls[op.partition("_axis")[0]]


def numexpr_call(numexpr: Any, op: str, i: Inputs) -> Call:
    """numexpr: a mean is its sum divided by the count."""
    names = {"a": i.a, "b": i.b, "row": i.row, "k": i.factor}
    count = i.a.size if i.axis is None else i.a.shape[i.axis]
    total = "sum(a)" if i.axis is None else f"sum(a, axis={i.axis})"
    texts = {"add": "a + b", "multiply": "a * b", "broadcast_add": "a + row", "scale": "a * k"}
    text = texts.get(op, total)
    if op.startswith("mean"):
        return lambda: numexpr.evaluate(text, names) / count
    return lambda: numexpr.evaluate(text, names)


def torch_call(torch: Any, op: str, i: Inputs) -> Call:
    """torch on tensors that share the arrays' memory; results stay tensors."""
    a, row, factor = torch.from_numpy(i.a), torch.from_numpy(i.row), i.factor.item()
    b = a if i.b is None else torch.from_numpy(i.b)
    dtype = torch.float64 if i.a.dtype.kind == "i" else None
    calls: dict[str, Call] = {
        "sum": lambda: a.sum() if i.axis is None else a.sum(i.axis),
        "mean": lambda: a.mean(dtype=dtype) if i.axis is None else a.mean(i.axis, dtype=dtype),
        "add": lambda: a + b,
        "multiply": lambda: a * b,
        "broadcast_add": lambda: a + row,
        "scale": lambda: a * factor,
    }
    return calls[op.partition("_axis")[0]]


class Numba:
    """Loops in memory order as one writes them for numba, with fast-math, parallel if there is more than one thread."""

    def __init__(self, numba: Any, np: Any, threads: int) -> None:
        compiled = numba.njit(fastmath=True, parallel=threads > 1)
        prange = numba.prange

        def total(m: Any, zero: Any) -> Any:
            result = zero
            for i in prange(m.shape[0]):
                part = zero
                for j in range(m.shape[1]):
                    part += m[i, j]
                result += part
            return result

        def rows(m: Any, out: Any) -> Any:
            for i in prange(m.shape[0]):
                part = out[i]
                for j in range(m.shape[1]):
                    part += m[i, j]
                out[i] = part
            return out

        def columns(m: Any, out: Any) -> Any:
            blocks = (m.shape[1] + 511) // 512
            for block in prange(blocks):
                first, end = block * 512, min(block * 512 + 512, m.shape[1])
                for i in range(m.shape[0]):
                    for j in range(first, end):
                        out[j] += m[i, j]
            return out

        def add(a: Any, b: Any, out: Any) -> Any:
            for i in prange(a.shape[0]):
                for j in range(a.shape[1]):
                    out[i, j] = a[i, j] + b[i, j]
            return out

        def multiply(a: Any, b: Any, out: Any) -> Any:
            for i in prange(a.shape[0]):
                for j in range(a.shape[1]):
                    out[i, j] = a[i, j] * b[i, j]
            return out

        def add_row(a: Any, row: Any, out: Any) -> Any:
            for i in prange(a.shape[0]):
                for j in range(a.shape[1]):
                    out[i, j] = a[i, j] + row[j]
            return out

        def add_column(a: Any, column: Any, out: Any) -> Any:
            for i in prange(a.shape[0]):
                for j in range(a.shape[1]):
                    out[i, j] = a[i, j] + column[i]
            return out

        def scale(a: Any, k: Any, out: Any) -> Any:
            for i in prange(a.shape[0]):
                for j in range(a.shape[1]):
                    out[i, j] = a[i, j] * k
            return out

        self.np = np
        functions = (total, rows, columns, add, multiply, add_row, add_column, scale)
        self.jit = {function.__name__: compiled(function) for function in functions}

    def call(self, op: str, i: Inputs) -> Call:
        """Return the call; a transposed array is handed over as the rows that it has in memory."""
        transposed = i.a.ndim == 2 and not i.a.flags.c_contiguous
        a = i.a.T if transposed else self.np.atleast_2d(i.a)
        b = None if i.b is None else i.b.T if transposed else self.np.atleast_2d(i.b)
        empty, jit = self.np.empty, self.jit
        elementwise: dict[str, Call] = {
            "add": lambda: jit["add"](a, b, empty(a.shape, a.dtype)),
            "multiply": lambda: jit["multiply"](a, b, empty(a.shape, a.dtype)),
            "broadcast_add": lambda: jit["add_column" if transposed else "add_row"](a, i.row, empty(a.shape, a.dtype)),
            "scale": lambda: jit["scale"](a, i.factor, empty(a.shape, a.dtype)),
        }
        if op in elementwise:
            call = elementwise[op]
            return (lambda: call().T) if transposed else (lambda: call().reshape(i.a.shape))
        divisor = (i.a.size if i.axis is None else i.a.shape[i.axis]) if op.startswith("mean") else 1
        sums = self.np.dtype("int64" if i.a.dtype.kind == "i" else i.a.dtype)
        zero, axis = sums.type(0), i.axis if i.a.ndim == 2 else None
        if axis is None:
            return lambda: jit["total"](a, zero) / divisor if divisor > 1 else jit["total"](a, zero)
        along = "rows" if (axis == 1) != transposed else "columns"
        length = i.a.shape[1 - axis]
        reduced: Call = lambda: jit[along](a, self.np.zeros(length, sums))
        return (lambda: reduced() / divisor) if divisor > 1 else reduced


def libraries(threads: int) -> tuple[dict[str, Maker], dict[str, str]]:
    """Return how to call each library that is there, and the versions of all: why a missing one is missing."""
    np, raptors = importlib.import_module("numpy"), importlib.import_module("raptors")
    calls: dict[str, Maker] = {
        "raptors": lambda op, i: raptors_call(raptors, op, i),
        "numpy": numpy_call,
    }
    versions = {"raptors": raptors.__version__, "numpy": np.__version__}
    for name in PEERS:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError) as error:
            versions[name] = f"not measured: {error}"
            continue
        versions[name] = module.__version__
        if name == "torch":
            module.set_num_threads(threads)
            calls[name] = lambda op, i, module=module: torch_call(module, op, i)  # type: ignore[misc]
        elif name == "numba":
            calls[name] = Numba(module, np, threads).call
        else:
            module.set_num_threads(threads)
            calls[name] = lambda op, i, module=module: numexpr_call(module, op, i)  # type: ignore[misc]
    return calls, versions
