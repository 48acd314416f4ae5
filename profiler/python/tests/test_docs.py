"""The examples of docs/python-api.md run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_notebook import execute, shown

import raptors_prof

PAGE = (Path(__file__).parents[3] / "docs" / "python-api.md").read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    """Return the blocks of the page in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


SCRIPTS = [text for text in examples("python") if "def test_" not in text]
TESTS = [text for text in examples("python") if "def test_" in text]


@pytest.mark.usefixtures("sampling")
@pytest.mark.parametrize("script", SCRIPTS, ids=["profile", "compare"])
def test_scripts(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(script, "python-api.md", "exec"), names)  # noqa: S102 - it is ours
    if "comparison" in names:
        comparison = names["comparison"]
        assert isinstance(comparison, raptors_prof.Comparison)
        assert comparison.standing == "held" or comparison.details["disturbed"]
    else:
        assert (tmp_path / "out" / "profile.svg").exists()


@pytest.mark.usefixtures("sampling")
def test_the_notebook(tmp_path: Path) -> None:
    notebook = execute(*examples("ipython"), directory=tmp_path)
    value, _ = shown(notebook["cells"][1], "text/plain")
    (page,) = shown(notebook["cells"][1], "text/html")
    assert value == "(1000, 1000)" and "<iframe" in page


def test_the_test(pytester: pytest.Pytester) -> None:
    (text,) = TESTS
    pytester.makepyfile(text)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*::test_sum_is_not_slower_than_numpy: ratio *, *(min_ratio 0.5)"])
