"""Where the command raptors-prof is."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig

from .errors import MissingBinaryError

NAME = "raptors-prof"


def path() -> str:
    """Return the command that was installed with this package, or else the one on PATH.

    Raises
    ------
    MissingBinaryError
        Where there is neither.
    """
    # In an environment, for the user alone, and beside a package from `pip install --target`.
    directories = [
        sysconfig.get_path("scripts"),
        sysconfig.get_path("scripts", "posix_user"),
        os.path.join(os.path.dirname(os.path.dirname(__file__)), "bin"),
    ]
    for directory in directories:
        candidate = os.path.join(directory, NAME)
        if os.access(candidate, os.X_OK):
            return candidate
    on_path = shutil.which(NAME)
    if on_path is None:
        where = ", ".join([*directories, "PATH"])
        raise MissingBinaryError(
            f"there is no command {NAME} in {where}; install it again: {sys.executable} -m pip install --force-reinstall raptors-prof"
        )
    return on_path
