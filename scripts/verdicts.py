#!/usr/bin/env python3
"""Counts the verdicts of many runs of raptors-prof whose truth is known: a NumPy call against itself, or made slower on purpose.

    scripts/verdicts.py --runs 200                               # how many are called different?
    scripts/verdicts.py --runs 100 --slower 5 --max-time 10      # how many are found?

The slower candidate does the same call on so many per cent more rows. Each run is a process of its own, without a profile. Exit
code: 0; 1 if more than 1 % of the runs against itself are called faster or slower, if a slower candidate is called faster, or if
fewer than 95 % of those that are slower by 5 % or more are called so; 4 if a run fails.
"""

from __future__ import annotations

import argparse
import collections
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The baseline's array is a part of the candidate's, so both lie in the same memory.
OP = """
class Op:
    def setup(self, shape, dtype, rng):
        more = round(shape[0] * {slower} / 100)
        self.long = rng.random((shape[0] + more, *shape[1:])).astype(dtype)
        self.short = self.long[: shape[0]]

    def baseline(self):
        a = self.short
        return {call}

    def candidate(self):
        a = self.{candidate}
        return {call}
"""


def run(number: int, options: argparse.Namespace, directory: Path) -> dict[str, float | str | list[float]]:
    """Return the comparison of one run."""
    command = [
        str(options.binary),
        *("--op", f"{directory}/op.py:Op", "--shape", options.shape, "--dtype", options.dtype),
        *("--max-time", options.max_time, "--min-samples", "0", "--python", str(options.python)),
        *("--out", f"{directory}/{number}", "--json"),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in (0, 3):
        print(f"run {number} failed with {done.returncode}: {done.stderr.strip()}", file=sys.stderr)
        sys.exit(4)
    comparison: dict[str, float | str | list[float]] = json.loads(done.stdout)["comparison"]
    print(
        f"{number}: {comparison['verdict']}, ratio {comparison['ratio']:.4f}, interval {comparison['ci95']},"
        f" margin {comparison['margin']:.4f}, {comparison['pairs']} pairs",
        file=sys.stderr,
    )
    return comparison


def count(options: argparse.Namespace) -> int:
    """Print how often each verdict came, and return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        candidate = "long" if options.slower else "short"
        source = OP.format(call=options.call, slower=options.slower, candidate=candidate)
        (directory / "op.py").write_text(source)
        comparisons = [run(number, options, directory) for number in range(1, options.runs + 1)]
    verdicts = collections.Counter(str(comparison["verdict"]) for comparison in comparisons)
    ratios = [float(comparison["ratio"]) for comparison in comparisons]  # type: ignore[arg-type]
    told = ", ".join(f"{verdict} {verdicts[verdict]}" for verdict in ("faster", "same", "slower", "inconclusive"))
    print(
        f"`{options.call}` on {options.shape} {options.dtype}, candidate {options.slower:g} % slower, {options.runs} runs:"
    )
    print(f"{told}; ratios {min(ratios):.3f} to {max(ratios):.3f}, median {statistics.median(ratios):.3f}")
    if options.slower:
        missed = options.slower >= 5 and verdicts["slower"] < 0.95 * options.runs
        return int(missed or verdicts["faster"] > 0)
    return int(verdicts["faster"] + verdicts["slower"] > 0.01 * options.runs)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--slower", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--call", default="a + a[0]", help="a Python expression of the array a")
    parser.add_argument("--shape", default="512x512")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--max-time", default="30", metavar="SECONDS")
    parser.add_argument("--python", type=Path, default=ROOT / ".venv/bin/python")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/raptors-prof")
    options = parser.parse_args()
    sys.exit(count(options))


if __name__ == "__main__":
    main()
