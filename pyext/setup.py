"""Builds the extension module once per instruction-set level.

`wide` chooses its instructions when it is compiled, so each level is a compilation of its own, told apart by RUSTFLAGS.
They go to an explicit target, because otherwise the build scripts would be compiled for the level too, and need not run
here.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig

from setuptools import setup
from setuptools_rust import Binding, RustExtension, Strip

NO_VECTORS = "-C no-vectorize-loops -C no-vectorize-slp"
X86_64 = {
    "sse2": "-C target-cpu=x86-64-v2",
    "avx2": "-C target-cpu=x86-64-v3",
    "avx512": "-C target-cpu=x86-64-v4",
}
ELSEWHERE = {"neon": ""}

# One build serves this version of CPython and newer ones: the limited API has the buffer protocol from then on.
STABLE = (3, 11)
IS_STABLE = sys.version_info >= STABLE and not sysconfig.get_config_var("Py_GIL_DISABLED")


def host() -> str:
    """Return the triple of the Rust compiler's own target."""
    version = subprocess.run([os.environ.get("RUSTC", "rustc"), "-vV"], check=True, capture_output=True, text=True)
    return next(line.split()[1] for line in version.stdout.splitlines() if line.startswith("host:"))


def extension(level: str, flags: str, features: list[str]) -> RustExtension:
    """Describe the module of one level."""
    rustflags = " ".join(filter(None, [os.environ.get("RUSTFLAGS"), flags]))
    return RustExtension(
        f"raptors._{level}",
        path="Cargo.toml",
        binding=Binding.PyO3,
        # A profiler must be able to read the kernels.
        strip=Strip.No,
        debug=False,
        features=[*features, "abi3"] if IS_STABLE else features,
        py_limited_api=IS_STABLE,
        env={**os.environ, "RUSTFLAGS": rustflags},
        cargo_manifest_args=["--locked"],
    )


os.environ.setdefault("CARGO_BUILD_TARGET", host())
vector_levels = X86_64 if platform.machine().lower() in ("x86_64", "amd64") else ELSEWHERE
setup(
    rust_extensions=[
        extension("off", NO_VECTORS, ["scalar"]),
        *(extension(level, flags, []) for level, flags in vector_levels.items()),
    ],
    options={"bdist_wheel": {"py_limited_api": f"cp{STABLE[0]}{STABLE[1]}"}} if IS_STABLE else {},
)
