#!/usr/bin/env python3
"""Measures raptors against NumPy and against what else a user would pick: numexpr, torch and numba, at equal threads.

Every cell (op, shape, dtype, layout, threads) runs all libraries in turn, round by round; a ratio is the median over the rounds of
the other library's time to that of raptors, so above 1 raptors is faster. The same run measures how fast this machine reads and
copies memory (as STREAM does, with libc's memchr and memcpy), and says which share of that the cells out of cache reach. It leaves
bench.md and bench.json in a new directory under results/runs and prints the geometric means.

    make bench                                  # all cells, about ten minutes
    make bench ARGS='--quick'                   # all cells, less exactly
    make bench ARGS='--ops sum,scale --sizes 512x512 --dtypes float32 --threads 1'
"""

from __future__ import annotations

import argparse
import concurrent.futures
import ctypes
import datetime
import importlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench_peers import Call, Maker, in_float64, inputs, libraries

ROOT = Path(__file__).resolve().parent.parent
OPS = ["sum", "mean", "mean_axis0", "mean_axis1", "broadcast_add", "scale"]
MORE_OPS = ["sum_axis0", "sum_axis1", "add", "multiply"]
SIZES = ["1000", "64x64", "512x512", "1024x1024", "2048x2048", "4096x4096"]
PRESET_SIZES = SIZES[2:5]
DTYPES = ["float32", "float64", "int32"]
LAYOUTS = ["contiguous", "transposed"]
WINDOW = 1e-3
"""Seconds that a window of calls takes at least."""


