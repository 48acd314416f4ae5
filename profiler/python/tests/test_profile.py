"""The profile of a block, of real work in this process or in one that is made for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from conftest import folded, samples_with, work

import raptors_prof

pytestmark = pytest.mark.usefixtures("sampling")

RATE = 997
TESTS = str(Path(__file__).parent)


def before() -> float:
    return work(0.2)


def first() -> float:
    return work(0.2)


def last() -> float:
    return work(0.2)


def after() -> float:
    return work(0.2)


def start(program: str, *wrapper: str) -> subprocess.Popen[str]:
    """Start a program that has `raptors_prof` and `work`."""
    head = f"import sys; sys.path.insert(0, {TESTS!r})\nimport os, time, raptors_prof\nfrom conftest import work\n"
    command = [*wrapper, sys.executable, "-c", head + textwrap.dedent(program)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("late", [0, 0.5])
def test_all_of_the_block_is_seen_and_nothing_else(
    late: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However late the sampler is, the block begins later.
    command = tmp_path / "command"
    command.write_text(f'#!/bin/sh\nsleep {late}\nexec {raptors_prof.binary.path()} "$@"\n')
    command.chmod(0o755)
    monkeypatch.setattr("raptors_prof.binary.path", lambda: str(command))
    before()
    with raptors_prof.profile(tmp_path / "out") as p:
        times = {"first": first(), "last": last()}
    after()
    assert p.done
    for function, seconds in times.items():
        samples = samples_with(p.directory, f"{function} (")
        assert 0.7 * seconds * RATE < samples + p.summary["sampling"]["lost"], function
        assert samples < 1.3 * seconds * RATE, function
    assert samples_with(p.directory, "before (") == samples_with(p.directory, "after (") == 0


def test_what_is_given_is_what_the_tool_wrote(tmp_path: Path) -> None:
    with raptors_prof.profile(tmp_path / "out", rate=499) as p:
        first()
    assert p.summary["schema"] == "raptors-prof/record/1"
    assert p.summary["sampling"]["rate_hz"] == 499
    assert p.flamegraph() == (tmp_path / "out" / "profile.svg").read_text(encoding="utf-8")
    assert p.top() == p.summary["top"] and p.top(1) == p.summary["top"][:1]
    # Independently: shares by the stacks.
    stacks = folded(p.directory)
    for frame in p.top(3):
        own = sum(count for stack, count in stacks.items() if stack.split(";")[-1] == frame["frame"])
        assert frame["self"] == pytest.approx(own / sum(stacks.values()))


def test_threads_of_the_block_are_seen() -> None:
    thread = threading.Thread(target=first)
    with raptors_prof.profile() as p:
        thread.start()
        thread.join()
    assert samples_with(p.directory, "first (") > 0


def test_another_event_is_counted() -> None:
    with raptors_prof.profile(event="page-faults") as p:
        bytearray(32 << 20)
        touched = [bytes([i % 256]) * 4096 for i in range(20_000)]
    assert p.summary["sampling"]["event"] == "page-faults"
    assert p.summary["sampling"]["total"] > len(touched) / 2


def test_an_exception_passes_and_the_profile_is_there() -> None:
    with pytest.raises(ZeroDivisionError), raptors_prof.profile() as p:
        first()
        _ = 1 / 0
    assert samples_with(p.directory, "first (") > 0


def test_a_fork_in_the_block_leaves_the_profile_to_its_parent() -> None:
    with raptors_prof.profile() as p:
        child = os.fork()
        if child == 0:
            work(0.2)
    if child == 0:
        # The child has left the block too. It may profile itself.
        with raptors_prof.profile() as own:
            last()
        os._exit(0 if not p.done and samples_with(own.directory, "last (") else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert child in [process["pid"] for process in p.summary["processes"]]


def test_processes_that_the_block_starts_are_seen_unless_unwanted() -> None:
    def child() -> None:
        subprocess.run([sys.executable, "-S", "-c", "for i in range(3_000_000): pass"], check=True)

    with raptors_prof.profile() as p:
        child()
    with raptors_prof.profile(subprocesses=False) as alone:
        child()
    assert {process["pid"] for process in p.summary["processes"]} - {os.getpid()}
    assert {process["pid"] for process in alone.summary["processes"]} <= {os.getpid()}


def test_a_second_profile_at_the_same_time_is_refused() -> None:
    with raptors_prof.profile() as outer:
        with pytest.raises(raptors_prof.BadInputError, match="under way") as error, raptors_prof.profile():
            pass
        first()
    assert str(outer.directory) in str(error.value)
    assert outer.done
    with pytest.raises(raptors_prof.BadInputError, match="of one block"), outer:
        pass


def test_there_is_nothing_before_the_end() -> None:
    with raptors_prof.profile() as p:
        assert not p.done
        with pytest.raises(raptors_prof.RaptorsProfError, match="when the block has ended"):
            p.top()


def test_zero_samples_are_told() -> None:
    with raptors_prof.profile() as p:
        time.sleep(0.01)
    if p.summary["sampling"]["samples"] > 0:
        pytest.skip("the machine was quick enough to see it sleep")
    assert p.top() == []
    with pytest.raises(raptors_prof.NoSamplesError, match="nothing ran long enough to be seen"):
        p.flamegraph()
    assert "nothing ran long enough" in p._repr_html_()


def test_the_result_lives_as_long_as_the_profile(tmp_path: Path) -> None:
    with raptors_prof.profile() as p:
        first()
    directory = p.directory
    assert (directory / "summary.json").exists()
    child = os.fork()
    if child == 0:
        del p
        os._exit(0)
    os.waitpid(child, 0)
    assert (directory / "summary.json").exists()
    del p
    assert not directory.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rate": 0}, "0 is not in 1.."), ({"event": "page-fault"}, "page-faults"), ({"out": "."}, "summary")],
)
def test_bad_input_is_told_in_the_tools_words(
    options: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").touch()
    monkeypatch.chdir(tmp_path)
    if "out" in options:
        message = str(tmp_path)
    with pytest.raises(raptors_prof.BadInputError, match=message):
        raptors_prof.profile(**options).__enter__()  # type: ignore[arg-type]
    with raptors_prof.profile() as p:
        pass
    assert p.done


def test_a_missing_command_is_told_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(raptors_prof.MissingBinaryError, match="-m pip install"), raptors_prof.profile():
        pass


def test_denied_events_are_told_with_the_mend() -> None:
    program = start(
        "with raptors_prof.profile(): print('not reached')",
        *[
            "strace",
            "-f",
            "-qq",
            "-o",
            os.devnull,
            "-e",
            "trace=perf_event_open",
            "-e",
            "inject=perf_event_open:error=EACCES",
        ],
    )
    printed, error = program.communicate()
    assert program.returncode == 1 and printed == ""
    assert "DeniedError: sampling was denied" in error and "perf_event_paranoid" in error


def test_ctrl_c_ends_the_block_and_not_the_sampling() -> None:
    program = start(
        """
        try:
            with raptors_prof.profile() as p:
                print("inside", flush=True)
                while True:
                    work(0.1)
        except KeyboardInterrupt:
            print(p.summary["sampling"]["samples"] > 0)
        """
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "inside\n"
    time.sleep(0.2)
    os.killpg(program.pid, signal.SIGINT)
    assert program.communicate() == ("True\n", "")


def test_when_the_process_dies_the_sampling_ends() -> None:
    program = start("with raptors_prof.profile() as p: print(p._process.pid, p.directory, flush=True); work(60)")
    assert program.stdout is not None
    sampler, directory = program.stdout.readline().split()
    program.kill()
    program.communicate()
    deadline = time.monotonic() + 60
    while not (Path(directory) / "summary.json").exists() or Path(f"/proc/{sampler}/exe").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_yama_is_asked_for_leave_for_our_own_children(tmp_path: Path) -> None:
    scope, trace = tmp_path / "ptrace_scope", tmp_path / "trace"
    program = """
        from raptors_prof import ptrace
        ptrace.SCOPE = sys.argv[1] if len(sys.argv) > 1 else os.environ["SCOPE"]
        with raptors_prof.profile(): pass
        print(os.getpid())
    """
    for setting, wanted in [("1\n", True), ("0\n", False)]:
        scope.write_text(setting)
        wrapper = ["env", f"SCOPE={scope}", "strace", "-qq", "-o", str(trace), "-e", "trace=prctl"]
        process = start(program, *wrapper)
        printed, error = process.communicate()
        assert process.returncode == 0, error
        calls = [line for line in trace.read_text().splitlines() if "PR_SET_PTRACER" in line]
        own = [call for call in calls if f"PR_SET_PTRACER, {printed.strip()}" in call]
        nobody = [call for call in calls if "PR_SET_PTRACER, 0" in call or "PR_SET_PTRACER, NULL" in call]
        assert (len(own), len(nobody)) == ((1, 1) if wanted else (0, 0)), calls


def test_frames_of_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    with raptors_prof.profile() as p:
        first()
    frame = p.to_frame()
    assert list(frame.columns) == ["frame", "self", "total"]
    assert frame.to_dict("records") == p.top()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(raptors_prof.RaptorsProfError, match=r"pip install 'raptors-prof\[pandas\]'"):
        p.to_frame()
