"""What `raptors-prof doctor` says in each setting of the container, against what the kernel answers there."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from conftest import HARDENED, IMAGE, NO_SUCH_SETTING, OUR_SECCOMP, PARANOID, ROOT_USER, SOMEONE, Done, call

FILTER_MEND = "docker run --security-opt seccomp=container/seccomp.json"
KERNEL_MEND = "docker run --user 0:0 --cap-add PERFMON --cap-add SYSLOG"
NAMES_MEND = "--cap-add SYSLOG"
# Asks the kernel itself: the system calls, without raptors-prof. Prints the error numbers, 0 for leave.
ASK = """
import ctypes, json, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    whole = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    return 0 if libc.syscall(*whole) >= 0 else ctypes.get_errno()
def clock(flags):
    attributes = ctypes.create_string_buffer(struct.pack("IIQQQQQ", 1, 64, 0, 0, 0, 0, flags), 64)
    return call(298, attributes, 0, -1, -1, 0)
buffer = ctypes.create_string_buffer(8)
part = struct.pack("QQ", ctypes.addressof(buffer), 8)
print(json.dumps({
    "sampling": clock(1 << 5 | 1 << 6),
    "kernel": clock(1 << 6),
    "read": call(310, os.getpid(), part, 1, part, 1, 0),
    "names": any(int(line.split()[0], 16) for line in open("/proc/kallsyms")),
}))
"""


class Examined(NamedTuple):
    """What the doctor found in a setting, and what the kernel answered in the same one."""

    done: Done
    kernel: dict[str, Any]

    def row(self, name: str) -> dict[str, Any]:
        """The row of this name."""
        rows: dict[str, dict[str, Any]] = {row["name"]: row for row in json.loads(self.done.stdout)["checks"]}
        return rows[name]

    def statuses(self, *names: str) -> list[str]:
        """The statuses of these rows."""
        return [self.row(name)["status"] for name in names]


def examine(options: list[str], user: int = SOMEONE) -> Examined:
    """Both in containers with these options; skips where the engine does not give them."""
    command = ["docker", "run", "--rm", "--user", f"{user}:{user}", *options]
    done = call(*command, IMAGE, "doctor", "--json")
    if any(words in done.stderr for words in NO_SUCH_SETTING):
        pytest.skip(f"the engine or its host does not give this: {done.stderr.splitlines()[0]}")
    asked = call(*command, "--entrypoint", "python", IMAGE, "-c", ASK)
    examined = Examined(done, json.loads(asked.stdout))
    # Whatever the setting: the rows are what the kernel says.
    assert (examined.row("sampling")["status"] == "ok") == (examined.kernel["sampling"] == 0)
    assert (examined.row("process_vm_readv")["status"] == "ok") == (examined.kernel["read"] == 0)
    assert examined.row("kernel frames")["found"].startswith("sampled") == (examined.kernel["kernel"] == 0)
    assert (examined.row("kernel frames")["status"] == "ok") == (
        examined.kernel["kernel"] == 0 and examined.kernel["names"]
    )
    # What the image brings is there in any setting.
    assert examined.row("container")["found"] == "docker"
    assert examined.statuses("Python", "numpy", "raptors", "raptors' code") == ["ok"] * 4
    return examined


def test_under_the_engines_own_profile_the_filter_is_blamed() -> None:
    examined = examine(HARDENED)
    assert examined.done.code == 3
    for name in "sampling", "counters":
        row = examined.row(name)
        assert row["status"] == "missing"
        assert FILTER_MEND in row["mend"], row
    seccomp = examined.row("seccomp")
    assert seccomp["status"] == "limited"
    assert "perf_event_open" in seccomp["lost"]
    # Newer engines allow this one.
    assert ("process_vm_readv" in seccomp["lost"]) == (examined.kernel["read"] != 0)
    assert FILTER_MEND in seccomp["mend"]
    assert examined.statuses("kernel frames", "ring buffers") == ["limited"] * 2
    assert examined.row("kernel frames")["mend"] == "mend the row sampling first"


@pytest.mark.skipif(PARANOID > 2, reason=f"kernel.perf_event_paranoid is {PARANOID}")
@pytest.mark.parametrize("seccomp", [OUR_SECCOMP, ["--security-opt", "seccomp=unconfined"]], ids=["ours", "none"])
def test_with_the_calls_allowed_only_the_kernel_is_lacking(seccomp: list[str]) -> None:
    examined = examine([*HARDENED, *seccomp])
    assert examined.done.code == 0, examined.done.stdout
    assert examined.row("capabilities")["found"] == "none, and none is needed"
    names = ("seccomp", "sampling", "ring buffers", "process_vm_readv", "Python stacks")
    assert examined.statuses(*names) == ["ok"] * len(names)
    assert examined.row("seccomp")["found"] == ("a filter" if seccomp == OUR_SECCOMP else "no filter")
    if PARANOID == 2:
        for name in "perf_event_paranoid", "kernel frames", "counters":
            row = examined.row(name)
            assert row["status"] == "limited", row
            assert KERNEL_MEND in row["mend"], row


OPT_IN = [*HARDENED, *OUR_SECCOMP]


@pytest.mark.parametrize("capability", ["PERFMON", "SYS_ADMIN"])
def test_one_capability_gives_kernel_frames_and_another_their_names(capability: str) -> None:
    with_frames = examine([*OPT_IN, "--cap-add", capability], ROOT_USER)
    assert with_frames.done.code == 0
    assert with_frames.row("perf_event_paranoid")["status"] == "ok"
    assert with_frames.row("capabilities")["found"] == f"CAP_{capability}"
    if PARANOID >= 2:
        assert with_frames.row("kernel frames")["found"] == "sampled, without names"
        assert NAMES_MEND in with_frames.row("kernel frames")["mend"]
    with_names = examine([*OPT_IN, "--cap-add", capability, "--cap-add", "SYSLOG"], ROOT_USER)
    assert with_names.row("kernel frames")["found"] == "sampled, with names"
    assert with_names.statuses("kernel frames", "counters", "perf_event_paranoid") == ["ok"] * 3


@pytest.mark.skipif(PARANOID != 2, reason=f"kernel.perf_event_paranoid is {PARANOID}")
def test_a_capability_is_none_to_who_is_not_root() -> None:
    examined = examine([*HARDENED, *OUR_SECCOMP, "--cap-add", "SYS_ADMIN"])
    assert examined.row("capabilities")["found"] == "none, and none is needed"
    assert examined.row("kernel frames")["status"] == "limited"


def test_privileged_lacks_nothing() -> None:
    examined = examine(["--privileged"], ROOT_USER)
    assert examined.done.code == 0
    assert examined.row("seccomp")["found"] == "no filter"
    assert "CAP_SYS_ADMIN" in examined.row("capabilities")["found"]
    names = ("perf_event_paranoid", "seccomp", "counters", "sampling", "kernel frames", "process_vm_readv")
    assert examined.statuses(*names) == ["ok"] * len(names)
