"""The class Array: its methods, and that it shares memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import raptors

from .arrays import DTYPES, fill


@pytest.mark.parametrize("dtype", DTYPES)
def test_methods_are_the_functions(dtype: str) -> None:
    a = fill((4, 5), dtype, 1, whole=True)
    x = raptors.from_numpy(a)
    assert x.sum() == a.sum()
    assert x.mean() == a.mean()
    results = [
        (x.sum_axis(0), a.sum(0)),
        (x.mean_axis(-1), a.mean(-1)),
        (x.add(a), a + a),
        (x.add(x), a + a),
        (x.multiply(x), a * a),
        (x.broadcast_add(a[0]), a + a[0]),
        (x.scale(2), a * 2),
    ]
    for got, want in results:
        assert isinstance(got, raptors.Array)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got.to_numpy(), want)


def test_attributes() -> None:
    x = raptors.zeros((2, 3), dtype="int32")
    assert (x.shape, x.dtype, x.ndim, x.size, len(x)) == ((2, 3), np.dtype("int32"), 2, 6, 2)
    assert repr(raptors.array([[1.0, 2.0]], np.float32)) == "raptors.Array([[1., 2.]], dtype=float32)"


def test_nothing_is_copied() -> None:
    a = np.arange(12, dtype="f8").reshape(3, 4).T[::2]
    x = raptors.from_numpy(a)
    assert np.shares_memory(x.to_numpy(), a)
    assert np.shares_memory(np.asarray(x), a)
    a[0, 0] = 99
    assert x.to_numpy()[0, 0] == 99
    assert not np.shares_memory(raptors.array(a).to_numpy(), a)
    assert not np.shares_memory(np.array(x), a)


def test_array_protocol() -> None:
    x = raptors.ones(3, "f4")
    assert np.asarray(x).dtype == np.float32
    assert np.asarray(x, dtype="f8").dtype == np.float64
    assert np.shares_memory(np.asarray(x, dtype="f4"), x.to_numpy())
    assert x.__array__(np.dtype("f4")) is x.to_numpy()
    assert x.__array__(copy=True) is not x.to_numpy()
    with pytest.raises(ValueError, match="Unable to avoid copy"):
        x.__array__(np.dtype("f8"), copy=False)
    np.testing.assert_array_equal(np.ones(3) + x.to_numpy(), [2, 2, 2])
    np.testing.assert_array_equal(raptors.array(x, dtype="f8").to_numpy(), [1, 1, 1])


def test_buffer_protocol() -> None:
    x = raptors.array([[1, 2, 3], [4, 5, 6]], dtype="int32")
    view: Any = memoryview(x)
    assert (view.shape, view.format, view.readonly) == ((2, 3), "i", False)
    view[1, 2] = 60
    assert x.to_numpy()[1, 2] == 60
    strided: Any = raptors.from_numpy(np.arange(10.0)[::3])
    assert memoryview(strided).tolist() == [0, 3, 6, 9]
    frozen = np.ones(2)
    frozen.flags.writeable = False
    constant: Any = raptors.from_numpy(frozen)
    assert memoryview(constant).readonly
    # The buffer outlives the Array.
    del x
    assert view.tolist() == [[1, 2, 3], [4, 5, 60]]


def test_sums_of_int32_are_int64() -> None:
    sums = raptors.ones((3, 2), "int32").sum_axis(0)
    assert sums.dtype == np.int64
    with pytest.raises(TypeError, match="int64"):
        sums.sum()
