"""The memory of large results: ordinary arrays, whose buffers are used again within a bound."""

from __future__ import annotations

import gc
import pickle
import sys
from typing import Any

import numpy as np
import pytest

import raptors

from .levels import output, run

LARGE = (700, 800)
HANDLER = "import numpy as np, raptors\nfrom numpy._core.multiarray import get_handler_name as handler\n"


def a() -> Any:
    return np.ones(LARGE, "f4")


def hits() -> int:
    return raptors.config()["memory"]["hits"]


def test_a_large_result_is_an_ordinary_array() -> None:
    result = raptors.add(a(), a())
    assert type(result) is np.ndarray
    assert result.base is None
    assert result.flags.owndata
    assert result.flags.writeable
    assert result.ctypes.data % 4096 == 0
    assert (pickle.loads(pickle.dumps(result)) == 2).all()
    result += 1
    assert (result.copy() == 3).all()
    assert sys.getsizeof(result) > result.nbytes


def test_it_can_be_resized() -> None:
    for rows in (1400, 700, 3):
        result = raptors.add(a(), a())
        result.resize((rows, LARGE[1]), refcheck=False)
        assert (result[: LARGE[0]] == 2).all()
        result[:] = 5
        assert result.sum(dtype="f8") == 5 * rows * LARGE[1]


def test_memory_is_used_again_once_the_result_is_gone() -> None:
    first = raptors.add(a(), a())
    address = first.ctypes.data
    second = raptors.add(first, first)
    assert not np.shares_memory(first, second)
    view = first[3:]
    del first
    third = raptors.add(a(), a())
    assert third.ctypes.data != address, "a view still holds it"
    assert (view == 2).all()
    before = hits()
    del view
    gc.collect()
    fourth = raptors.scale(third, 3)
    assert fourth.ctypes.data == address
    assert hits() == before + 1
    assert (second == 4).all()
    assert (fourth == 6).all()


def test_arrays_and_temporaries_too() -> None:
    x = raptors.array(a())
    x.add(x)
    before = hits()
    assert (x.scale(2.0).to_numpy() == 2).all()
    out = a()
    raptors.add(out, out[::-1], out=out)
    assert (out == 2).all()
    assert hits() == before + 2


def test_small_results_and_arrays_of_numpy_are_numpys() -> None:
    code = HANDLER + (
        "a = np.ones((600, 600), 'f4'); x = raptors.add(a, a)\n"
        "print(handler(x), handler(raptors.add(a[0], a[0])), handler(a + a), handler())"
    )
    assert output(code) == "raptors default_allocator default_allocator default_allocator"
    assert output(code, RAPTORS_POOL_BYTES="0").split()[0] == "default_allocator"


def test_config() -> None:
    code = "import raptors; m = raptors.config()['memory']; print(m['requested'], m['limit'], m['idle'], m['hits'])"
    assert output(code) == f"None {256 << 20} 0 0"
    assert output(code, RAPTORS_POOL_BYTES="") == f"None {256 << 20} 0 0"
    assert output(code, RAPTORS_POOL_BYTES="5000000") == "5000000 5000000 0 0"


@pytest.mark.parametrize("value", ["-1", "1.5", "64M", "99999999999999999999"])
def test_bad_limit(value: str) -> None:
    done = run("import raptors", RAPTORS_POOL_BYTES=value)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ValueError: RAPTORS_POOL_BYTES={value}: allowed are whole numbers of bytes")


def test_what_is_kept_is_bounded() -> None:
    code = """
import numpy as np, raptors
results = [raptors.add(a, a) for n in range(600, 1200, 40) for a in [np.ones((n, n), "f4")]]
del results
memory = raptors.config()["memory"]
print(0 < memory["idle"] <= memory["limit"] == 8000000)
"""
    assert output(code, RAPTORS_POOL_BYTES="8000000") == "True"


@pytest.mark.skipif(sys.platform != "linux", reason="counts the page faults of Linux")
@pytest.mark.parametrize("threads", ["1", "2"])
def test_steady_state_has_no_page_faults(threads: str) -> None:
    """Below one a call, where NumPy has one for each fresh page (a result of 64 MB has 16,384, or 32 huge ones)."""
    code = """
import resource
import numpy as np, raptors
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for shape, dtype, calls in [((512, 512), "f4", 300), ((1024, 1024), "f8", 100), ((4096, 4096), "f4", 60)]:
    a = np.ones(shape, dtype)
    row = a[0].copy()
    for op in [lambda: raptors.add(a, a), lambda: raptors.broadcast_add(a, row), lambda: raptors.scale(a, 2.0),
               lambda: raptors.mean(a, 0), lambda: raptors.sum(a, 1)]:
        # Two results are alive at a time; threads come to touch their own memory first.
        for _ in range(10):
            x = op()
        before = faults()
        for _ in range(calls):
            x = op()
        count = faults() - before
        assert count < calls, (shape, dtype, count)
print("done")
"""
    assert output(code, RAPTORS_THREADS=threads) == "done"


def test_threads_keep_their_results_apart() -> None:
    code = """
import threading
import numpy as np, raptors
bad = []
def work(k):
    a = np.full((400, 500), k, "f4")
    for _ in range(100):
        x = raptors.scale(a, 2.0)
        y = raptors.add(x, a)
        if not ((x == 2 * k).all() and (y == 3 * k).all()):
            bad.append(k)
threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
[t.start() for t in threads]
[t.join() for t in threads]
print(len(bad))
"""
    assert output(code) == "0"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs os.fork")
def test_a_forked_child_has_its_own() -> None:
    code = """
import os
import numpy as np, raptors
a = np.ones((600, 600), "f4")
kept, gone = raptors.add(a, a), raptors.add(a, a)
del gone
child = os.fork()
x = raptors.scale(a, 3.0 if child else 5.0)
ok = (x == (3 if child else 5)).all() and (kept == 2).all()
del kept, x
if child == 0:
    os._exit(0 if ok and raptors.config()["memory"]["idle"] > 0 else 1)
print(ok, os.waitpid(child, 0)[1])
"""
    assert output(code, RAPTORS_THREADS="1") == "True 0"
