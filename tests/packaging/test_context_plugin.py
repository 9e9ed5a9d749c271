"""A context Neuron that a stranger published is one pip install away."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

# It makes an environment and builds distributions; what it waits for has bounds of its own.
pytestmark = pytest.mark.timeout(900)

Run = Callable[..., str]

ADD_WEATHER = """
from cosmo_context import Context, PromptBuilder, PromptBuilderError

try:
    PromptBuilder(Context("task-123")).add("task").add("weather")
except PromptBuilderError as error:
    print(error)
"""


def test_a_strangers_context_neuron_is_installed_tested_named_in_a_prompt_and_uninstalled(
    checkout: Path, new_python: Path, run: Run
) -> None:
    weather = checkout / "docs" / "examples" / "cosmo-context-weather"
    projects = (".", "./plugins/cosmo-context[testing]", weather)
    run(new_python, "-m", "pip", "install", *projects, cwd=checkout)

    tested = run(new_python, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", weather)
    assert re.search(r"^=+ 26 passed in .* =+$", tested, re.MULTILINE)

    (program,) = _blocks(weather / "README.md", "python")
    (prompt,) = _blocks(weather / "README.md", "text")
    assert run(new_python, "-I", "-W", "error", "-c", program) == prompt

    run(new_python, "-m", "pip", "uninstall", "--yes", weather.name)
    complaint = run(new_python, "-I", "-W", "error", "-c", ADD_WEATHER)
    assert "'weather'" in complaint
    for known in ("entity", "fact", "history", "knowledge", "skill", "system", "task", "todo", "workspace"):
        assert f"{known} (cosmo-context " in complaint


def _blocks(page: Path, language: str) -> list[str]:
    """Give the fenced blocks of one language on a page."""
    return re.findall(
        rf"^```{language}\b[^\n]*\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
