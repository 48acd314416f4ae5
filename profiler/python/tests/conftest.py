"""What the tests of the Python package share."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

import raptors_prof

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["pytester"]


def work(seconds: float) -> float:
    """Compute for so much CPU time of this thread; return how much it was."""
    begun = time.thread_time()
    while time.thread_time() < begun + seconds:
        sum(range(500))
    return time.thread_time() - begun


def folded(directory: Path) -> dict[str, int]:
    """Return the samples of each stack."""
    lines = (directory / "profile.folded").read_text(encoding="utf-8").splitlines()
    return {stack: int(samples) for stack, _, samples in (line.rpartition(" ") for line in lines)}


def samples_with(directory: Path, frame: str) -> int:
    """Return the number of samples whose stack has a frame that begins so."""
    return sum(
        count for stack, count in folded(directory).items() if any(f.startswith(frame) for f in stack.split(";"))
    )


@pytest.fixture
def sampling() -> None:
    """Skip where this machine denies perf events. In CI that is a failure, unless it is known."""
    try:
        with raptors_prof.profile():
            pass
    except raptors_prof.DeniedError as error:
        known = os.environ.get("RAPTORS_PROF_ALLOW_DENIED") == "1"
        if os.environ.get("CI") == "true" and not known:
            pytest.fail(f"CI skips no test, unless RAPTORS_PROF_ALLOW_DENIED=1: {error}")
        pytest.skip(str(error))
