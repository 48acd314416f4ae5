#!/usr/bin/env python3
"""Kills raptors-prof at random moments and checks that the program that it profiles does not notice.

Each round runs a small Python program, with a thread and a child process, under `record` or with `attach` on it, ends the
profiler by SIGKILL after a random delay, waits for the program itself and compares its output and exit code with those of a run
without a profiler. Afterwards nothing of a killed profiler may lie about once another one has ended well.

    scripts/kill_profiler.py --profiler target/release/raptors-prof --kills 50
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PR_SET_CHILD_SUBREAPER = 36
EXIT_CODE = 7

PROGRAM = f"""
import os, sys, threading, zlib
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
def checksum(start, rounds):
    for n in range(rounds):
        start = zlib.crc32(bytes([n % 256]) * 100_000, start)
    return start
def print_checksum(name, start):
    print(name, checksum(start, 2000), flush=True)
for n in range(3):
    thread = threading.Thread(target=print_checksum, args=("thread", n))
    thread.start()
    thread.join()
    print_checksum("main", n)
    if os.fork() == 0:
        print_checksum("child", n)
        os._exit(0)
    os.wait()
sys.exit({EXIT_CODE})
"""


class Ended(NamedTuple):
    """What a program printed and its exit code, None where it had ended and was waited for by the profiler that was killed."""

    output: str
    code: int | None


class Round(NamedTuple):
    """The program's end, None where it never began; whether the profiler was still there to be killed."""

    ended: Ended | None
    killed: bool


class Setting(NamedTuple):
    """What every round needs."""

    profiler: Path
    directory: Path

    def program(self) -> list[str]:
        """Return the program's command. It writes its process id to a file first."""
        return [sys.executable, "-c", PROGRAM, str(self.pid_file)]

    @property
    def pid_file(self) -> Path:
        """Where the program says its process id."""
        return self.directory / "pid"

    def command(self, *arguments: str) -> list[str]:
        """Return a command of the profiler."""
        out = str(self.directory / "profiles" / "run")
        return [str(self.profiler), arguments[0], "--quiet", "-o", out, *arguments[1:]]


def unprofiled(setting: Setting) -> tuple[Ended, float]:
    """Run the program alone; return its end and how long it took."""
    start = time.monotonic()
    done = subprocess.run(setting.program(), check=False, capture_output=True, text=True)
    return Ended(done.stdout, done.returncode), time.monotonic() - start


def record(setting: Setting, delay: float) -> Round:
    """Kill `record` and wait for the program, which is ours then."""
    with tempfile.TemporaryFile("w+") as output:
        command = setting.command("record", "--", *setting.program())
        profiler = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        killed = kill_after(profiler, delay)
        codes = wait_for_orphans()
        output.seek(0)
        text = output.read()
    if not setting.pid_file.exists() and not text:
        # A program that was still held ends with the profiler.
        return Round(None, killed)
    code = codes.get(int(setting.pid_file.read_text()), None if killed else profiler.returncode)
    return Round(Ended(text, code), killed)


def attach(setting: Setting, delay: float) -> Round:
    """Kill `attach` and wait for the program, which is ours anyhow."""
    program = subprocess.Popen(setting.program(), stdout=subprocess.PIPE, text=True)
    command = setting.command("attach", "--pid", str(program.pid))
    profiler = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    killed = kill_after(profiler, delay)
    output, _ = program.communicate()
    return Round(Ended(output, program.returncode), killed)


def kill_after(profiler: subprocess.Popen[str], delay: float) -> bool:
    """Kill the profiler, whose return code is set then; False where it had ended."""
    time.sleep(delay)
    if profiler.poll() is not None:
        if profiler.returncode not in (0, EXIT_CODE):
            print(f"the profiler failed: exit code {profiler.returncode}")
            sys.exit(profiler.returncode)
        return False
    profiler.kill()
    profiler.wait()
    return True


def wait_for_orphans() -> dict[int, int]:
    """Wait for all processes that the dead profiler left to this one; return their exit codes."""
    codes = {}
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return codes
        codes[pid] = os.waitstatus_to_exitcode(status)


def left_behind(setting: Setting) -> list[str]:
    """Run the profiler once to its end; return what there is beside its result."""
    directory = setting.directory / "profiles"
    subprocess.run(setting.command("record", "--", "true"), check=True)
    return [path.name for path in directory.iterdir() if path.name != "run"]


def main() -> None:
    """Read the command line, kill, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiler", type=Path, default=ROOT / "target/release/raptors-prof")
    parser.add_argument("--kills", type=int, default=50, help="of each of record and attach")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit(f"can't become a subreaper: {os.strerror(ctypes.get_errno())}")
    failures = 0
    with tempfile.TemporaryDirectory() as directory:
        setting = Setting(options.profiler.absolute(), Path(directory))
        expected, seconds = unprofiled(setting)
        for run in (record, attach):
            killed = never_began = had_ended = 0
            while killed < options.kills:
                setting.pid_file.unlink(missing_ok=True)
                delay = chance.uniform(0, 1.2 * seconds)
                ended, was_killed = run(setting, delay)
                shutil.rmtree(setting.directory / "profiles" / "run", ignore_errors=True)
                killed += was_killed
                never_began += ended is None
                had_ended += ended is not None and ended.code is None
                if ended is not None and ended not in (expected, expected._replace(code=None)):
                    failures += 1
                    print(f"{run.__name__}, killed after {delay:.3f} s: {ended} instead of {expected}")
            print(f"{run.__name__}: {killed} kills, {never_began} before the program began, {had_ended} after its end")
        left = left_behind(setting)
        if left:
            failures += 1
            print(f"left behind: {', '.join(left)}")
    print(f"{failures} failures")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
