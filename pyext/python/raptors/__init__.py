"""SIMD array kernels on NumPy arrays.

Functions take NumPy arrays of float32, float64 or int32 and return NumPy arrays or scalars: sum, mean, add, multiply,
broadcast_add, scale. The class Array, made by array, from_numpy, zeros and ones, has the same operations as methods.

Three environment variables are read when the package is imported:

RAPTORS_THREADS
    How many threads the kernels may use, exactly; 1 starts none. By default every core that the process may use.
RAPTORS_SIMD
    auto (the default), off, sse2 (x86-64-v2), avx2 (x86-64-v3) or avx512 (x86-64-v4).

RAPTORS_POOL_BYTES
    How many bytes of large results' memory may be kept for the next results; 0 keeps none. 268435456 by default.

config() tells what was requested and what is used. Results are the same to the bit for every choice.
"""

from __future__ import annotations

from typing import Any

from ._level import native, requested

__version__: str = native.__version__

Array = native.Array
add = native.add
array = native.array
broadcast_add = native.broadcast_add
from_numpy = native.from_numpy
mean = native.mean
multiply = native.multiply
ones = native.ones
scale = native.scale
sum = native.sum
zeros = native.zeros

__all__ = [
    "Array",
    "__version__",
    "add",
    "array",
    "broadcast_add",
    "config",
    "from_numpy",
    "mean",
    "multiply",
    "ones",
    "scale",
    "sum",
    "zeros",
]


def config() -> dict[str, Any]:
    """Tell what was requested and what is used.

    Returns
    -------
    A dict of

    version
        The package's version.
    threads
        requested (the text of RAPTORS_THREADS, or None), used (a number), and sequential_below: calls that touch fewer
        bytes run on the calling thread alone. It is None for one thread, and until the first call of 256 KiB or more
        has started the threads and measured what calling them costs.
    simd
        requested (the text of RAPTORS_SIMD, or None), used, and supported (the levels that this processor can run).
    memory
        requested (the text of RAPTORS_POOL_BYTES, or None), limit and idle (bytes of results' memory that may be, and
        are, kept for later), hits and misses (how many large results found such memory, and how many did not).
    """
    threads, used, sequential_below = native.threads()
    pool, limit, idle, hits, misses = native.memory()
    return {
        "version": __version__,
        "threads": {"requested": threads, "used": used, "sequential_below": sequential_below},
        "simd": {"requested": requested, "used": native.LEVEL, "supported": list(native.SUPPORTED)},
        "memory": {"requested": pool, "limit": limit, "idle": idle, "hits": hits, "misses": misses},
    }