@dataclass
class Cell:
    """What is measured, and the results: seconds a call by library, and ratios to raptors."""

    op: str
    size: str
    dtype: str
    layout: str
    threads: int
    seconds: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    share: float | None = None
    """Of the machine's bandwidth, for a cell out of cache."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return tuple(int(side) for side in self.size.split("x"))

    @property
    def name(self) -> str:
        """All that tells the cell from others."""
        return f"{self.op} {self.size} {self.dtype} {self.layout} {self.threads}"

    @property
    def best_other(self) -> tuple[str, float]:
        """The fastest other library and its ratio."""
        return min(self.ratios.items(), key=lambda item: item[1])

    def traffic(self) -> tuple[int, int]:
        """Bytes that must be read and written."""
        size = math.prod(self.shape) * {"float32": 4, "float64": 8, "int32": 4}[self.dtype]
        reads = 2 if self.op in ("add", "multiply") else 1
        return reads * size, size if self.op in ("broadcast_add", "scale", "add", "multiply") else 0


def cells(options: argparse.Namespace, threads: int) -> Iterator[Cell]:
    """Yield the cells that the options name; an array of one axis has no second, and no other layout."""
    for size in options.sizes:
        for layout in options.layouts if "x" in size else options.layouts[:1]:
            for dtype in options.dtypes:
                for op in options.ops:
                    if "x" in size or not op.endswith("axis1"):
                        yield Cell(op, size, dtype, layout, threads)


# Measuring, in a process of its own for each number of threads.


def window(call: Call, calls: int) -> float:
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(calls):
        result = call()
    seconds = time.perf_counter() - start
    del result
    return seconds / calls


def measure(np: Any, cell: Cell, makers: dict[str, Maker], seconds: float) -> None:
    """Fill in the results of a cell: rounds of one window a library, the order turned every round."""
    operands = inputs(np, cell.op, cell.shape, cell.dtype, cell.layout)
    calls = {name: maker(cell.op, operands) for name, maker in makers.items()}
    want = np.asarray(in_float64(cell.op, operands))
    # Of a large result every seventh row is compared: it takes longer than the op.
    some = np.s_[::7] if want.size > 1 << 20 else ...
    counts = {}
    for name in list(calls):
        try:
            got = np.asarray(calls[name]())
            if got.shape != want.shape:
                raise ValueError(f"a result of shape {got.shape}")
            np.testing.assert_allclose(got[some], want[some], rtol=1e-3 if cell.dtype == "float32" else 1e-9)
        except Exception as error:  # noqa: BLE001 (a peer may refuse a cell in any way)
            cell.failed[name] = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            del calls[name]
            continue
        window(calls[name], 1)
        counts[name] = max(1, round(WINDOW / window(calls[name], 2)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while cell.rounds < 5 or (time.perf_counter() < end and cell.rounds < 101):
        order = list(calls)
        order = order[cell.rounds % len(order) :] + order[: cell.rounds % len(order)]
        for name in order if cell.rounds % 2 else reversed(order):
            times[name].append(window(calls[name], counts[name]))
        cell.rounds += 1
    cell.seconds = {name: statistics.median(values) for name, values in times.items()}
    for name in calls:
        if name != "raptors" and "raptors" in times:
            pairs = zip(times[name], times["raptors"])
            cell.ratios[name] = statistics.median(other / ours for other, ours in pairs)


def bandwidth(np: Any, threads: int, size: int = 256 << 20) -> dict[str, float]:
    """Bytes a second that all threads together read and copy, the best of ten; a copy counts what is read and what is written."""
    libc = ctypes.CDLL(None)
    libc.memchr.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    libc.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    part = size // threads

    def read(k: int) -> None:
        libc.memchr(source.ctypes.data + k * part, 0, part)

    def copy(k: int) -> None:
        libc.memcpy(target.ctypes.data + k * part, source.ctypes.data + k * part, part)

    best = {}
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for name, work, bytes_moved in [("read", read, size), ("copy", copy, 2 * size)]:
            times = []
            for _ in range(10):
                start = time.perf_counter()
                list(pool.map(work, range(threads)))
                times.append(time.perf_counter() - start)
            best[name] = bytes_moved / min(times)
    return best


def child(options: argparse.Namespace, threads: int) -> None:
    """Measure all cells for one number of threads; print a line of JSON for each, then what else is known."""
    np = importlib.import_module("numpy")
    makers, versions = libraries(threads)
    before = bandwidth(np, threads)
    for cell in cells(options, threads):
        measure(np, cell, makers, options.seconds)
        print(json.dumps({"cell": asdict(cell)}), flush=True)
    after = bandwidth(np, threads)
    config = importlib.import_module("raptors").config()
    best = {name: max(before[name], after[name]) for name in before}
    print(json.dumps({"threads": threads, "versions": versions, "bandwidth": best, "config": config}), flush=True)


def run(options: argparse.Namespace, threads: int, total: int) -> tuple[list[Cell], dict[str, Any]]:
    """Run the process for one number of threads and gather what it says."""
    numbers = ["RAPTORS_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"]
    environment = {**os.environ, **{name: str(threads) for name in numbers}}
    command = [sys.executable, __file__, *sys.argv[1:], "--child", str(threads)]
    done: list[Cell] = []
    about: dict[str, Any] = {}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            answer = json.loads(line)
            if "cell" not in answer:
                about = answer
                continue
            done.append(Cell(**answer["cell"]))
            if sys.stderr.isatty() or len(done) == total:
                print(f"\r{threads} threads: {len(done)} of {total} cells ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    if process.returncode != 0 or not about:
        sys.exit(f"bench.py: the measuring process for {threads} threads ended with {process.returncode}")
    for cell in done:
        read, written = cell.traffic()
        if read + written >= 2 * last_level_cache() and "raptors" in cell.seconds:
            rate = about["bandwidth"]["copy" if written else "read"]
            cell.share = (read + written) / cell.seconds["raptors"] / rate
    return done, about


def last_level_cache() -> int:
    """Bytes of the largest cache, 32 MiB where the system does not tell."""
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    units = {"K": 1 << 10, "M": 1 << 20}
    return max((int(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units), default=32 << 20)


# What is written.


def geometric_mean(values: list[float]) -> float:
    """NaN for nothing."""
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def summary(done: list[Cell]) -> list[str]:
    """Return the geometric means and the cells that fall short, a line each."""
    lines = []
    for threads in sorted({cell.threads for cell in done}):
        own = [cell for cell in done if cell.threads == threads and "numpy" in cell.ratios]
        preset = [c for c in own if c.size in PRESET_SIZES and c.layout == "contiguous" and c.dtype != "int32"]
        preset = [c for c in preset if c.op in OPS]
        sums = [c for c in preset if c.op in ("sum", "mean") and c.size in ("512x512", "1024x1024")]
        for what, some in [("all cells", own), ("preset 2d", preset), ("sum and mean, 512x512 and 1024x1024", sums)]:
            if some:
                mean = geometric_mean([cell.ratios["numpy"] for cell in some])
                lines.append(f"{threads} threads, NumPy / raptors, {what} ({len(some)}): geometric mean {mean:.2f}")
        if own:
            best = [cell.best_other[1] for cell in own]
            lines.append(
                f"{threads} threads, best other / raptors, all cells: geometric mean {geometric_mean(best):.2f}"
            )
    short = [
        ("slower than NumPy", [(c, c.ratios["numpy"]) for c in done if c.ratios.get("numpy", 1) < 1]),
        ("below 0.9 of the best other", [(c, c.best_other[1]) for c in done if c.ratios and c.best_other[1] < 0.9]),
        ("below 85 % of the bandwidth", [(c, c.share) for c in done if c.share is not None and c.share < 0.85]),
    ]
    for what, found in short:
        lines.append(f"{what}: {len(found)} of {len(done)} cells")
        lines += [f"    {cell.name}: {value:.2f}" for cell, value in sorted(found, key=lambda item: item[1])]
    return lines


def table(done: list[Cell], abouts: list[dict[str, Any]]) -> str:
    """Return the whole result as Markdown."""
    versions = abouts[0]["versions"]
    names = [name for name in versions if name != "raptors" and any(name in cell.ratios for cell in done)]
    lines = [
        "# Benchmarks",
        "",
        f"{processor()}, {platform.system()} {platform.release()}, Python {platform.python_version()}",
    ]
    lines += ["", *(f"- {name} {version}" for name, version in versions.items())]
    for about in abouts:
        rates = ", ".join(f"{name} {rate / 1e9:.1f} GB/s" for name, rate in about["bandwidth"].items())
        below = about["config"]["threads"]["sequential_below"]
        lines.append(
            f"- {about['threads']} threads: {rates}; level {about['config']['simd']['used']}; one thread below {below} bytes"
        )
    lines += ["", "Ratios are the other library's time to that of raptors.", ""]
    lines.append(
        "| op | size | dtype | layout | threads | raptors us | " + " | ".join(names) + " | best other | of bandwidth |"
    )
    lines.append("|---" * (len(names) + 8) + "|")
    for c in done:
        ratios = [f"{c.ratios[name]:.2f}" if name in c.ratios else "-" for name in names]
        share = "" if c.share is None else f"{100 * c.share:.0f} %"
        best = "{} {:.2f}".format(*c.best_other) if c.ratios else "-"
        ours = f"{c.seconds['raptors'] * 1e6:.2f}" if "raptors" in c.seconds else "failed"
        row = [c.op, c.size, c.dtype, c.layout, str(c.threads), ours, *ratios, best, share]
        lines.append("| " + " | ".join(row) + " |")
    failures = sorted({f"{name} {c.op} {c.dtype}: {reason}" for c in done for name, reason in c.failed.items()})
    lines += ["", *(["Not measured:", "", *(f"- {failure}" for failure in failures), ""] if failures else [])]
    return "\n".join([*lines, *(f"- {line}" if line[0] != " " else f"  {line}" for line in summary(done)), ""])


def processor() -> str:
    """Return the processor's name and number of cores."""
    path = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in path.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    """Read the command line; measure; write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def some(allowed: list[str]) -> Callable[[str], list[str]]:
        def parse(text: str) -> list[str]:
            if wrong := [name for name in text.split(",") if name not in allowed]:
                raise argparse.ArgumentTypeError(f"{wrong[0]}: allowed are {', '.join(allowed)}")
            return text.split(",")

        return parse

    parser.add_argument("--ops", type=some(OPS + MORE_OPS), default=OPS, help=",".join(OPS + MORE_OPS))
    parser.add_argument("--sizes", type=some(SIZES), default=SIZES, help=",".join(SIZES))
    parser.add_argument("--dtypes", type=some(DTYPES), default=DTYPES, help=",".join(DTYPES))
    parser.add_argument("--layouts", type=some(LAYOUTS), default=LAYOUTS, help=",".join(LAYOUTS))
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each cell (1.0)")
    parser.add_argument("--quick", action="store_true", help="a tenth of that for each cell")
    parser.add_argument("-o", "--out", type=Path, help="a directory to make (results/runs/TIME-bench)")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.seconds /= 10
    if options.child:
        child(options, options.child)
        return
    started = datetime.datetime.now(datetime.timezone.utc)
    out: Path = options.out or ROOT / "results/runs" / f"{started:%Y%m%dT%H%M%SZ}-bench"
    out.mkdir(parents=True)
    done: list[Cell] = []
    abouts = []
    for threads in options.threads:
        some_cells, about = run(options, threads, sum(1 for _ in cells(options, threads)))
        done += some_cells
        abouts.append(about)
    everything = {"created": started.isoformat(), "runs": abouts, "cells": [asdict(cell) for cell in done]}
    (out / "bench.json").write_text(json.dumps(everything, indent=1) + "\n")
    (out / "bench.md").write_text(table(done, abouts))
    print("\n".join(summary(done)))
    print(f"{out}/bench.md")


if __name__ == "__main__":
    main()
