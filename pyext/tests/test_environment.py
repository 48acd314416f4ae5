"""RAPTORS_THREADS, RAPTORS_SIMD and config(); processes and threads."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest

import raptors

from .levels import LEVELS, output, run

BIG = "import numpy as np, raptors; a = np.ones((2048, 2048), 'f4'); raptors.add(a, a)\n"
NAMES = """
import pathlib, time
def names(expected=0):
    # A thread names itself when it begins to run, which may be after the first work is done.
    for _ in range(500):
        comms = [pathlib.Path(task, "comm").read_text().strip() for task in pathlib.Path("/proc/self/task").iterdir()]
        found = sorted(comm for comm in comms if comm.startswith("raptors-"))
        if len(found) >= expected:
            break
        time.sleep(0.02)
    return found
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/task")


def test_config() -> None:
    code = "import raptors; c = raptors.config(); print(c['threads'], c['simd']['requested'], c['simd']['used'])"
    assert output(code, RAPTORS_THREADS="3", RAPTORS_SIMD="off").startswith("{'requested': '3', 'used': 3, ")
    assert output(code, RAPTORS_THREADS="3", RAPTORS_SIMD="off").endswith("} off off")
    best = list(LEVELS)[-1]
    assert output(code, RAPTORS_THREADS="", RAPTORS_SIMD="").endswith(f"None {best}")
    assert output(code, RAPTORS_SIMD="auto").endswith(f"auto {best}")
    assert raptors.config()["version"] == raptors.__version__ == importlib.metadata.version("raptors")


@pytest.mark.skipif(not hasattr(__import__("os"), "sched_setaffinity"), reason="sets the CPU affinity")
def test_default_is_every_core_of_the_process() -> None:
    code = "import os; os.sched_setaffinity(0, {0}); import raptors; print(raptors.config()['threads'])"
    assert output(code) == "{'requested': None, 'used': 1, 'sequential_below': None}"


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_loads(level: str) -> None:
    assert LEVELS[level].LEVEL == level
    assert output("import raptors; print(raptors.config()['simd']['used'])", RAPTORS_SIMD=level) == level


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "99999999999999999999", "100000"])
def test_bad_threads(value: str) -> None:
    done = run("import raptors", RAPTORS_THREADS=value)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ValueError: RAPTORS_THREADS={value}: allowed are whole numbers from 1 to")


@pytest.mark.parametrize("value", ["on", "AVX2", "0", "neon"])
def test_bad_level(value: str) -> None:
    if value in LEVELS:
        pytest.skip(f"{value} exists here")
    done = run("import raptors", RAPTORS_SIMD=value)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"ValueError: RAPTORS_SIMD={value}: there is no such level; allowed are auto, {', '.join(LEVELS)}"


def test_a_level_that_the_processor_lacks() -> None:
    code = (
        "import os; os.environ['RAPTORS_SIMD'] = 'off'\n"
        "from raptors._level import choose\n"
        "assert choose('auto', ['off', 'sse2'], ['off', 'sse2', 'avx2']) == 'sse2'\n"
        "choose('avx2', ['off', 'sse2'], ['off', 'sse2', 'avx2'])"
    )
    done = run(code)
    last = done.stderr.strip().splitlines()[-1]
    assert (
        last == "ValueError: RAPTORS_SIMD=avx2: this processor cannot run that level; allowed here are auto, off, sse2"
    )


@linux
@pytest.mark.parametrize("threads", ["2", "3"])
def test_exactly_so_many_threads(threads: str) -> None:
    """The calling thread is one of them."""
    expected = [f"raptors-{i}" for i in range(1, int(threads))]
    code = NAMES + "import raptors; before = names()\n" + BIG + f"print(before, names({len(expected)}))"
    assert output(code, RAPTORS_THREADS=threads) == f"[] {expected}"


@linux
def test_one_thread_starts_none() -> None:
    code = (
        "import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'\nimport numpy\n"
        "before = len(os.listdir('/proc/self/task'))\n" + BIG + "print(len(os.listdir('/proc/self/task')) - before)"
    )
    assert output(code, RAPTORS_THREADS="1") == "0"


def test_the_threshold_is_measured_at_the_first_call_that_may_be_shared() -> None:
    code = (
        "import numpy as np, raptors\ndef below(): return raptors.config()['threads']['sequential_below']\n"
        "a = np.ones(1 << 16, 'f4')\nprint(below()); raptors.sum(a[1:]); print(below()); raptors.sum(a); print(below())"
    )
    *before, after = output(code, RAPTORS_THREADS="2").split()
    assert before == ["None", "None"]
    assert 256 << 10 <= int(after) <= 32 << 20
    assert output(code, RAPTORS_THREADS="1").split() == ["None"] * 3


@linux
def test_concurrent_callers_share_the_pool() -> None:
    code = (
        NAMES
        + BIG
        + """
import threading
want = float(a.sum())
bad = []
def work():
    for _ in range(20):
        if raptors.sum(a) != want or raptors.add(a, a)[-1, -1] != 2:
            bad.append(1)
callers = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in callers]
[t.join() for t in callers]
print(len(bad), len(names(2)))
"""
    )
    assert output(code, RAPTORS_THREADS="3") == "0 2"


def test_the_gil_is_released() -> None:
    """Another Python thread gets on while a kernel runs: it counts on during one call."""
    code = """
import sys, threading, numpy as np, raptors
sys.setswitchinterval(1000)
a = np.broadcast_to(np.float32(1), (20_000, 20_000))
inside, done, seen = threading.Event(), threading.Event(), []
def other():
    inside.wait()
    seen.append(not done.is_set())
thread = threading.Thread(target=other)
thread.start()
inside.set()
raptors.sum(a)
done.set()
thread.join()
print(seen)
"""
    assert output(code, RAPTORS_THREADS="1") == "[True]"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork() -> None:
    """A child has none of its parent's threads: it starts its own."""
    code = (
        "import os, sys, warnings; warnings.simplefilter('ignore')\n"
        + NAMES
        + BIG
        + """
sys.stdout.flush()
child = os.fork()
if child == 0:
    ok = names() == [] and raptors.add(a, a)[-1, -1] == 2 and names(1) == ["raptors-1"]
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if raptors.sum(a) == a.size else 1)
    os._exit(0 if ok and os.waitpid(grandchild, 0)[1] == 0 else 1)
status = os.waitpid(child, 0)[1]
print(status, raptors.sum(a) == a.size)
"""
    )
    assert output(code, RAPTORS_THREADS="2") == "0 True"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forks_while_others_call() -> None:
    """A child may begin at any moment of its parent's calls; it has none of their state."""
    code = (
        "import os, threading, warnings; warnings.simplefilter('ignore')\n"
        + BIG
        + """
done, bad = threading.Event(), []
def call():
    while not done.is_set():
        if raptors.add(a, a)[-1, -1] != 2 or raptors.sum(a) != a.size:
            bad.append(1)
callers = [threading.Thread(target=call) for _ in range(3)]
[caller.start() for caller in callers]
for _ in range(20):
    child = os.fork()
    if child == 0:
        right = all(raptors.add(a, a)[-1, -1] == 2 and raptors.sum(a) == a.size for _ in range(3))
        os._exit(0 if right else 1)
    bad += [1] * (os.waitpid(child, 0)[1] != 0)
done.set()
[caller.join() for caller in callers]
print(len(bad))
"""
    )
    assert output(code, RAPTORS_THREADS="3") == "0"
