"""Two callables of this process, whose true ratio is known well enough."""

from __future__ import annotations

import functools
import gc
import os
import signal
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

import raptors_prof

#: Enough for a verdict on a difference of a factor of two and more.
SHORT = 2.0


def total(count: int) -> int:
    """Compute for a time that grows with the count."""
    return sum(range(count))


def children() -> set[str]:
    """Return the processes that this one has started and not waited for."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def compare(baseline: int, candidate: int, **options: Any) -> raptors_prof.Comparison:
    options.setdefault("max_time", SHORT)
    return raptors_prof.compare(functools.partial(total, baseline), functools.partial(total, candidate), **options)


def test_four_times_the_work_is_found_either_way() -> None:
    faster, slower = compare(8000, 2000), compare(2000, 8000)
    assert faster.verdict == "faster" and slower.verdict == "slower"
    assert 2 < faster.ratio < 8
    assert faster.ratio * slower.ratio == pytest.approx(1, rel=0.3)
    assert faster.interval is not None and faster.interval[0] <= faster.ratio <= faster.interval[1]
    assert faster.baseline_ns > 2 * faster.candidate_ns
    assert faster.standing is None and faster.bound is None
    assert "The candidate is faster: the baseline takes" in str(faster)
    assert "The candidate is slower" in str(slower)


def test_the_ratio_is_held_against_what_is_wanted() -> None:
    # Asleep, they are not held up by what else computes on the machine, of which nothing would be concluded.
    slow, fast = functools.partial(time.sleep, 0.008), functools.partial(time.sleep, 0.002)
    assert raptors_prof.compare(slow, fast, min_ratio=1.5, max_time=SHORT).standing == "held"
    worse = raptors_prof.compare(fast, slow, min_ratio=1.0, max_time=SHORT)
    assert worse.standing == "worse"
    assert worse.bound is not None and worse.interval is not None and worse.interval[1] < worse.bound <= 1.0


def test_what_can_not_be_told_is_inconclusive() -> None:
    comparison = compare(2000, 2000, max_time=1e-6, min_ratio=1.0)
    assert comparison.interval is None
    assert comparison.verdict == comparison.standing == "inconclusive"


def test_both_get_the_arguments() -> None:
    given = []
    comparison = raptors_prof.compare(
        lambda *args: given.append(("baseline", args)),
        lambda *args: given.append(("candidate", args)),
        1,
        "two",
        max_time=0.01,
    )
    assert set(given) == {("baseline", (1, "two")), ("candidate", (1, "two"))}
    calls = [name for name, _ in given]
    # One of each before the windows, and some for the warm-up.
    assert calls.count("baseline") > comparison.details["baseline"]["calls"] > 0


def test_results_that_differ_are_told() -> None:
    different = raptors_prof.compare(lambda: 1.0, lambda: 1.5, max_time=0.01)
    assert different.note == "the results differ: baseline 1.0, candidate 1.5" or "the results differ" in (
        different.note or ""
    )
    assert "the results differ" in str(different)
    assert raptors_prof.compare(lambda: 1.0, lambda: 1.0, max_time=0.01).note is None


def test_an_exception_passes_and_leaves_all_as_it_was() -> None:
    calls = 0

    def fails_later() -> None:
        nonlocal calls
        calls += 1
        if calls == 1000:
            raise LookupError("later")

    before = children()
    for collects in (False, True):
        (gc.enable if collects else gc.disable)()
        calls = 0
        with pytest.raises(LookupError, match="later"):
            raptors_prof.compare(fails_later, fails_later)
        assert gc.isenabled() == collects
    assert children() <= before


def test_a_referee_that_dies_is_told() -> None:
    before = children()

    def kills() -> None:
        for pid in children() - before:
            os.kill(int(pid), signal.SIGKILL)

    with pytest.raises(raptors_prof.RaptorsProfError, match="exit code -9"):
        raptors_prof.compare(kills, lambda: None)
    assert children() <= before


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, total), {}, "the baseline can't be called"),
        ((len, (total for _ in ())), {}, "the candidate can't be called"),
        ((lambda: (yield), total), {}, "only makes a generator"),
        ((int, int), {"min_ratio": 0}, "numbers above 0"),
        ((int, int), {"precision": 200}, "per cent"),
        ((int, int), {"max_time": "soon"}, "seconds above 0"),
    ],
)
def test_bad_input_is_told(arguments: tuple[Any, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(raptors_prof.BadInputError, match=message):
        raptors_prof.compare(*arguments, **options)


def test_the_pairs_are_there_as_a_frame() -> None:
    comparison = compare(4000, 2000, max_time=1)
    frame = comparison.to_frame()
    assert len(frame) == comparison.details["comparison"]["pairs"]
    assert statistics.median(frame["ratio"]) == pytest.approx(comparison.ratio)
    assert statistics.median(frame["baseline_ns"]) == pytest.approx(comparison.baseline_ns)
    assert statistics.median(frame["candidate_ns"]) == pytest.approx(comparison.candidate_ns)
