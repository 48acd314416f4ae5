"""The extension modules that this processor can run, and fresh interpreters to import the package in."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from types import ModuleType

import raptors

LEVELS: dict[str, ModuleType] = {
    level: importlib.import_module(f"raptors._{level}") for level in raptors.config()["simd"]["supported"]
}


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own, with only the given RAPTORS_ variables set."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAPTORS_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def output(code: str, **environment: str) -> str:
    """Return what the code prints; fail if it fails."""
    done = run(code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
