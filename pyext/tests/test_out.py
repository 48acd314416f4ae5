"""Results written to `out`: what is accepted, and overlap with the inputs."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import raptors

from .arrays import DTYPES, fill
from .levels import LEVELS


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_is_returned_and_written(dtype: str) -> None:
    a = fill((6, 5), dtype, 1, whole=True)
    for op, other in [("add", a), ("multiply", a), ("broadcast_add", a[0]), ("scale", 3)]:
        out = np.zeros_like(a)
        assert getattr(raptors, op)(a, other, out=out) is out
        np.testing.assert_array_equal(out, getattr(raptors, op)(a, other))
    for op in ("sum", "mean"):
        for axis in (None, 0, 1):
            want = np.asarray(getattr(raptors, op)(a, axis))
            out = np.zeros_like(want)
            assert getattr(raptors, op)(a, axis, out=out) is out
            np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", [(40, 30), (700, 900)])
def test_in_place(level: str, shape: tuple[int, int]) -> None:
    module = LEVELS[level]
    for order in ("C", "F"):
        a = np.array(fill(shape, "float32", 2, whole=False), order=order)
        want = a + a
        assert module.add(a, a, out=a) is a
        np.testing.assert_array_equal(a, want)
        row = a[0].copy()
        want = a + row
        module.broadcast_add(a, row, out=a)
        np.testing.assert_array_equal(a, want)
        b = a[:, ::-1]
        want = b * np.float32(3)
        module.scale(b, 3, out=b)
        np.testing.assert_array_equal(b, want)


@given(st.data(), st.sampled_from(DTYPES), st.sampled_from(sorted(LEVELS)))
def test_overlap_is_as_in_numpy(data: st.DataObject, dtype: str, level: str) -> None:
    """Views of one memory as operands and as out: shifted, backwards, transposed."""
    module = LEVELS[level]
    side = data.draw(st.integers(1, 40))
    memory = np.arange(side * side * 2 + 9).astype(dtype)

    def view() -> Any:
        start = data.draw(st.integers(0, 9))
        array = memory[start : start + side * side].reshape(side, side)
        return data.draw(st.sampled_from([array, array.T, array[::-1], array[:, ::-1]]))

    for op, ufunc in ("add", np.add), ("multiply", np.multiply):
        a, b, out = view(), view(), view()
        want = ufunc(a, b)
        getattr(module, op)(a, b, out=out)
        np.testing.assert_array_equal(out, want)

    a, row, out = view(), view()[0], view()
    want = a + row
    module.broadcast_add(a, row, out=out)
    np.testing.assert_array_equal(out, want)

    a, out = view(), view()
    want = a * memory.dtype.type(3)
    module.scale(a, 3, out=out)
    np.testing.assert_array_equal(out, want)

    if dtype != "int32":  # Their sums have another dtype, so another memory.
        memory[:] = np.arange(memory.size) % 50
        a, out = view(), view()[0]
        want = a.sum(axis=0)
        module.sum(a, axis=0, out=out)
        np.testing.assert_array_equal(out, want)


@given(st.data(), st.sampled_from(DTYPES), st.sampled_from(sorted(LEVELS)))
def test_overlap_of_shifted_rows(data: st.DataObject, dtype: str, level: str) -> None:
    """The result a few elements before or behind the operand, in steps or backwards."""
    memory = np.arange(5000).astype(dtype)
    length = data.draw(st.integers(0, 1500))

    def view() -> Any:
        start, step = data.draw(st.integers(0, 40)), data.draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        array = memory[start : start + length * abs(step) : abs(step)]
        return array[::-1] if step < 0 else array

    a, b, out = view(), view(), view()
    want = a + b
    LEVELS[level].add(a, b, out=out)
    np.testing.assert_array_equal(out, want)


def test_unaligned_out() -> None:
    a = np.ones((3, 4), "f4")
    out = np.zeros(49, "i1")[1:].view("f4").reshape(3, 4)
    assert raptors.add(a, a, out=out) is out
    assert out.tolist() == [[2] * 4] * 3
    field = np.zeros(4, [("x", "i1"), ("y", "f4")])["y"]
    raptors.sum(a, axis=0, out=field)
    assert field.tolist() == [3] * 4


def test_out_whose_elements_share_memory() -> None:
    a = np.ones((4, 5), "f4")
    out = np.lib.stride_tricks.as_strided(np.zeros(5, "f4"), (4, 5), (0, 4), writeable=True)
    raptors.add(a, a, out=out)
    np.testing.assert_array_equal(out, 2 * a)


def test_strided_out() -> None:
    a = fill((30, 40), "float64", 3, whole=True)
    for out in (np.zeros((60, 80))[::2, ::2], np.zeros((40, 30)).T, np.zeros((30, 40))[::-1, ::-1]):
        raptors.multiply(a, a, out=out)
        np.testing.assert_array_equal(out, a * a)
        raptors.sum(a, axis=1, out=out[:, 0])
        np.testing.assert_array_equal(out[:, 0], a.sum(axis=1))


def test_an_array_of_ours_as_out() -> None:
    out = raptors.zeros((2, 2), "f4")
    assert raptors.add(np.ones((2, 2), "f4"), raptors.ones((2, 2), "f4"), out=out) is out
    assert out.to_numpy().tolist() == [[2, 2], [2, 2]]


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros(3, "f4"), ValueError, r"out has shape \(3,\), but the result has shape \(2,3\)"),
        (np.zeros((2, 3), "f8"), TypeError, "out has dtype float64, but the result has dtype float32"),
        (np.zeros((2, 3), ">f4"), TypeError, "out has dtype >f4"),
        ([[0.0] * 3] * 2, TypeError, "return arrays must be of ArrayType"),
        ((np.zeros((2, 3), "f4"),), TypeError, "return arrays must be of ArrayType: out is tuple"),
        (np.ma.zeros((2, 3), "f4"), TypeError, "MaskedArray is a subclass"),
        (raptors.zeros((2, 3), "f8"), TypeError, "out has dtype float64"),
        (np.zeros((2, 3), "O"), TypeError, "out has dtype object"),
        (np.float32(0), TypeError, "out is .*float32, not numpy.ndarray"),
        (np.broadcast_to(np.zeros(3, "f4"), (2, 3)), ValueError, "output array is read-only"),
    ],
)
def test_out_that_does_not_fit(out: Any, error: type[Exception], message: str) -> None:
    a = np.ones((2, 3), "f4")
    calls: list[Callable[[], object]] = [
        lambda: raptors.add(a, a, out=out),
        lambda: raptors.scale(a, 2, out=out),
        lambda: raptors.sum(a[None], axis=0, out=out),
    ]
    for call in calls:
        with pytest.raises(error, match=message):
            call()
