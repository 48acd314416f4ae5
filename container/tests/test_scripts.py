"""The commands of docs/docker_benchmarking.md, called from another directory, in a clone whose path has a space."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import IMAGE, ROOT, Clone, call

CELL = ("broadcast_add", "512x512", "float32")
SHORT = ("--op", "scale", "--shape", "64x64", "--dtype", "float32", "--max-time", "3")


@pytest.fixture(scope="module")
def profile(clone: Clone) -> Path:
    """The directory of a profile of both backends, taken as the guide says."""
    done = clone.script("docker_bench.sh", "profile", *CELL, "both")
    assert done.code == 0, done.stderr
    runs = list((clone.path / "docs/profiles/broadcast_add-512x512-float32-both").iterdir())
    assert len(runs) == 1
    assert f"result: {runs[0]}" in done.stdout, "paths are the same inside and outside"
    return runs[0]


def summary_of(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


def test_an_unprivileged_profile_is_whole(profile: Path) -> None:
    for backend in summary_of(profile)["backends"].values():
        sampling = backend["sampling"]
        assert sampling["in_op"] >= 1000
        assert sampling["lost"] == 0
        assert sampling["merged_ratio"] >= 0.99
    for name in ("numpy.svg", "raptors.svg", "diff.svg", "numpy.folded", "raptors.folded"):
        assert (profile / name).stat().st_size > 0


def test_results_belong_to_who_called(profile: Path, clone: Clone) -> None:
    for path in [profile, *profile.iterdir()]:
        assert path.stat().st_uid == clone.owner()


def shares(run: Path) -> dict[str, float]:
    """Share of samples of each function of NumPy and raptors, and of the worker's Python, in both backends' stacks."""
    shares: dict[str, float] = {}
    for backend in ("numpy", "raptors"):
        stacks = [line.rsplit(" ", 1) for line in (run / f"{backend}.folded").read_text().splitlines()]
        total = sum(int(count) for _, count in stacks)
        for stack, count in stacks:
            for frame in {frame.rsplit(":", 1)[0] for frame in stack.split(";")}:
                if "[numpy/" in frame or "[raptors/" in frame or "(worker.py" in frame:
                    key = f"{backend}: {frame}"
                    shares[key] = shares.get(key, 0) + int(count) / total
    return shares


def test_the_frames_are_those_of_a_run_outside(profile: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    command = [os.environ["PROF"], "--python", os.environ["RAPTORS_PROF_PYTHON"], "--out", str(outside)]
    cell = ["--op", CELL[0], "--shape", CELL[1], "--dtype", CELL[2], "--quiet"]
    subprocess.run([*command, *cell], check=True, cwd=ROOT, timeout=120)
    versions = {summary_of(run)["environment"]["numpy"] for run in (profile, outside)}
    if len(versions) > 1:
        pytest.skip(f"NumPy's own functions differ by version: {versions}")
    inside, outside_shares = shares(profile), shares(outside)
    large = {frame for frame, share in inside.items() if share > 0.1}
    assert {frame.split(":")[0] for frame in large} == {"numpy", "raptors"}
    assert large <= outside_shares.keys()
    assert {frame for frame, share in outside_shares.items() if share > 0.1} <= inside.keys()


def test_profiles_are_compared(profile: Path, clone: Clone) -> None:
    done = clone.script("compare_profiles.sh", *CELL)
    assert done.code == 0, done.stderr
    top = summary_of(profile)["backends"]["raptors"]["top"][0]["frame"]
    for expected in (top, "page-faults", f"{profile}/diff.svg"):
        assert expected in done.stdout


def test_counters_are_a_table(profile: Path, clone: Clone) -> None:
    done = clone.script("counters.sh", profile)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0] == ["event", "numpy", "raptors"]
    backends = summary_of(profile)["backends"]
    for event, *values in rows[1:]:
        for backend, value in zip(("numpy", "raptors"), values):
            counter = next(c for c in backends[backend]["counters"] if c["event"] == event)
            if counter["per_call"] is None:
                assert value == counter["status"]
            else:
                assert float(value) == pytest.approx(counter["per_call"], abs=0.001)
    assert len(rows) > 5


def test_a_cell_without_a_profile_is_told_how_to_get_one(clone: Clone) -> None:
    done = clone.script("compare_profiles.sh", "sum", "8x8", "float32")
    assert done.code == 2
    assert "scripts/docker_bench.sh profile sum 8x8 float32" in done.stderr


def test_bench_measures_what_it_is_given(clone: Clone) -> None:
    done = clone.script("docker_bench.sh", "bench", *SHORT, "--profile", "none")
    assert done.code == 0, done.stderr
    suites = list((clone.path / "results/runs").glob("*-suite-*/suite.json"))
    assert len(suites) == 1
    assert suites[0].stat().st_uid == clone.owner()


@pytest.mark.parametrize(("bound", "code"), [("0.001", 0), ("1000", 1)])
def test_validate_judges(clone: Clone, bound: str, code: int) -> None:
    cell = ("scale", "64x64", "float32")
    done = clone.script("docker_validate_fix.sh", *cell, "--min-ratio", bound, "--max-time", "3")
    assert done.code == code, done.stderr


def test_a_suite_goes_where_it_should_with_its_report(clone: Clone) -> None:
    directory = clone.path.parent / "full suite"
    if clone.user is not None:
        directory.mkdir()
        os.chown(directory, clone.user, clone.user)
    done = clone.script("docker_full_suite.sh", directory, *SHORT)
    assert done.code == 0, done.stderr
    assert (directory / "report.html").stat().st_uid == clone.owner()
    again = clone.script("docker_full_suite.sh", directory)
    assert again.code == 0, again.stderr


@pytest.mark.parametrize("command", [("exit 7",), ("bash", "-c", "exit 7")])
def test_exit_codes_are_passed_through(clone: Clone, command: tuple[str, ...]) -> None:
    assert clone.script("docker_bench.sh", "run", *command).code == 7


def test_run_takes_words_as_they_are(clone: Clone) -> None:
    done = clone.script("docker_bench.sh", "run", "printf", "<%s>", "two words", "$HOME", "")
    assert done.stdout == "<two words><$HOME><>"


def test_the_container_is_nobody_special(clone: Clone) -> None:
    done = clone.script("docker_bench.sh", "run", "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status")
    nothing = "0" * 16
    assert done.stdout.split() == [str(clone.owner()), "CapEff:", nothing, "CapBnd:", nothing, "NoNewPrivs:", "1"]
    assert clone.script("docker_bench.sh", "run", "touch", "/usr/new").code == 1
    assert clone.script("docker_bench.sh", "run", "touch", str(clone.path / "new")).code == 1


def test_shell_is_interactive(clone: Clone) -> None:
    """Through a pseudo-terminal, as a person has it."""
    script = f"'{clone.path}/scripts/docker_bench.sh' shell"
    as_user = [] if clone.user is None else ["setpriv", f"--reuid={clone.user}", f"--regid={clone.user}"]
    if clone.user is not None:
        as_user.append(f"--groups={os.stat('/var/run/docker.sock').st_gid}")
    done = subprocess.run(
        [*as_user, "script", "--quiet", "--return", "--command", script, "/dev/null"],
        check=False,
        input="test -t 0 && echo a terminal of $((6 * 7))\nexit 5\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "a terminal of 42" in done.stdout
    assert done.returncode == 5


def test_an_engine_that_does_not_answer_is_told_in_a_line(clone: Clone) -> None:
    for arguments in ("build",), ("run", "true"), ("shell",):
        script = clone.path / "scripts/docker_bench.sh"
        done = call("env", "DOCKER_HOST=unix:///nonexistent.sock", script, *arguments, user=clone.user)
        assert done.code == 3
        assert len(done.stderr.splitlines()) == 1
        assert "the Docker Engine does not answer" in done.stderr


def test_bad_usage_is_told(clone: Clone) -> None:
    for arguments in ([], ["fly"], ["run"], ["profile", "sum"], ["shell", "x"], ["clean", "all"]):
        done = clone.script("docker_bench.sh", *arguments)
        assert done.code == 2, arguments
        assert len(done.stderr.splitlines()) == 1, arguments
    assert clone.script("docker_bench.sh", "profile", "fly", "8x8", "float32").code == 2
    for script in ("compare_profiles.sh", "docker_validate_fix.sh", "counters.sh"):
        assert clone.script(script).code == 2
        assert "Usage: scripts/" in clone.script(script, "--help").stdout
    # Asked for help, none does its work.
    for command in "profile", "run", "shell", "clean", "help":
        done = clone.script("docker_bench.sh", command, "--help")
        assert (done.code, "Usage: scripts/" in done.stdout) == (0, True), command


def test_zz_clean_leaves_nothing(clone: Clone) -> None:
    """The last one, by its name: the image is gone then."""
    subprocess.run(["docker", "tag", IMAGE, f"{IMAGE}:kept"], check=True)
    try:
        done = clone.script("docker_bench.sh", "clean")
        assert done.code == 0, done.stderr
        assert call("docker", "image", "ls", "-q", f"{IMAGE}:latest").stdout == ""
        assert clone.script("docker_bench.sh", "clean").code != 0
        without = clone.script("docker_bench.sh", "run", "true")
        assert without.code == 3
        assert "scripts/docker_bench.sh build" in without.stderr
    finally:
        subprocess.run(["docker", "tag", f"{IMAGE}:kept", IMAGE], check=True)
        subprocess.run(["docker", "image", "rm", f"{IMAGE}:kept"], check=True, capture_output=True)
