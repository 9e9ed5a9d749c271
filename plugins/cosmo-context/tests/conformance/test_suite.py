"""The pytest class: what an author sees of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import pytest

from cosmo_context import Context, FactNeuron
from cosmo_context.testing import ContextNeuronConformance, Example


class TestFacts(ContextNeuronConformance):
    reads = {"facts": ["some text"]}

    def neuron(self):
        return FactNeuron()

    def examples(self):
        facts = Context("task", state={"facts": ["It rains"]})
        return [Example(facts, "<facts>\\n  - It rains\\n</facts>")]

    def quoting(self, text):
        return Context("task", state={"facts": [text]})
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the suite of the facts Neuron, with more lines in its class, in a pytest without any plugin.

    With ``apart``, it runs in a process of its own, in which nothing has been imported.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(lines: str = "", *arguments: str, apart: bool = False) -> pytest.RunResult:
        body = "".join(f"    {line}\n" for line in lines.splitlines())
        pytester.makepyfile(test_facts=f"{SUITE}\n{body}")
        runs = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        return runs("-W", "error", "-rsx", *arguments)

    return run


def test_correct_neuron_passes_without_pytest_plugins(run: Run) -> None:
    run(apart=True).assert_outcomes(passed=26)


def test_a_skip_names_the_requirement_and_the_reason(run: Run) -> None:
    lines = 'not_applicable = {"context:fork": "no forks"}\ndef quoting(self, text): pass'
    result = run(lines, "-k", "fork or data_tags")
    result.stdout.fnmatch_lines_random(
        ["*context:fork: no forks", "*context:data-tags: quoting() gives no Context"]
    )
    assert result.parseoutcomes().keys() == {"skipped", "deselected"}


def test_a_failure_names_the_requirement_and_shows_what_the_neuron_raised(run: Run) -> None:
    lines = (
        "class neuron(FactNeuron):\n    def fragment(self, ctx, **kwargs):\n        raise OSError('it hangs')"
    )
    result = run(lines, "-k", "test_text")
    result.stdout.fnmatch_lines(
        [
            "*TestFacts.test_text*",
            "*async def check_text*",
            "*raise OSError('it hangs')*",
            "E*OSError: it hangs",
            "E*ConformanceError: context:text: the context Neuron raised OSError: it hangs",
        ]
    )
    assert result.parseoutcomes()["failed"] == 1


def test_requirements_after_the_claimed_level_are_skipped(run: Run) -> None:
    result = run('level = "0.0"')
    result.assert_outcomes(passed=1, skipped=25)
    result.stdout.fnmatch_lines(["*context:text: not yet claimed: level is 0.0, and it is new in 0.1"])


REPLACED = "def test_text(self): pass"


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (REPLACED, "test_text is replaced"),
        ("test_text = None", "test_text is replaced"),
        (f"@pytest.mark.skip(reason='no time')\n{REPLACED}", "test_text is replaced"),
        (f"@pytest.mark.xfail\n{REPLACED}", "test_text is replaced"),
        ("not_applicable = {'context:magic': 'why'}", "names 'context:magic', which does not exist"),
        ("not_applicable = {'context:fork': ''}", "'context:fork'? is not a reason"),
        ("def examples(self): return []", "examples() gives none"),
        (
            "def examples(self): return [Example(Context('task'), '')]",
            "the fragment of examples()?0? is *: use nothing_to_say() for that",
        ),
    ],
    ids=[
        *("replaced", "deleted", "skipped", "no reason", "no requirement", "empty reason"),
        *("no examples", "empty example"),
    ],
)
def test_incomplete_suite_fails(run: Run, lines: str, complaint: str) -> None:
    result = run(lines, "-k", "whole")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines([f"*{complaint}*"])


def test_a_claim_that_is_missing_is_named(run: Run) -> None:
    result = run("@pytest.fixture(autouse=True)\ndef forget(self): del TestFacts.reads", "-k", "whole")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*reads is not set*"])


def test_unmet_requirement_can_be_marked_xfail(run: Run) -> None:
    lines = """
@pytest.mark.xfail(reason="nobody shortens it yet")
def test_shorten_fits(self):
    raise AssertionError
"""
    result = run(lines, "-k", "whole or shorten_fits")
    result.assert_outcomes(passed=1, xfailed=1, deselected=result.parseoutcomes()["deselected"])
