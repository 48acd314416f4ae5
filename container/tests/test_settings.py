"""What each setting of the container allows, and how the rest is told."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from conftest import CELL, HARDENED, IMAGE, NO_SUCH_SETTING, OUR_SECCOMP, PARANOID, ROOT, SMALL, call, docker_run

MEBIBYTE = 1024 * 1024
MEND = "allow perf_event_open in the container's seccomp profile"


def test_the_image_is_slim() -> None:
    base = os.environ["BASE_IMAGE"]
    sizes = [int(call("docker", "image", "inspect", "--format", "{{.Size}}", name).stdout) for name in (IMAGE, base)]
    print(f"image {sizes[0] / MEBIBYTE:.0f} MiB, base {sizes[1] / MEBIBYTE:.0f} MiB")
    assert sizes[0] - sizes[1] < 400 * 1000 * 1000
    look = "for name in cc gcc ld cargo rustc perf py-spy pip; do type -P $name; done"
    tools = call("docker", "run", "--rm", "--entrypoint", "bash", IMAGE, "-c", look)
    assert tools.stdout == ""


def test_a_run_says_which_commit_the_image_was_built_from() -> None:
    label = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
    commit = call("docker", "image", "inspect", "--format", label, IMAGE).stdout.strip()
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?", commit)
    assert commit[:40] == call("git", "rev-parse", "HEAD", cwd=ROOT).stdout.strip(), "the image is of this commit"
    assert docker_run(OUR_SECCOMP, *SMALL, "--json", "--min-samples", "0").summary()["environment"]["git_sha"] == commit
    unknown = [*OUR_SECCOMP, "--env", "RAPTORS_GIT_SHA="]
    assert docker_run(unknown, *SMALL, "--json", "--min-samples", "0").summary()["environment"]["git_sha"] is None


def test_the_default_profile_denies_and_the_timings_are_there() -> None:
    done = docker_run([], *SMALL, "--json")
    assert done.code == 3, done.stderr
    assert MEND in done.stderr
    summary = done.summary()
    assert summary["comparison"]["ratio"] > 0
    denied = [counter for counter in summary["backends"]["numpy"]["counters"] if counter["status"] == "denied"]
    assert denied
    assert all(counter["value"] is None for counter in denied)


def test_ours_allows_what_a_profile_needs() -> None:
    done = docker_run(OUR_SECCOMP, *CELL[:-1], "30", "--out", "/tmp/run", "--json", "--min-samples", "100")
    assert done.code == 0, done.stderr
    for backend in done.summary()["backends"].values():
        assert backend["sampling"]["in_op"] >= 100
        assert backend["sampling"]["lost"] == 0


def kernel_frames(options: list[str]) -> set[str]:
    """The kernel's frames that root sees with these options, in a job that makes the kernel work."""
    command = ["docker", "run", "--rm", "--user", "0:0", *options, IMAGE]
    cell = ["--op", "scale", "--shape", "1024x1024", "--dtype", "float64", "--max-time", "30", "--min-samples", "200"]
    done = call(*command, *cell, "--out", "/tmp/run", "--json")
    if any(words in done.stderr for words in NO_SUCH_SETTING):
        pytest.skip(f"the engine or its host does not give this: {done.stderr.splitlines()[0]}")
    assert done.code == 0, done.stderr
    frames = [top["frame"] for backend in done.summary()["backends"].values() for top in backend["top"]]
    return {frame for frame in frames if frame.endswith("[kernel]")}


NAMELESS = {"[unknown] [kernel]"}


@pytest.mark.skipif(PARANOID < 2, reason=f"kernel.perf_event_paranoid is {PARANOID}: everyone may see the kernel")
def test_root_without_a_capability_sees_no_kernel_frame() -> None:
    assert kernel_frames([*HARDENED, *OUR_SECCOMP]) == set()


@pytest.mark.parametrize("capability", ["PERFMON", "SYS_ADMIN"])
def test_one_capability_gives_kernel_frames(capability: str) -> None:
    frames = kernel_frames([*HARDENED, *OUR_SECCOMP, "--cap-add", capability])
    assert frames
    if PARANOID >= 2:
        assert frames == NAMELESS


