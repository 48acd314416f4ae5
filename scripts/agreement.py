#!/usr/bin/env python3
"""Compares where raptors-prof, perf and py-spy say that the time of the same programs goes.

Each program does fixed work under each profiler; the shares are those of functions at the leaf of the stack. Either pair is
compared on what both can see:

- perf has no Python functions: all of them are the evaluator, and kernel functions are told as one.
- py-spy has neither the kernel's nor the interpreter's own functions: such leaves belong to the function below them. It has no names for
  the C library either, which is told as one.

perf (linux-perf) must be installed, and py-spy in the interpreter's environment.

    scripts/agreement.py --python .venv/bin/python --rate 499
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TOP = 10
# Rows with less on both sides are left out.
LEAST = 0.005

NUMPY = """
import numpy as np
a = np.random.default_rng(1).random((512, 512), dtype=np.float32); row = a[0].copy(); b = a.astype(np.float64)
for _ in range(16000):
    a + row; a * a; a.sum(); b.mean(axis=0); np.sqrt(b)
for _ in range(240):
    np.sort(b, axis=1)
"""
PYTHON = """
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def words(n): return " ".join(str(i) for i in range(n)).split()
def count(items):
    counts = {}
    for item in items: counts[item[-2:]] = counts.get(item[-2:], 0) + 1
    return counts
for _ in range(240):
    fib(21); count(words(60000))
"""
CALLBACK = """
import zlib
data = bytes(200_000)
def key(item): return zlib.crc32(data, item)
for _ in range(600): sorted(range(300), key=key)
"""
PROGRAMS = {"NumPy loop": NUMPY, "pure Python": PYTHON, "sorted(key=...)": CALLBACK}

EVALUATOR = "_PyEval_EvalFrameDefault"
KERNEL = "[kernel]"
LIBC = "[libc]"
PYTHON_FRAME = re.compile(r"(.*) \((.*)\.py:\d+\)")
PY_SPY_NATIVE = re.compile(r"(.*) \(([^()]*)\)")
RAPTORS_NATIVE = re.compile(r"(.*) \[([^\[\]]*)\]")


class Frame(NamedTuple):
    """A function; the module is empty for Python, KERNEL for the kernel."""

    name: str
    module: str


# Stacks from root to leaf with their samples.
Stacks = list[tuple[list[Frame], int]]


def run(command: list[str], **options: object) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def folded(text: str, native: re.Pattern[str]) -> Stacks:
    """Parse folded stacks, whose native frames are named as `native` says."""

    def frame(text: str) -> Frame:
        if found := PYTHON_FRAME.fullmatch(text):
            return Frame(found[1].rpartition(".")[2], "")
        found = native.fullmatch(text)
        return Frame(found[1], KERNEL if found[2] == "kernel" else found[2]) if found else Frame(text, "?")

    lines = (line.rpartition(" ") for line in text.splitlines())
    return [([frame(part) for part in stack.split(";")], int(count)) for stack, _, count in lines]


def raptors(program: list[str], rate: int, profiler: Path, directory: Path) -> Stacks:
    """Profile with raptors-prof."""
    out = directory / "raptors"
    run([str(profiler), "record", "--quiet", "--rate", str(rate), "-o", str(out), "--", *program])
    return folded((out / "profile.folded").read_text(), RAPTORS_NATIVE)


def py_spy(program: list[str], rate: int, directory: Path) -> Stacks:
    """Profile with py-spy."""
    out = directory / "py-spy"
    command = [str(Path(program[0]).parent / "py-spy"), "record", "--native", "-f", "raw"]
    run([*command, "-r", str(rate), "-o", str(out), "--", *program])
    return folded(out.read_text(), PY_SPY_NATIVE)


def perf(program: list[str], rate: int, directory: Path) -> Stacks:
    """Profile with perf."""
    data = ["-o", str(directory / "perf.data")]
    record = ["perf", "record", "-q", "-F", str(rate), "-e", "cpu-clock", "--call-graph", "dwarf,16384"]
    run([*record, *data, "--", *program])
    script = ["perf", "script", "-i", str(directory / "perf.data"), "--no-inline", "-F", "ip,sym,dso"]
    stacks = []
    for sample in run(script).split("\n\n"):
        lines = [re.fullmatch(r"\s*[0-9a-f]+ (.*) \((.*)\)", line) for line in sample.splitlines()]
        frames = [Frame(line[1], module_of_perf(line[2])) for line in reversed(lines) if line]
        if frames:
            stacks.append((frames, 1))
    return stacks


def module_of_perf(path: str) -> str:
    """Return a file's name, or KERNEL."""
    return KERNEL if path.startswith("[kernel") else Path(path).name


def seen_by_perf(stack: list[Frame]) -> str:
    """Return the leaf as perf could tell it."""
    name, module = stack[-1]
    if module == KERNEL:
        return KERNEL
    return EVALUATOR if module == "" else plain(name)


def seen_by_py_spy(stack: list[Frame]) -> str:
    """Return the leaf as py-spy could tell it."""
    for name, module in reversed(stack):
        if module.startswith("libc.so"):
            return LIBC
        if module != KERNEL and not re.match(r"(lib)?python3", module):
            return plain(name)
    return "[the interpreter alone]"


def plain(name: str) -> str:
    """Return a C++ function's name without its parameters and the like."""
    return re.sub(r"[<(].*", "", name) or name


def leaves(stacks: Stacks, leaf: Callable[[list[Frame]], str]) -> Counter[str]:
    """Return the samples of each leaf."""
    counts: Counter[str] = Counter()
    for stack, count in stacks:
        counts[leaf(stack)] += count
    return counts


def table(program: str, peer: str, ours: Counter[str], theirs: Counter[str]) -> None:
    """Print the top ten of both, one row a function, and what chance may do: two standard deviations of the difference."""
    print(f"\n| {program}: self time of | raptors-prof | {peer} | difference | by chance |\n|---|---|---|---|---|")
    names = dict.fromkeys(name for name, _ in ours.most_common(TOP) + theirs.most_common(TOP))
    for name in sorted(names, key=lambda name: -ours[name]):
        own, other = ours[name] / ours.total(), theirs[name] / theirs.total()
        if max(own, other) >= LEAST:
            chance = 2 * sqrt(own * (1 - own) / ours.total() + other * (1 - other) / theirs.total())
            print(f"| `{name}` | {own:.1%} | {other:.1%} | {100 * (own - other):+.1f} | ±{100 * chance:.1f} |")
    print(f"\n{ours.total()} and {theirs.total()} samples")


def main() -> None:
    """Read the command line, profile, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=ROOT / ".venv/bin/python")
    parser.add_argument("--profiler", type=Path, default=ROOT / "target/release/raptors-prof")
    parser.add_argument("--rate", type=int, default=499)
    options = parser.parse_args()
    for name, source in PROGRAMS.items():
        with tempfile.TemporaryDirectory() as place:
            directory = Path(place)
            script = directory / "program.py"
            script.write_text(source)
            program = [str(options.python.absolute()), str(script)]
            ours = raptors(program, options.rate, options.profiler.absolute(), directory)
            of_perf = perf(program, options.rate, directory)
            of_py_spy = py_spy(program, options.rate, directory)
        for peer, stacks in [("perf", of_perf), ("py-spy", of_py_spy)]:
            leaf = seen_by_perf if peer == "perf" else seen_by_py_spy
            table(name, peer, leaves(ours, leaf), leaves(stacks, leaf))


if __name__ == "__main__":
    main()
