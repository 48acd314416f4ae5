"""The profile of a block of code in this process.

A process of its own, `raptors-prof attach`, samples this one. The block begins when it says that it samples, and it is told to end
when the block has ended; what it leaves is read from its directory.
"""

from __future__ import annotations

import html
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from . import binary, ptrace
from .errors import BadInputError, NoSamplesError, RaptorsProfError, by_exit_code

if TYPE_CHECKING:
    from types import TracebackType

    import pandas as pd
    from typing_extensions import Self

#: A taller flame graph is scrolled in a notebook; in pixels.
TALLEST = 600

#: A share of the samples: of the frame itself, and with what it called.
TopFrame = TypedDict("TopFrame", {"frame": str, "self": float, "total": float})  # noqa: UP013 - `self` is the word of summary.json

#: The profile that is under way in a process. A fork has none of its own.
_under_way: dict[int, Profile] = {}


def profile(
    out: str | os.PathLike[str] | None = None,
    *,
    rate: int | None = None,
    event: str | None = None,
    off_cpu: bool = False,
    subprocesses: bool = True,
) -> Profile:
    """Profile a block of code: `with profile() as p: ...`.

    Parameters
    ----------
    out
        Directory of the result, new or empty. Without one, the result lives as long as the profile.
    rate
        Samples a second (997).
    event
        An event to sample instead of CPU time, such as `page-faults`.
    off_cpu
        Record where threads wait instead of where they compute.
    subprocesses
        Whether to profile the processes that the block starts too.
    """
    block = sys._getframe(1)
    title = f"{os.path.basename(block.f_code.co_filename)}:{block.f_lineno}"
    return Profile(out, title, tool_options(rate, event, off_cpu, subprocesses))


def tool_options(rate: int | None, event: str | None, off_cpu: bool, subprocesses: bool = True) -> list[str]:
    """Return what `attach` is to be told."""
    options = [f"--subprocesses={str(subprocesses).lower()}"]
    if rate is not None:
        options.append(f"--rate={rate}")
    if event is not None:
        options.append(f"--event={event}")
    if off_cpu:
        options.append("--off-cpu")
    return options


