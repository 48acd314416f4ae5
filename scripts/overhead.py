#!/usr/bin/env python3
"""Measures what a profiler costs the program that it profiles: raptors-prof and its peers, interleaved.

Each program does a fixed amount of work and prints how long that took, so start-up is not in the figure. A round runs every
program under every profiler once; the result is the median ratio to the unprofiled run of the same round. Peers that are not
installed are left out: perf (linux-perf), py-spy and austin (austin-dist, both from PyPI, in the interpreter's environment).

    scripts/overhead.py --python .venv/bin/python --rate 997 --rounds 9
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# One CPU for those of one thread: where the scheduler happens to move them changes their time by up to 8 per cent.
PINNED = """
import os
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
"""
NUMPY = """
import numpy as np
a = np.ones((512, 512), np.float32); row = a[0].copy()
def work():
    for _ in range(20000): a + row
"""
RECURSION = """
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def work(): fib(28)
"""
RAYON = """
import numpy as np, raptors
a = np.ones((2048, 2048), np.float32); row = a[0].copy(); out = np.empty_like(a)
def work():
    for _ in range(1200): raptors.broadcast_add(a, row, out=out)
"""
TIMED = """
import time
start = time.perf_counter(); work(); print(time.perf_counter() - start)
"""
PROGRAMS = {"NumPy loop": PINNED + NUMPY, "Python recursion": PINNED + RECURSION, "Rayon kernels": RAYON}


def profilers(python: Path, rate: int, out: Path) -> dict[str, list[str]]:
    """Return the command that goes before the program, by profiler."""
    bin_directory = python.parent
    commands = {
        "none": [],
        "raptors-prof": [
            str(ROOT / "target/release/raptors-prof"),
            "record",
            "--quiet",
            "--rate",
            str(rate),
            "-o",
            str(out / "raptors"),
            "--",
        ],
    }
    if shutil.which("perf"):
        record = ["perf", "record", "-q", "-F", str(rate), "-e", "cpu-clock", "-o", str(out / "perf.data")]
        commands["perf dwarf"] = [*record, "--call-graph", "dwarf,16384", "--"]
    if (bin_directory / "py-spy").exists():
        record = [str(bin_directory / "py-spy"), "record", "-f", "raw", "-r", str(rate), "-o", str(out / "py-spy")]
        commands["py-spy --nonblocking"] = [*record, "--nonblocking", "--"]
        commands["py-spy --native"] = [*record, "--native", "--"]
    if (bin_directory / "austin").exists():
        interval = str(round(1_000_000 / rate))
        commands["austin"] = [str(bin_directory / "austin"), "-i", interval, "-o", str(out / "austin")]
    return commands


def seconds(command: list[str]) -> float | None:
    """Run a command; return what the program under it printed last, or None where a profiler failed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"{command[0]} failed with {done.returncode}: {done.stderr.strip()}", file=sys.stderr)
        return None
    numbers = [line for line in done.stdout.splitlines() if line.replace(".", "", 1).isdigit()]
    return float(numbers[-1])


def measure(python: Path, rate: int, rounds: int) -> None:
    """Print a table of median ratios, one row a program."""
    ratios: dict[tuple[str, str], list[float]] = {}
    for index in range(rounds):
        for program, source in PROGRAMS.items():
            with tempfile.TemporaryDirectory() as directory:
                script = Path(directory, "program.py")
                script.write_text(source + TIMED)
                commands = profilers(python, rate, Path(directory))
                times = {name: seconds([*before, str(python), str(script)]) for name, before in commands.items()}
            unprofiled = times["none"]
            if unprofiled is None:
                sys.exit(f"{program} does not run without a profiler")
            for name, time in times.items():
                ratios.setdefault((program, name), [])
                if time is not None:
                    ratios[program, name].append(time / unprofiled)
        print(f"round {index + 1} of {rounds}", file=sys.stderr)
    names = list(dict.fromkeys(name for _, name in ratios))
    print(f"| {rate} Hz | " + " | ".join(names[1:]) + " |")
    print("|---" * len(names) + "|")
    for program in PROGRAMS:
        cells = [cell(ratios[program, name], rounds) for name in names[1:]]
        print(f"| {program} | " + " | ".join(cells) + " |")


def cell(ratios: list[float], rounds: int) -> str:
    """Return the median, and how many rounds it rests on where some failed."""
    if not ratios:
        return "failed"
    median = f"{statistics.median(ratios):.3f}"
    return median if len(ratios) == rounds else f"{median} ({len(ratios)} of {rounds})"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=ROOT / ".venv/bin/python")
    parser.add_argument("--rate", type=int, default=997)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    measure(options.python.absolute(), options.rate, options.rounds)


if __name__ == "__main__":
    main()
