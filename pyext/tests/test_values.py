"""Every function against NumPy, at every instruction-set level, over shapes, layouts and dtypes."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from .arrays import DTYPES, arrays, dtypes, fill, pairs, shapes
from .levels import LEVELS

levels = st.sampled_from(sorted(LEVELS))
settings.register_profile("raptors", deadline=None, max_examples=150)
settings.load_profile("raptors")


def same(got: Any, want: Any) -> None:
    """Equal in every bit that means something, and of the same type, dtype, shape and memory order."""
    assert type(got) is type(want)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want, strict=True)
    sides = [axis for axis, side in enumerate(want.shape) if side > 1]
    if want.size:
        assert [got.strides[axis] for axis in sides] == [want.strides[axis] for axis in sides]


@pytest.mark.parametrize("op", ["add", "multiply"])
@given(level=levels, operands=dtypes.flatmap(pairs))
def test_elementwise(op: str, level: str, operands: tuple[NDArray[Any], NDArray[Any]]) -> None:
    same(getattr(LEVELS[level], op)(*operands), getattr(np, op)(*operands))


@given(level=levels, data=st.data(), dtype=dtypes)
def test_broadcast_add(level: str, data: st.DataObject, dtype: str) -> None:
    shape = data.draw(shapes.filter(bool))
    a, row = data.draw(arrays(dtype, shape)), data.draw(arrays(dtype, shape[-1:]))
    same(LEVELS[level].broadcast_add(a, row), a + row)


@given(level=levels, data=st.data(), dtype=dtypes)
def test_scale(level: str, data: st.DataObject, dtype: str) -> None:
    a = data.draw(shapes.flatmap(lambda shape: arrays(dtype, shape)))
    factor = data.draw(st.integers(-5, 5) if dtype == "int32" else st.sampled_from([2, 1.0009765625, -0.0, 1e300]))
    with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        same(LEVELS[level].scale(a, factor), a * np.dtype(dtype).type(factor))


@given(level=levels, data=st.data(), dtype=dtypes)
def test_sum_and_mean_of_whole_numbers(level: str, data: st.DataObject, dtype: str) -> None:
    """Every partial sum is exact, so every association gives the same."""
    shape = data.draw(shapes)
    a = data.draw(arrays(dtype, shape, whole=True))
    axis = data.draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1) if shape else st.none()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        same(LEVELS[level].sum(a, axis), a.sum(axis))
        same(LEVELS[level].mean(a, axis), a.mean(axis))


def test_the_order_of_an_axis_that_only_one_operand_has() -> None:
    a, b = np.arange(3, dtype="i4"), np.zeros((2, 2), "i4", order="F").reshape(2, 1, 2, 1, order="F")
    for module in LEVELS.values():
        same(module.add(a, b), a + b)
        same(module.multiply(b, a), b * a)


def test_the_order_of_an_axis_that_repeats_one_element() -> None:
    """Where it goes depends on the axis that is summed, too."""
    a = np.broadcast_to(np.arange(4, dtype="i4").reshape(2, 2).T[:, None, :], (2, 2, 2))
    for module in LEVELS.values():
        for axis in range(3):
            same(module.sum(a, axis), a.sum(axis))


@given(level=levels, data=st.data())
def test_int32_sums_are_exact(level: str, data: st.DataObject) -> None:
    shape = data.draw(shapes.filter(bool))
    a = data.draw(arrays("int32", shape))
    axis = data.draw(st.sampled_from([None, 0, -1]))
    same(LEVELS[level].sum(a, axis), a.sum(axis))
    if a.size:
        np.testing.assert_array_equal(LEVELS[level].mean(a, axis), a.mean(axis))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["rows", "columns", "strided"])
def test_sums_keep_their_error_bound(level: str, dtype: str, layout: str) -> None:
    unit = float(np.finfo(dtype).eps) / 2
    for count in [1, 100, 1000, 33_333]:
        rng = np.random.default_rng(count)
        numbers = (rng.normal(size=(3, count)) * 10.0 ** rng.integers(-3, 4, (3, count))).astype(dtype)
        wide = np.zeros((3, 2 * count), dtype)
        wide[:, ::2] = numbers
        a = {"rows": numbers, "columns": np.asfortranarray(numbers), "strided": wide[:, ::2]}[layout]
        sums = LEVELS[level].sum(a, axis=1)
        for row, got in zip(numbers, sums):
            exact = math.fsum(row.tolist())
            bound = (25 + math.ceil(math.log2(max(1, count / 128)))) * unit * float(np.abs(row.astype("f8")).sum())
            assert abs(float(got) - exact) <= bound


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_larger_than_the_cache(level: str, dtype: str) -> None:
    """Their lines go around the caches, but for the ends of rows that begin or end within one."""
    a = fill((2001, 3003), dtype, 4, whole=False)
    for got, want in [
        (LEVELS[level].add(a, a[::-1]), a + a[::-1]),
        (LEVELS[level].broadcast_add(a, a[0]), a + a[0]),
        (LEVELS[level].scale(a.T, 3), a.T * np.dtype(dtype).type(3)),
    ]:
        same(got, want)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("special", [[np.nan], [np.inf], [-np.inf], [np.inf, -np.inf], [np.inf, np.nan]])
def test_nan_and_infinities(level: str, dtype: str, special: list[float]) -> None:
    module = LEVELS[level]
    a = fill((50, 41), dtype, 1, whole=True)
    for i, value in enumerate(special):
        a[7 * i + 1, 13 * i + 2] = value
    with np.errstate(invalid="ignore"):
        for axis in [None, 0, 1]:
            same(module.sum(a, axis), a.sum(axis))
            same(module.sum(a.T, axis), a.T.sum(axis))
        same(module.add(a, a[::-1]), a + a[::-1])
        same(module.multiply(a, a.T[:41, :1].T), a * a.T[:41, :1].T)
        same(module.scale(a, 0.0), a * np.dtype(dtype).type(0.0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 3), ()])
def test_empty_and_zero_dimensional(dtype: str, shape: tuple[int, ...]) -> None:
    for module in LEVELS.values():
        a = np.ones(shape, dtype)
        same(module.sum(a), a.sum())
        same(module.add(a, a), a + a)
        for axis in range(len(shape)):
            same(module.sum(a, axis), a.sum(axis))


def test_mean_of_nothing_warns() -> None:
    for module in LEVELS.values():
        with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
            assert math.isnan(module.mean(np.ones(0, "f4")))
        with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
            assert np.isnan(module.mean(np.ones((0, 2), "f4"), axis=0)).all()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert module.mean(np.ones((0, 2), "f4"), axis=1).shape == (0,)