class Profile:
    """What was seen of a block. Made by `profile`."""

    def __init__(self, out: str | os.PathLike[str] | None, title: str, options: list[str]) -> None:
        self._options = [f"--title={title}", *options]
        self._pid = os.getpid()
        self._process: subprocess.Popen[str] | None = None
        self._summary: dict[str, Any] | None = None
        self._messages = ""
        if out is None:
            self.directory = Path(tempfile.mkdtemp(prefix="raptors-prof-"))
            weakref.finalize(self, _remove, self.directory, self._pid)
        else:
            self.directory = Path(out).absolute()

    def __enter__(self) -> Self:
        if self._process is not None:
            raise BadInputError("a profile is of one block: make another with raptors_prof.profile()")
        self._pid = os.getpid()
        other = _under_way.setdefault(self._pid, self)
        if other is not self:
            raise BadInputError(f"a profile of this process is under way in {other.directory}: end it first")
        try:
            self._start()
        except BaseException:
            del _under_way[self._pid]
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # In a fork of this process the block may end too; the profile is its parent's.
        if os.getpid() != self._pid:
            return
        try:
            self._stop()
        except RaptorsProfError as own:
            if error is None:
                raise
            # What the block raised is what matters.
            warnings.warn(f"no profile: {own}", RuntimeWarning, stacklevel=2)
        finally:
            del _under_way[self._pid]

    def _start(self) -> None:
        command = [binary.path(), "attach", "--until-told", f"--pid={self._pid}", f"--out={self.directory}"]
        ptrace.let_children()
        # In a session of its own, Ctrl-C does not reach it.
        self._process = process = subprocess.Popen(
            command + self._options,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            samples = process.stdout.readline() == "sampling\n"
        except BaseException:
            process.kill()
            process.communicate()
            raise
        if not samples:
            _, printed = process.communicate()
            raise by_exit_code(process.returncode, printed)

    def _stop(self) -> None:
        assert self._process is not None
        _, self._messages = self._process.communicate("\n")
        ptrace.let_nobody()
        if self._process.returncode != 0:
            raise by_exit_code(self._process.returncode, self._messages)
        self._summary = json.loads((self.directory / "summary.json").read_text(encoding="utf-8"))

    @property
    def done(self) -> bool:
        """Whether the block has ended and left a profile."""
        return self._summary is not None

    @property
    def summary(self) -> dict[str, Any]:
        """All that was found out: summary.json, which docs/record.schema.json describes."""
        if self._summary is None:
            raise RaptorsProfError("there is no profile: it is there when the block has ended")
        return self._summary

    def flamegraph(self) -> FlameGraph:
        """Return the flame graph.

        Raises
        ------
        NoSamplesError
            Where nothing was seen.
        """
        name = self.summary["outputs"].get("flamegraph")
        if name is None:
            raise NoSamplesError(self._told())
        return FlameGraph((self.directory / name).read_text(encoding="utf-8"))

    def top(self, count: int = 20) -> list[TopFrame]:
        """Return the frames with the largest share of their own, 20 at most."""
        top: list[TopFrame] = self.summary["top"][:count]
        return top

    def to_frame(self) -> pd.DataFrame:
        """Return `top` as a DataFrame of pandas."""
        return pandas().DataFrame(self.top(), columns=["frame", "self", "total"])

    def __repr__(self) -> str:
        if self._summary is None:
            return f"<raptors_prof.Profile in {self.directory}, not done>"
        return f"<raptors_prof.Profile of {self._summary['sampling']['samples']} samples in {self.directory}>"

    def _told(self) -> str:
        """Return what the tool said, up to the table of the top frames."""
        lines = self._messages.splitlines()
        return "\n".join(itertools.takewhile(lambda line: not line.startswith((" ", "result: ")), lines))

    def _repr_html_(self) -> str:
        if self._summary is None or self._summary["outputs"].get("flamegraph") is None:
            return f"<pre>{html.escape(self._told() or repr(self))}</pre>"
        rows = "".join(
            f"<tr><td>{frame['self']:.1%}</td><td>{frame['total']:.1%}</td>"
            f'<td style="text-align: left"><code>{html.escape(frame["frame"])}</code></td></tr>'
            for frame in self.top(10)
        )
        head = '<tr><th>self</th><th>total</th><th style="text-align: left">frame</th></tr>'
        return f"{self.flamegraph()._repr_html_()}<p>{html.escape(self._told())}</p><table>{head}{rows}</table>"


class FlameGraph(str):
    """The text of an SVG, which a notebook shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<raptors_prof.FlameGraph of {len(self)} characters>"

    def _repr_html_(self) -> str:
        # The script of the graph runs apart from the notebook. It would keep what is searched in the address, which a frame without
        # one does not let it.
        document = (
            "<!DOCTYPE html><meta charset='utf-8'><style>body { margin: 0 } svg { display: block; width: 100% }</style>"
            "<script>history.replaceState = () => {}; addEventListener('load', () => scrollTo(0, 1e6))</script>"
            + self[self.index("<svg") :]
        )
        # The whole of a deep graph would push the rest of the notebook away: the roots, which are at the bottom, are shown first.
        height = min(int(self.partition(' height="')[2].partition('"')[0]), TALLEST)
        return (
            f'<iframe sandbox="allow-scripts allow-modals" srcdoc="{html.escape(document)}" title="flame graph"'
            f' style="width: 100%; height: {height}px; border: 0"></iframe>'
        )


def pandas() -> Any:
    """Import pandas."""
    try:
        import pandas
    except ImportError as error:
        raise RaptorsProfError("this needs pandas: pip install 'raptors-prof[pandas]'") from error
    return pandas


def _remove(directory: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(directory, ignore_errors=True)
