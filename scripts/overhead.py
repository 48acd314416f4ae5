#!/usr/bin/env python3
"""Measures what a profiler costs the program that it profiles: raptors-prof and its peers, interleaved.

A program works in pieces of a few milliseconds and notes when each begins. Profilers are attached to it one after the other, each
for a burst, with a pause in which nobody watches before and after it. A profiler's cost is the median time of a piece in its
burst, divided by that in the pauses beside it: so neither start-up nor what the machine does meanwhile is in the figure. Printed are the
median over all rounds and, behind the sign, the median distance from it. The first row, `nothing`, is what the method itself shows where nobody watches.

Peers that are not installed are left out: perf (linux-perf), py-spy and austin (austin-dist, both from PyPI, in the
interpreter's environment). `perf, no stack` is the price of the kernel's timer alone.

    scripts/overhead.py --python .venv/bin/python --rate 997 --rounds 9
"""

from __future__ import annotations

import argparse
import array
import bisect
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
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
def piece():
    for _ in range(40): a + row
"""
RECURSION = """
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def piece(): fib(19)
"""
RAYON = """
import numpy as np, raptors
a = np.ones((2048, 2048), np.float32); row = a[0].copy(); out = np.empty_like(a)
def piece():
    for _ in range(4): raptors.broadcast_add(a, row, out=out)
"""
WORKING = """
import array, signal, sys, time
working = True
def stop(*_):
    global working
    working = False
signal.signal(signal.SIGTERM, stop)
begun = array.array("d")
while working:
    begun.append(time.monotonic()); piece()
with open(sys.argv[1], "wb") as file: begun.tofile(file)
"""
PROGRAMS = {"NumPy loop": PINNED + NUMPY, "Python recursion": PINNED + RECURSION, "Rayon kernels": RAYON}

# Of a burst, the part in which each profiler is surely there: some take half a second to begin, and none longer.
WATCHED = (0.4, 0.9)
WARM_UP = 1.5


def profilers(python: Path, rate: int, pid: int, seconds: float, out: Path) -> dict[str, list[str]]:
    """Return the command that watches process `pid` for so many seconds, by profiler."""
    ours = [str(ROOT / "target/release/raptors-prof"), "attach", "--quiet", "--pid", str(pid), "--rate", str(rate)]
    commands = {
        "nothing": ["sleep", str(seconds)],
        "raptors-prof": [*ours, "--duration", str(seconds), "-o", str(out)],
    }
    if shutil.which("perf"):
        record = ["perf", "record", "-q", "-F", str(rate), "-e", "cpu-clock", "-o", str(out), "-p", str(pid)]
        commands["perf, no stack"] = [*record, "--", "sleep", str(seconds)]
        commands["perf dwarf"] = [*record, "--call-graph", "dwarf,16384", "--", "sleep", str(seconds)]
    tools = python.parent
    if (tools / "py-spy").exists():
        whole = str(max(1, round(seconds)))
        record = [str(tools / "py-spy"), "record", "-f", "raw", "-r", str(rate), "-o", str(out), "-p", str(pid)]
        commands["py-spy --nonblocking"] = [*record, "--nonblocking", "-d", whole]
        commands["py-spy --native"] = [*record, "--native", "-d", whole]
    if (tools / "austin").exists():
        interval = str(round(1_000_000 / rate))
        commands["austin"] = [
            str(tools / "austin"),
            "-i",
            interval,
            "-x",
            str(round(seconds)),
            "-o",
            str(out),
            "-p",
            str(pid),
        ]
    return commands


class Timeline:
    """When the pieces of a program began, and what a piece took at some time."""

    def __init__(self, file: Path) -> None:
        """Read what the program wrote."""
        self.begun = array.array("d", file.read_bytes())

    def piece(self, start: float, end: float) -> float:
        """Return the median time of the pieces between two times, in seconds."""
        first, last = bisect.bisect(self.begun, start), bisect.bisect(self.begun, end)
        return statistics.median(self.begun[at + 1] - self.begun[at] for at in range(first, last - 1))


def watch(program: str, python: Path, rate: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return the ratios to the unwatched program, one a round, by profiler."""
    ratios: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        script, times = Path(directory, "program.py"), Path(directory, "times")
        script.write_text(PROGRAMS[program] + WORKING)
        bursts: list[tuple[str, float, float]] = []
        with subprocess.Popen([str(python), str(script), str(times)]) as target:
            time.sleep(WARM_UP)
            time.sleep(seconds / 2)
            for index in range(rounds):
                commands = profilers(python, rate, target.pid, seconds, Path(directory, "profile"))
                for name, command in commands.items():
                    start = time.monotonic()
                    done = subprocess.run(command, check=False, capture_output=True, text=True)
                    if done.returncode == 0:
                        bursts.append((name, start, time.monotonic()))
                    else:
                        print(f"{name} failed with {done.returncode}: {done.stderr.strip()}", file=sys.stderr)
                    discard(Path(directory, "profile"))
                    time.sleep(seconds / 2)
                print(f"{program}: round {index + 1} of {rounds}", file=sys.stderr)
            target.terminate()
        timeline = Timeline(times)
    for name, start, end in bursts:
        watched = timeline.piece(start + WATCHED[0] * seconds, start + WATCHED[1] * seconds)
        before = timeline.piece(start - seconds / 2, start)
        # The time that it takes to end is the profiler's own.
        after = timeline.piece(end, end + seconds / 2)
        ratios.setdefault(name, []).append(2 * watched / (before + after))
    return ratios


def discard(profile: Path) -> None:
    """Remove what a profiler wrote."""
    if profile.is_dir():
        shutil.rmtree(profile)
    else:
        profile.unlink(missing_ok=True)


def cell(ratios: list[float], rounds: int) -> str:
    """Return the median and how far the rounds are from it, and on how many it rests where some failed."""
    if not ratios:
        return "failed"
    median = statistics.median(ratios)
    spread = statistics.median(abs(ratio - median) for ratio in ratios)
    text = f"{median:.3f} ± {spread:.3f}"
    return text if len(ratios) == rounds else f"{text} ({len(ratios)} of {rounds})"


def main() -> None:
    """Read the command line and print a table, one row a profiler."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=ROOT / ".venv/bin/python")
    parser.add_argument("--rate", type=int, default=997)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a burst")
    options = parser.parse_args()
    python = options.python.absolute()
    found = {program: watch(program, python, options.rate, options.rounds, options.seconds) for program in PROGRAMS}
    print(f"| {options.rate} Hz | " + " | ".join(PROGRAMS) + " |")
    print("|---" * (len(PROGRAMS) + 1) + "|")
    for name in dict.fromkeys(name for ratios in found.values() for name in ratios):
        cells = [cell(found[program].get(name, []), options.rounds) for program in PROGRAMS]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
