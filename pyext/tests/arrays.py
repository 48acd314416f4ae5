"""Strategies: arrays of every layout that NumPy makes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

DTYPES = ["float32", "float64", "int32"]

dtypes = st.sampled_from(DTYPES)
shapes = st.one_of(
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
    st.tuples(st.integers(0, 70), st.integers(0, 70)),
    st.tuples(st.integers(0, 5000)),
    st.tuples(st.integers(120, 400), st.integers(1, 20)),
)


def fill(shape: tuple[int, ...], dtype: str, seed: int, whole: bool) -> NDArray[Any]:
    """Random numbers; whole ones are small enough for every sum of them to be exact."""
    rng = np.random.default_rng(seed)
    if whole:
        return rng.integers(-50, 50, shape).astype(dtype)
    if dtype == "int32":
        return rng.integers(-(2**31), 2**31, shape, dtype="int32")
    return rng.normal(scale=10.0, size=shape).astype(dtype)


@st.composite
def arrays(draw: st.DrawFn, dtype: str, shape: tuple[int, ...], whole: bool = False) -> NDArray[Any]:
    """Draw an array of the shape: axes in any memory order, with steps, backwards, or repeating one element."""
    order = draw(st.permutations(range(len(shape))))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, -1, -3, 0]), min_size=len(shape), max_size=len(shape)))
    lengths = [1 if steps[axis] == 0 else shape[axis] * abs(steps[axis]) for axis in order]
    memory = fill(tuple(lengths), dtype, draw(st.integers(0, 2**32)), whole)
    view = memory.transpose(np.argsort(order))
    view = view[tuple(slice(None, None, step or 1) for step in steps)]
    return np.broadcast_to(view, shape) if 0 in steps else view.reshape(shape) if not shape else view


@st.composite
def pairs(draw: st.DrawFn, dtype: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw two arrays whose shapes broadcast together."""
    shape = draw(shapes)
    shape_a, shape_b = (
        tuple(1 if draw(st.integers(0, 4)) == 0 else side for side in shape[draw(st.integers(0, len(shape))) :])
        for _ in range(2)
    )
    return draw(arrays(dtype, shape_a)), draw(arrays(dtype, shape_b))
