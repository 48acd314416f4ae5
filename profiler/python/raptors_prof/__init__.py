"""Profiles of a block of Python code, and verdicts on two callables, by the command raptors-prof.

with raptors_prof.profile("out") as p:
    work()
p.top()

raptors_prof.compare(lambda: a + b, lambda: raptors.add(a, b))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .comparison import Comparison, compare
from .errors import (
    BadInputError,
    DeniedError,
    MissingBinaryError,
    NoSamplesError,
    RaptorsProfError,
    WorkloadError,
)
from .profiling import FlameGraph, Profile, profile

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = [
    "BadInputError",
    "Comparison",
    "DeniedError",
    "FlameGraph",
    "MissingBinaryError",
    "NoSamplesError",
    "Profile",
    "RaptorsProfError",
    "WorkloadError",
    "compare",
    "profile",
]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magic command `%%raptors_prof`: what `%load_ext raptors_prof` calls."""
    from .magic import RaptorsProfMagics

    shell.register_magics(RaptorsProfMagics)
