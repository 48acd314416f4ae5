"""Chooses the extension module of one instruction-set level by RAPTORS_SIMD and the processor."""

from __future__ import annotations

import importlib.util
import os
from types import ModuleType

LEVELS = ("off", "sse2", "avx2", "avx512", "neon")
"""Slowest first; an x86-64 build has the first four, others off and neon."""


def choose(requested: str, supported: list[str], built: list[str]) -> str:
    """Return the level to load.

    Raises
    ------
    ValueError
        For a level that does not exist or that this processor cannot run.
    """
    available = [level for level in LEVELS if level in supported and level in built]
    if requested == "auto":
        return available[-1]
    if requested in available:
        return requested
    allowed = ", ".join(["auto", *available])
    if requested in built:
        raise ValueError(f"RAPTORS_SIMD={requested}: this processor cannot run that level; allowed here are {allowed}")
    raise ValueError(f"RAPTORS_SIMD={requested}: there is no such level; allowed are {allowed}")


def load() -> ModuleType:
    """Import the module of the chosen level. The module of the level off runs everywhere and knows the processor."""
    portable = importlib.import_module("raptors._off")
    built = [level for level in LEVELS if importlib.util.find_spec(f"raptors._{level}")]
    return importlib.import_module(f"raptors._{choose(requested or 'auto', portable.SUPPORTED, built)}")


requested: str | None = os.environ.get("RAPTORS_SIMD") or None
native: ModuleType = load()
