"""Leave for the processes that this one starts to read its memory, where the Yama module asks for it.

With `kernel.yama.ptrace_scope` 1, a process may be read by its ancestors and by whom it names, with all that these have started. A
process that names itself so lets its own children.
"""

from __future__ import annotations

import ctypes
import os

SCOPE = "/proc/sys/kernel/yama/ptrace_scope"
ASKS = "1"
PR_SET_PTRACER = 0x59616D61


def let_children() -> None:
    """Let them; where it fails, the tool says what it lacks."""
    _set(os.getpid())


def let_nobody() -> None:
    """Let nobody any longer."""
    _set(0)


def _set(pid: int) -> None:
    try:
        with open(SCOPE, encoding="ascii") as file:
            asks = file.read().strip() == ASKS
    except OSError:
        return
    if asks:
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(pid), 0, 0, 0)
