#!/usr/bin/env python3
"""Records programs whose split of time is known by construction, and says how far the profile is from it.

Each program counts its own work or its own CPU time; a row of the table is one share that is known. Programs whose modules the
interpreter lacks are left out and named.

    scripts/truth.py --python .venv/bin/python --python ~/.pyenv/versions/3.13.0/bin/python
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROFILER = ROOT / "target/release/raptors-prof"
PYTHON_FRAME = re.compile(r"(.*) \([^()]*:\d+\)$")

Stack = list[str]
Stacks = list[tuple[Stack, int]]
Told = dict[str, float]

HEAD = """
import json, random, sys, time, zlib
data = bytes(range(256)) * 256
def work(units):
    for _ in range(units): zlib.crc32(data)
def until(seconds, step):
    end = time.process_time() + seconds
    while time.process_time() < end:
        step()
        # So that the program is never in step with the sampling.
        work(random.randrange(200))
"""

NUMPY = """
import numpy
a = numpy.ones((256, 256), numpy.float32); out = numpy.empty_like(a)
def larger():
    for _ in range(70): numpy.add(a, a, out=out)
def smaller():
    for _ in range(30): numpy.add(a, a, out=out)
def both(): larger(); smaller()
until(5, both)
"""

NESTED = """
def one(): work(10); two()
def two(): work(20); three()
def three(): work(30); four()
def four(): work(40)
until(5, one)
"""

RECURSION = """
def down(depth):
    if depth == 1: return work(20)
    down(depth - 1)
def deep(): down(50)
until(5, deep)
"""

THREADS = """
import threading
told = {}
def holds(name):
    total = 0
    while time.monotonic() < end:
        for i in range(1000): total += i
    told[name] = time.thread_time()
def releases(name):
    large = bytes(1 << 24)
    while time.monotonic() < end: zlib.crc32(large)
    told[name] = time.thread_time()
def first(): holds("first")
def second(): holds("second")
def third(): holds("third")
def fourth(): releases("fourth")
def fifth(): releases("fifth")
end = time.monotonic() + 3
threads = [threading.Thread(target=f) for f in (first, second, third, fourth, fifth)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(told))
"""

RAYON = """
import numpy, raptors
a = numpy.ones((2048, 2048), numpy.float32); out = numpy.empty_like(a)
def larger():
    for _ in range(3): raptors.broadcast_add(a, a[0], out=out)
def smaller():
    for _ in range(2): raptors.broadcast_add(a, a[0], out=out)
def both(): larger(); smaller()
until(4, both)
"""

CALLBACKS = """
import ctypes
compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
libc = ctypes.CDLL(None)
def inner(item):
    work(1)
    return item
def compare(a, b):
    return sum(map(inner, (a[0], -b[0])))
compare_c = compare_type(compare)
def key(item):
    values = (ctypes.c_int * 3)(3, 1, 2)
    libc.qsort(values, 3, ctypes.sizeof(ctypes.c_int), compare_c)
    return item
def outer(): sorted(range(4), key=key)
until(5, outer)
"""

COROUTINES = """
import asyncio
async def larger():
    work(7); await asyncio.sleep(0); work(7)
async def smaller():
    work(3); await asyncio.sleep(0); work(3)
async def both(): await asyncio.gather(larger(), smaller())
async def main():
    end = time.process_time() + 5
    while time.process_time() < end:
        await both()
        work(random.randrange(200))
asyncio.run(main())
"""

GENERATORS = """
def numbers():
    for item in range(20):
        work(7)
        yield item
def fails():
    try:
        work(1)
        raise ValueError
    except ValueError:
        work(2)
def consumer():
    for item in numbers():
        fails()
until(5, consumer)
"""


def leaf(name: str) -> Callable[[Stack], bool]:
    """Say whether the innermost Python function of a stack is this one, or `work` under it."""

    def fits(stack: Stack) -> bool:
        functions = [found[1] for frame in stack if (found := PYTHON_FRAME.fullmatch(frame))]
        return (functions[:-1] if functions[-1:] == ["work"] else functions)[-1:] == [name]

    return fits


def chain(*names: str) -> Callable[[Stack], bool]:
    """Say whether a stack has frames that begin with these in this order."""

    def fits(stack: Stack) -> bool:
        frames = iter(stack)
        return all(any(frame.startswith(name) for frame in frames) for name in names)

    return fits


def deep(stack: Stack) -> bool:
    """Say whether a stack has the recursion as deep as it is."""
    return sum(frame.startswith("down (") for frame in stack) == 50


@dataclass
class Known:
    """One share: of the stacks that are `within`, those that fit."""

    name: str
    fits: Callable[[Stack], bool]
    within: Callable[[Stack], bool]
    share: float | Callable[[Told], float]


def of_time(name: str) -> Callable[[Told], float]:
    """Return a thread's part of the CPU time that the program told."""
    return lambda told: told[name] / sum(told.values())


