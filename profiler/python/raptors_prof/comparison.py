"""Two callables of this process, compared as the main job compares two backends.

`raptors-prof referee` says which window comes next and when it is enough, and judges; this process runs the windows, by the same
loop as the main job's worker.
"""

from __future__ import annotations

import functools
import json
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from . import binary, worker
from .errors import BadInputError, by_exit_code
from .profiling import pandas

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """What the candidate is, measured by the baseline."""

    #: Time of the baseline / time of the candidate: above 1, the candidate is faster.
    ratio: float
    #: 95 % interval on the ratio; None where the time was too short for one.
    interval: tuple[float, float] | None
    #: inconclusive: the interval is too wide to tell.
    verdict: Literal["faster", "same", "slower", "inconclusive"]
    #: Median time of a call, in nanoseconds.
    baseline_ns: float
    #: The same of the candidate.
    candidate_ns: float
    #: Whether the ratio is at least `min_ratio`; None where none was given.
    standing: Literal["held", "worse", "inconclusive"] | None
    #: `min_ratio` less what counts as no difference in this run; None likewise.
    bound: float | None
    #: How the results differ; None where they don't, or are neither numbers nor arrays.
    note: str | None
    #: All that was found out, as in summary.json: comparison, baseline, candidate, disturbed.
    details: dict[str, Any] = field(repr=False)
    _text: str = field(repr=False)

    def __str__(self) -> str:
        return "\n".join(filter(None, [self._text, self.note]))

    def to_frame(self) -> pd.DataFrame:
        """Return the time per call of each pair of windows, in nanoseconds, as a DataFrame of pandas."""
        baseline, candidate = (self.details[side]["samples_ns"] for side in ("baseline", "candidate"))
        frame: pd.DataFrame = pandas().DataFrame({"baseline_ns": baseline, "candidate_ns": candidate})
        frame["ratio"] = frame["baseline_ns"] / frame["candidate_ns"]
        frame.index.name = "pair"
        return frame


def compare(
    baseline: Callable[..., Any],
    candidate: Callable[..., Any],
    *args: Any,
    min_ratio: float | None = None,
    precision: float = 1.0,
    max_time: float = 30.0,
) -> Comparison:
    """Compare the time that two callables take with the same arguments, in this thread.

    Parameters
    ----------
    baseline
        What is compared against.
    candidate
        What is judged.
    *args
        What both are called with, over and over.
    min_ratio
        What the ratio, time of the baseline / time of the candidate, should be at least.
    precision
        Timing ends when the 95 % interval on the ratio is so many per cent long, or the time is spent.
    max_time
        Seconds that it may take.
    """
    try:
        worker.check_function(baseline, "the baseline")
        worker.check_function(candidate, "the candidate")
    except worker.UnfitError as error:
        raise BadInputError(str(error)) from None
    ops = {
        "baseline": functools.partial(baseline, *args) if args else baseline,
        "candidate": functools.partial(candidate, *args) if args else candidate,
    }
    options = [f"--precision={precision}", f"--max-time={max_time}"]
    if min_ratio is not None:
        options.append(f"--min-ratio={min_ratio}")
    note = worker.compare_results({side: worker.plain(op()) for side, op in ops.items()})
    end = _run(ops, options)
    judged = end["judged"]
    comparison = judged["comparison"]
    return Comparison(
        ratio=comparison["ratio"],
        interval=comparison["ci95"] and tuple(comparison["ci95"]),
        verdict=comparison["verdict"],
        baseline_ns=judged["baseline"]["median_ns"],
        candidate_ns=judged["candidate"]["median_ns"],
        standing=judged["standing"],
        bound=judged["bound"],
        note=note,
        details=judged,
        _text=end["text"],
    )


def _run(ops: dict[str, Callable[[], Any]], options: list[str]) -> dict[str, Any]:
    """Run the windows that the referee asks for; return its last word."""
    referee = subprocess.Popen(
        [binary.path(), "referee", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert referee.stdin is not None and referee.stdout is not None
    try:
        for line in referee.stdout:
            command: dict[str, Any] = json.loads(line)
            if command["do"] == "end":
                return command
            window = worker.run_window(ops[command["backend"]], command["calls"])
            try:
                worker.reply(referee.stdin, "done", **window)
            except BrokenPipeError:
                break
        _, printed = referee.communicate()
        raise by_exit_code(referee.returncode, printed)
    finally:
        referee.kill()
        referee.communicate()
