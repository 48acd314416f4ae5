"""What can go wrong: each error carries the tool's own message, which says what to do."""

from __future__ import annotations


class RaptorsProfError(Exception):
    """Something did not work. `exit_code` is that of the tool, where it ran."""

    exit_code: int | None = None


class MissingBinaryError(RaptorsProfError):
    """The command raptors-prof is not there."""


class BadInputError(RaptorsProfError, ValueError):
    """An argument is of no use."""

    exit_code = 2


class DeniedError(RaptorsProfError):
    """The environment denies what the job needs."""

    exit_code = 3


class WorkloadError(RaptorsProfError):
    """What was to be measured failed."""

    exit_code = 4


class NoSamplesError(RaptorsProfError):
    """Nothing was seen, so there is no flame graph."""


def by_exit_code(code: int, printed: str) -> RaptorsProfError:
    """Make the error that the tool's end stands for."""
    message = f"\n{printed}".partition("\nerror: ")[2].strip() or f"raptors-prof ended with exit code {code}: {printed}"
    for kind in (BadInputError, DeniedError, WorkloadError):
        if kind.exit_code == code:
            return kind(message)
    error = RaptorsProfError(message)
    error.exit_code = code
    return error