@pytest.mark.parametrize("capability", ["PERFMON", "SYS_ADMIN"])
def test_a_second_one_gives_their_names(capability: str) -> None:
    frames = kernel_frames([*HARDENED, *OUR_SECCOMP, "--cap-add", capability, "--cap-add", "SYSLOG"])
    assert frames - NAMELESS


def test_privileged_gives_kernel_frames_too() -> None:
    assert kernel_frames(["--privileged"]) - NAMELESS


def test_threads_and_memory_are_those_of_the_cgroup() -> None:
    done = docker_run([*OUR_SECCOMP, "--cpus", "1", "--memory", "512m"], *SMALL, "--json", "--min-samples", "0")
    environment = done.summary()["environment"]
    assert environment["threads"] == {"requested": None, "used": 1}
    assert environment["cores"] == 1
    assert environment["memory_limit"] == 512 * MEBIBYTE
    assert environment["container"] == "docker"


def test_a_memory_limit_below_the_arrays_is_told_beforehand() -> None:
    limited = [*OUR_SECCOMP, "--memory", "64m"]
    done = docker_run(limited, "--op", "add", "--shape", "4096x4096", "--dtype", "float64")
    assert done.code == 2, done.stderr
    assert "MiB are available" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_read_only_mount_is_told_with_another_place(tmp_path: Path) -> None:
    mount = ["--mount", f"type=bind,source={tmp_path},target=/bench/results,readonly"]
    done = docker_run([*OUR_SECCOMP, *mount], *CELL)
    assert done.code == 2, done.stderr
    assert "can't write a run to" in done.stderr
    assert "--out chooses another place" in done.stderr


def test_a_full_disk_leaves_no_half_a_run() -> None:
    script = """
        raptors-prof "$@" --out /out/run
        code=$?
        [[ $(ls -A /out) == filler ]] || { echo "left behind: $(ls -A /out)" >&2; exit 99; }
        exit $code
    """
    fill = "head -c 200K /dev/zero > /out/filler\n"
    options = [*OUR_SECCOMP, "--tmpfs", "/out:size=204k,mode=1777", "--entrypoint", "bash"]
    done = docker_run(options, "-c", fill + script, "bash", *CELL)
    assert done.code == 3, done.stderr
    assert "No space left on device" in done.stderr


def test_a_stop_writes_what_was_gathered(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    cell = ["--op", "scale", "--shape", "1024x1024", "--dtype", "float64", "--max-time", "300", "--precision", "0.001"]
    name = f"raptors-stop-{os.getpid()}"
    mount = ["--mount", f"type=bind,source={tmp_path},target=/out"]
    options = ["--user", f"{os.getuid()}:{os.getgid()}", *HARDENED, *OUR_SECCOMP, *mount]
    started = call("docker", "run", "--detach", "--name", name, *options, IMAGE, *cell, "--out", "/out/run")
    assert started.code == 0, started.stderr
    try:
        deadline = time.monotonic() + 60
        while "worker" not in call("docker", "top", name, "-o", "pid,args").stdout and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(1)
        assert call("docker", "stop", "--time", "60", name).code == 0
        code = call("docker", "inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip()
        assert code == "130", call("docker", "logs", name).stderr
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)
    assert '"interrupted": true' in (tmp_path / "run/summary.json").read_text()


ORPHAN = "(sleep 0.1 &); sleep 1; ! grep -l '^State:.Z' /proc/[0-9]*/status"
RECORD = ["record", "--quiet", "-o", "/tmp/profile", "--", "bash", "-c", ORPHAN]


def test_the_first_process_reaps_orphans() -> None:
    assert docker_run(OUR_SECCOMP, *RECORD).code == 0


def test_without_tini_an_orphan_would_stay() -> None:
    """What the test above tells apart."""
    assert docker_run([*OUR_SECCOMP, "--entrypoint", "raptors-prof"], *RECORD).code == 1
