"""Each level's kernels use that level's instructions: looked up in the disassembly of the installed modules."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from functools import cache

import pytest

from .levels import LEVELS

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="knows the instructions of x86-64"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump"),
]

PACKED = re.compile(r"\sv?(?:(?:add|sub|mul|div)p[sd]|p(?:add|sub)[bwdq]|pmull[wdq]|pmuludq|h?addp[sd]|fn?m\w+p[sd])\s")
KERNELS = [
    "add_pairs",
    "add_row",
    "add_one",
    "multiply_pairs",
    "multiply_one",
    "scale_by",
    "sum_contiguous",
    "add_rows",
]


@cache
def kernels(level: str) -> dict[str, str]:
    """Return the disassembly of every function of raptors_kernels, instances of one generic function together."""
    path = LEVELS[level].__file__
    assert path is not None
    done = subprocess.run(["objdump", "-dC", "--no-show-raw-insn", path], capture_output=True, text=True, check=True)
    functions: dict[str, str] = {}
    for block in done.stdout.split("\n\n"):
        head, _, body = block.partition(">:\n")
        if "raptors_kernels::" in head:
            name = head.partition("raptors_kernels::")[2]
            functions[name] = functions.get(name, "") + body
    return functions


def kernel(level: str, name: str) -> str:
    """Return the disassembly of the kernel of that name."""
    found = "".join(body for function, body in kernels(level).items() if re.search(rf"::{name}\b", function))
    assert found, f"no function {name} at level {level}: {sorted(kernels(level))}"
    return found


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("level", [level for level in LEVELS if level != "off"])
def test_vector_levels_use_their_registers(level: str, name: str) -> None:
    register = {"sse2": "%xmm", "avx2": "%ymm", "avx512": "%zmm"}[level]
    arithmetic = [line for line in kernel(level, name).splitlines() if PACKED.search(line)]
    assert any(register in line for line in arithmetic)


@pytest.mark.parametrize("level", LEVELS)
def test_results_are_streamed_and_inputs_read_ahead(level: str) -> None:
    for name, instruction in [
        ("add_pairs", r"\sv?movnt"),
        ("scale_by", r"\sv?movnt"),
        ("sum_contiguous", r"\sprefetcht0"),
    ]:
        assert bool(re.search(instruction, kernel(level, name))) == (level != "off")


def test_no_level_uses_wider_registers_than_its_own() -> None:
    everything = {level: "\n".join(kernels(level).values()) for level in LEVELS}
    for level, wider in [("off", "%[yz]mm"), ("sse2", "%[yz]mm"), ("avx2", "%zmm")]:
        if level in everything:
            assert not re.search(wider, everything[level])


def test_off_has_no_packed_arithmetic() -> None:
    for function, body in kernels("off").items():
        assert not PACKED.search(body), function
    for name in KERNELS:
        assert re.search(r"\s(add|mul)s[sd]\s", kernel("off", name)), name
