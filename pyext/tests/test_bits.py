"""The same bits at every level and for every number of threads."""

from __future__ import annotations

import hashlib

import pytest

from .levels import LEVELS, output

DIGEST = """
import hashlib
import numpy as np, raptors
digest = hashlib.sha256()
rng = np.random.default_rng(5)
for dtype in ["f4", "f8", "i4"]:
    for shape in [(2100, 1100), (200003, 11), (3, 800003), (61, 67, 71, 8), (7,)]:
        a = (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 6, shape)).astype(dtype)
        for view in [a, a.T, a[..., ::-1], a[::2]]:
            results = [raptors.sum(view), raptors.mean(view), raptors.scale(view, 3), raptors.add(view, view)]
            results += [raptors.broadcast_add(view, view[(0,) * (view.ndim - 1)])]
            results += [f(view, k) for f in (raptors.sum, raptors.mean) for k in range(view.ndim)]
            for result in results:
                digest.update(np.ascontiguousarray(result))
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def reference() -> str:
    return output(DIGEST, RAPTORS_SIMD="off", RAPTORS_THREADS="1")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_same_bits(reference: str, level: str, threads: str) -> None:
    assert len(reference) == hashlib.sha256().digest_size * 2
    assert output(DIGEST, RAPTORS_SIMD=level, RAPTORS_THREADS=threads) == reference
