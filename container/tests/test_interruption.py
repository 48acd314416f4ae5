"""A bench that is interrupted leaves what was gathered, whichever way the signal comes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Clone, as_user, call

# Minutes, if nobody interrupts.
BENCH = ("bench", "--preset", "smoke", "--max-time", "20", "--profile", "none")


def started(clone: Clone, command: list[str], out: Path) -> subprocess.Popen[bytes]:
    """The bench, once a cell of it is measured, in a process group of its own as a shell makes it."""
    bench = subprocess.Popen(
        command,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **as_user(clone.user),
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("*/summary.json")):
        if bench.poll() is not None or time.monotonic() > deadline:
            bench.kill()
            pytest.fail(f"no cell was measured: {bench.communicate()[0].decode()}")
        time.sleep(0.2)
    time.sleep(1)
    return bench


def whole(clone: Clone, out: Path, code: int | None, output: bytes) -> None:
    """The suite is there with what was measured, belongs to the caller, and no container is left."""
    text = output.decode()
    assert code == 130, text
    suite = json.loads((out / "suite.json").read_text())
    measured = [cell for cell in suite["cells"] if cell["state"] == "done"]
    assert 0 < len(measured) < len(suite["cells"])
    for path in [out, *out.rglob("*")]:
        assert path.stat().st_uid == clone.owner(), path
    assert call("docker", "ps", "--quiet", "--filter", "name=raptors-bench").stdout == ""


def test_ctrl_c_on_a_terminal(clone: Clone) -> None:
    out = clone.path / "results/runs/ctrl c"
    script = clone.path / "scripts/docker_bench.sh"
    typed = " ".join(f"'{word}'" for word in (str(script), *BENCH, "--out", str(out)))
    bench = started(clone, ["script", "--quiet", "--return", "--command", typed, "/dev/null"], out)
    output, _ = bench.communicate(b"\x03", timeout=90)
    whole(clone, out, bench.returncode, output)
    assert f"--resume {out}" in output.decode()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_without_a_terminal(clone: Clone, sent: signal.Signals) -> None:
    """As a shell does it on Ctrl-C with the output in a pipe, and `timeout`: to the whole group."""
    out = clone.path / f"results/runs/{sent.name}"
    bench = started(clone, [str(clone.path / "scripts/docker_bench.sh"), *BENCH, "--out", str(out)], out)
    os.killpg(bench.pid, sent)
    output, _ = bench.communicate(timeout=90)
    whole(clone, out, bench.returncode, output)
