"""The image is there (`make test-container` builds it); the tests run containers of it as users do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "raptors-bench"
# Nobody in particular. Where the tests run as root, the scripts are called as this user.
SOMEONE = 4711
ROOT_USER = 0
# The engine shares the host's kernel, which has its own say.
PARANOID = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
# What engines answer to a setting that they, or their host, can't give.
NO_SUCH_SETTING = ("invalid CapAdd", "unable to apply caps")

HARDENED = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "--tmpfs", "/tmp"]
OUR_SECCOMP = ["--security-opt", f"seccomp={ROOT / 'container/seccomp.json'}"]
CELL = ["--op", "scale", "--shape", "64x64", "--dtype", "float32", "--max-time", "4"]
SMALL = [*CELL, "--out", "/tmp/run"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """States what the outcome of the tests of leave depends on."""
    pointers = Path("/proc/sys/kernel/kptr_restrict").read_text().strip()
    engine = call("docker", "version", "--format", "{{.Server.Version}}").stdout.strip()
    terminalreporter.write_line(
        f"engine {engine}, kernel.perf_event_paranoid {PARANOID}, kernel.kptr_restrict {pointers}"
    )


class Done(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    def summary(self) -> dict[str, Any]:
        """What `--json` printed."""
        try:
            summary: dict[str, Any] = json.loads(self.stdout)
        except ValueError:
            pytest.fail(f"no summary on stdout, exit code {self.code}\n{self.stderr}")
        return summary


def as_user(user: int | None) -> dict[str, Any]:
    """Options of subprocess that make it another user's, with the group that may speak to the engine, and nobody's settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAPTORS_")}
    if user is None:
        return {"env": env}
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    group = os.stat(host.removeprefix("unix://")).st_gid
    return {"user": user, "group": user, "extra_groups": [group], "env": {**env, "HOME": "/nonexistent"}}


def call(*command: str | Path, user: int | None = None, cwd: Path | None = None) -> Done:
    """Runs a command, as another user if asked to."""
    ended = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=600,
        **as_user(user),
    )
    return Done(ended.returncode, ended.stdout, ended.stderr)


def docker_run(options: list[str], *arguments: str) -> Done:
    """raptors-prof in a container without capabilities, as no particular user."""
    return call("docker", "run", "--rm", "--user", f"{SOMEONE}:{SOMEONE}", *HARDENED, *options, IMAGE, *arguments)


class Clone(NamedTuple):
    """A copy of the repository, in a path with a space, that belongs to who calls the scripts."""

    path: Path
    user: int | None

    def script(self, name: str, *arguments: str | Path) -> Done:
        """Calls a script from a directory that has nothing to do with it."""
        return call(self.path / "scripts" / name, *arguments, user=self.user, cwd=Path("/"))

    def owner(self) -> int:
        """Whose the results should be."""
        return os.getuid() if self.user is None else self.user


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    path = tmp_path_factory.mktemp("a clone") / "raptors prof"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    user = SOMEONE if os.getuid() == 0 else None
    if user is not None:
        for entry in [path, *path.rglob("*")]:
            os.chown(entry, user, user)
        # pytest makes its directories for their owner alone.
        for parent in path.parents[:3]:
            parent.chmod(0o755)
    return Clone(path, user)
