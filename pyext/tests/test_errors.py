"""What is refused, by which exception, in which words."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest

import raptors as typed

from .levels import LEVELS

raptors: Any = typed  # Wrong types are the matter here.
a = np.ones((2, 3), "f4")
i = np.ones((2, 3), "i4")


@pytest.mark.parametrize(
    "dtype", ["f2", "i8", "u4", "i2", "c8", "?", "O", "U3", "M8[s]", "g", ">f4", ">i4", [("x", "f4")]]
)
def test_dtypes_that_are_not_supported(dtype: Any) -> None:
    for call in (
        raptors.sum,
        raptors.mean,
        raptors.from_numpy,
        lambda x: raptors.add(x, x),
        lambda x: raptors.scale(x, 2),
    ):
        with pytest.raises(TypeError, match=r"is not supported; supported are float32, float64, int32"):
            call(np.zeros(3, dtype))


def test_unaligned_arrays() -> None:
    unaligned = np.zeros(33, "i1")[1:].view("f4")
    with pytest.raises(TypeError, match="not aligned"):
        raptors.sum(unaligned)
    field = np.zeros(4, [("x", "i1"), ("y", "f8")])["y"]
    with pytest.raises(TypeError, match="not aligned"):
        raptors.sum(field)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: raptors.add(a, np.ones(4, "f4")),
            ValueError,
            r"could not be broadcast together with shapes \(2,3\) \(4,\)",
        ),
        (lambda: raptors.multiply(a, a.T), ValueError, r"shapes \(2,3\) \(3,2\)"),
        (
            lambda: raptors.broadcast_add(a, np.ones(2, "f4")),
            ValueError,
            r"row of shape \(2,\) to an array of shape \(2,3\)",
        ),
        (lambda: raptors.broadcast_add(a, a), ValueError, r"row of shape \(2,3\)"),
        (lambda: raptors.broadcast_add(a[0, 0], a[0]), ValueError, r"array of shape \(\)"),
        (lambda: raptors.add(a, a.astype("f8")), TypeError, "float32 and float64"),
        (lambda: raptors.add(a, i), TypeError, "float32 and int32"),
        (lambda: raptors.sum(a, axis=2), ValueError, "axis 2 is out of bounds for array of dimension 2"),
        (lambda: raptors.mean(a, axis=-3), IndexError, "axis -3 is out of bounds for array of dimension 2"),
        (lambda: raptors.sum(np.float32(1), axis=0), ValueError, "axis 0 is out of bounds for array of dimension 0"),
        (lambda: raptors.sum(a, axis=(0, 1)), TypeError, "axis must be an integer or None, not tuple"),
        (lambda: raptors.sum(a, axis=1.0), TypeError, "axis must be an integer or None, not float"),
        (lambda: raptors.scale(i, 1.5), TypeError, "int32 array takes an integer factor"),
        (lambda: raptors.scale(i, 2**31), OverflowError, "Python integer 2147483648 out of bounds for int32"),
        (lambda: raptors.scale(a, "x"), TypeError, "must be real number, not str"),
        (lambda: raptors.scale(a, 1j), TypeError, "real number, not complex|convert complex to float"),
        (lambda: raptors.sum("text"), TypeError, "is not supported"),
        (lambda: raptors.sum(None), TypeError, "object is not supported"),
        (lambda: raptors.sum(np.ma.masked_array(a)), TypeError, "MaskedArray is a subclass"),
        (lambda: raptors.from_numpy([1.0]), TypeError, "expected numpy.ndarray, got list"),
        (lambda: raptors.array([1, 2]), TypeError, "int64 is not supported"),
        (lambda: raptors.ones(3).sum_axis(None), TypeError, "axis must be an integer"),
        (lambda: raptors.zeros((2**40, 2**40)), (ValueError, MemoryError), "too big|[Mm]aximum|allocate"),
        (lambda: raptors.zeros(-1), ValueError, "negative dimensions"),
    ],
)
def test_refusals(call: Callable[[], object], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_result_too_large_for_memory() -> None:
    column = np.broadcast_to(np.float32(1), (2**31, 1))
    with pytest.raises((ValueError, MemoryError)):
        raptors.add(column, np.broadcast_to(np.float32(1), (1, 2**31)))


@pytest.mark.parametrize("elements", [1, 1_000_000])
def test_a_panic_becomes_an_exception(elements: int) -> None:
    """With the GIL and without; the module goes on working."""
    for module in LEVELS.values():
        fail: Any = module.fail
        with pytest.raises(RuntimeError, match=r"a kernel failed .asked to, with .* threads.; .*please report it"):
            fail(elements)
        assert module.sum(a) == 6


def test_what_numpy_makes_an_array_of() -> None:
    assert raptors.sum([1.5, 2.5]) == 4.0
    assert raptors.sum(np.float32(3)) == np.float32(3)
    assert isinstance(raptors.add(np.float32(1), np.float32(2)), np.float32)
    np.testing.assert_array_equal(raptors.add(raptors.ones(2), np.ones(2)), [2, 2])


def test_memmap(tmp_path: Any) -> None:
    mapped = np.memmap(tmp_path / "x", "f4", "w+", shape=(5,))
    mapped[:] = 2
    assert raptors.sum(mapped) == 10
    raptors.scale(mapped, 2, out=mapped)
    assert mapped.tolist() == [4] * 5


def test_help_reads_well() -> None:
    for name in raptors.__all__:
        thing = getattr(raptors, name)
        if callable(thing):
            assert len(thing.__doc__ or "") > 40, name
    assert "(a, axis=None, out=None)" in str(raptors.sum.__text_signature__)
