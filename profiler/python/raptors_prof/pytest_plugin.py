"""The pytest plug-in: the fixture `raptors_prof`, by which a test fails where a callable has become too slow.

def test_add(raptors_prof):
    raptors_prof.check(np.add, raptors.add, a, b, min_ratio=1.5)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from .comparison import Comparison, compare

if TYPE_CHECKING:
    from collections.abc import Callable

#: Under this name, a line for each comparison is with the report of a test.
PROPERTY = "raptors_prof"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("raptors-prof")
    group.addoption("--raptors-prof-strict", action="store_true", help="an inconclusive comparison fails its test too")


@pytest.fixture
def raptors_prof(request: pytest.FixtureRequest) -> Checker:
    """Compare two callables; the test fails where the candidate is slower than it should be."""
    return Checker(request.node, request.config.getoption("--raptors-prof-strict"))


@dataclass
class Checker:
    """What the fixture gives."""

    _test: pytest.Item
    _strict: bool

    def check(
        self,
        baseline: Callable[..., Any],
        candidate: Callable[..., Any],
        *args: Any,
        min_ratio: float = 1.0,
        strict: bool = False,
        precision: float = 1.0,
        max_time: float = 30.0,
    ) -> Comparison:
        """Compare as `raptors_prof.compare` does, and fail the test where the whole interval is below `min_ratio`.

        With `strict`, it fails where the interval is too wide to tell as well.
        """
        __tracebackhide__ = True
        comparison = compare(baseline, candidate, *args, min_ratio=min_ratio, precision=precision, max_time=max_time)
        line = f"{self._test.nodeid}: ratio {comparison.ratio:.3f}, {comparison.standing} (min_ratio {min_ratio:g})"
        self._test.user_properties.append((PROPERTY, line))
        if comparison.standing == "worse":
            pytest.fail(f"the candidate is too slow: {self._why(comparison, min_ratio)}", pytrace=False)
        if comparison.standing == "inconclusive" and (strict or self._strict):
            pytest.fail(
                f"it can't be told whether the candidate is too slow: {self._why(comparison, min_ratio)}", pytrace=False
            )
        return comparison

    def _why(self, comparison: Comparison, min_ratio: float) -> str:
        what_to_do = (
            f"To see where the time goes: raptors-prof record -o profile -- python -m pytest '{self._test.nodeid}'"
            if comparison.standing == "worse"
            else "Run it again on a quiet machine, with nothing beside it, or with a longer max_time."
        )
        disturbed = (
            "\nOther processes disturbed the run so much that nothing can be concluded."
            * comparison.details["disturbed"]
        )
        return (
            f"its ratio should be at least {min_ratio:g} (here {comparison.bound:.3f}, as less is no difference in this run)\n"
            f"{comparison}{disturbed}\n{what_to_do}"
        )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a line for each comparison."""
    reports = [
        report
        for kind in ("passed", "failed")
        for report in terminalreporter.stats.get(kind, [])
        if getattr(report, "when", None) == "call"
    ]
    lines = [text for report in reports for name, text in report.user_properties if name == PROPERTY]
    if lines:
        terminalreporter.section("raptors-prof")
        for line in lines:
            terminalreporter.write_line(line)
