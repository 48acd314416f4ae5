"""The plug-in, in runs of pytest of their own."""

from __future__ import annotations

import pytest

#: Asleep, they are not held up by what else computes on the machine, of which nothing would be concluded.
HEAD = """
    import time
    def slow(): time.sleep(0.008)
    def fast(): time.sleep(0.002)
"""


def run(pytester: pytest.Pytester, body: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(HEAD + body)
    return pytester.runpytest_subprocess(*options)


def test_what_is_fast_enough_passes_and_is_told(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
    def test_speed(raptors_prof):
        comparison = raptors_prof.check(slow, fast, min_ratio=1.5, max_time=2)
        assert comparison.verdict == "faster"
    """,
    )
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"=+ raptors-prof =+", r"\S+::test_speed: ratio \d\.\d{3}, held \(min_ratio 1.5\)"])


def test_what_is_too_slow_fails_and_says_what_to_do(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
    def test_speed(raptors_prof):
        raptors_prof.check(fast, slow, max_time=2)
    """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r"the candidate is too slow: its ratio should be at least 1 \(here 0\.\d{3}",
            r"baseline +[\d.]+ ms +[\d.]+ ms to [\d.]+ ms",
            r"candidate +[\d.]+ ms +[\d.]+ ms to [\d.]+ ms",
            r"ratio 0\.\d{3}, 95 % interval 0\.\d{3} to 0\.\d{3}, \d+ pairs",
            r"The candidate is slower: it takes \d\.\d\d times as long as the baseline\.",
            r"To see where the time goes: raptors-prof record -o profile -- python -m pytest '\S+::test_speed'",
            r"\S+::test_speed: ratio 0\.\d{3}, worse \(min_ratio 1\)",
        ]
    )


@pytest.mark.parametrize(
    ("argument", "option", "outcome"),
    [("", [], "passed"), ("strict=True, ", [], "failed"), ("", ["--raptors-prof-strict"], "failed")],
)
def test_what_can_not_be_told_fails_only_if_strict(
    pytester: pytest.Pytester, argument: str, option: list[str], outcome: str
) -> None:
    body = f"""
    def test_speed(raptors_prof):
        raptors_prof.check(fast, fast, {argument}max_time=1e-6)
    """
    result = run(pytester, body, *option)
    result.assert_outcomes(**{outcome: 1})
    result.stdout.re_match_lines([r"\S+::test_speed: ratio \S+, inconclusive \(min_ratio 1\)"])
    if outcome == "failed":
        result.stdout.re_match_lines(
            ["it can't be told whether the candidate is too slow", "Run it again on a quiet machine"]
        )


def test_an_exception_of_a_kernel_is_the_tests_own(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
    def test_speed(raptors_prof):
        raptors_prof.check(fast, lambda: 1 / 0)
    """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ZeroDivisionError*"])


def test_without_a_comparison_nothing_is_said(pytester: pytest.Pytester) -> None:
    result = run(pytester, "    def test_other(): pass")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*raptors-prof*=*")