THREAD_NAMES = ("first", "second", "third", "fourth", "fifth")
BOTH = chain("both (")
PROGRAMS: dict[str, tuple[str, list[Known]]] = {
    "NumPy calls 70:30": (NUMPY, [Known("larger", chain("larger ("), BOTH, 0.7)]),
    "four levels": (
        NESTED,
        [
            Known(name, leaf(name), chain("one ("), share)
            for name, share in (("one", 0.1), ("two", 0.2), ("three", 0.3), ("four", 0.4))
        ],
    ),
    "recursion": (RECURSION, [Known("50 deep", deep, chain("down (", "work ("), 1.0)]),
    "threads": (
        THREADS,
        [
            Known(n, chain(f"{n} ("), lambda s: any(chain(f"{m} (")(s) for m in THREAD_NAMES), of_time(n))
            for n in THREAD_NAMES
        ],
    ),
    "Rayon callers 60:40": (RAYON, [Known("larger", chain("larger ("), BOTH, 0.6)]),
    "callbacks": (
        CALLBACKS,
        [
            Known(
                "whole chain",
                chain("outer (", "list_sort", "key (", "compare (", "builtin_sum", "inner (", "work ("),
                chain("outer (", "work ("),
                1.0,
            )
        ],
    ),
    "coroutines 70:30": (
        COROUTINES,
        [Known("larger", chain("larger ("), lambda s: leaf("larger")(s) or leaf("smaller")(s), 0.7)],
    ),
    "generators 70:30": (
        GENERATORS,
        [
            Known("numbers", chain("consumer (", "numbers (", "work ("), chain("consumer (", "work ("), 0.7),
            Known("fails", chain("consumer (", "fails (", "work ("), chain("consumer (", "work ("), 0.3),
        ],
    ),
}


def record(python: Path, source: str) -> tuple[Stacks, Told, float] | None:
    """Return the stacks of a program, what it told, and the merged ratio; None where it lacks a module."""
    with tempfile.TemporaryDirectory() as directory:
        script, out = Path(directory, "program.py"), Path(directory, "out")
        script.write_text(HEAD + source)
        command = [str(PROFILER), "record", "--quiet", "-o", str(out), "--", str(python), str(script)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if "ModuleNotFoundError" in done.stderr:
            return None
        if done.returncode != 0:
            sys.exit(f"{python} ended with {done.returncode}: {done.stderr.strip()}")
        lines = (line.rpartition(" ") for line in (out / "profile.folded").read_text().splitlines())
        stacks = [(stack.split(";"), int(count)) for stack, _, count in lines]
        merged: float = json.loads((out / "summary.json").read_text())["sampling"]["merged_ratio"]
        told: Told = json.loads(done.stdout) if done.stdout else {}
        return stacks, told, merged


def rows(python: Path) -> list[str]:
    """Measure every program under one interpreter."""
    version = subprocess.run([str(python), "-V"], check=True, capture_output=True, text=True).stdout.split()[1]
    found = []
    for program, (source, shares) in PROGRAMS.items():
        recorded = record(python, source)
        if recorded is None:
            print(f"{version}: {program}: a module is missing", file=sys.stderr)
            continue
        stacks, told, merged = recorded
        for known in shares:
            total = sum(count for stack, count in stacks if known.within(stack))
            fits = sum(count for stack, count in stacks if known.within(stack) and known.fits(stack))
            expected = known.share if isinstance(known.share, float) else known.share(told)
            got = fits / total if total else float("nan")
            off = 100 * (got - expected)
            found.append(
                f"| {version} | {program} | {known.name} | {expected:.3f} | {got:.3f} | {off:+.1f} | {total} | {merged:.3f} |"
            )
    return found


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, action="append", required=True, help="an interpreter; may be repeated")
    print("| CPython | program | share of | known | measured | points off | samples | merged |")
    print("|---" * 8 + "|")
    for python in parser.parse_args().python:
        print("\n".join(rows(python)), flush=True)


if __name__ == "__main__":
    main()
