"""A context Neuron in a distribution of its own is used by its name, and only while it is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import MakeEnvironment

# It makes an environment and builds distributions; the commands have a time limit of their own.
pytestmark = pytest.mark.timeout(900)

ADD_WEATHER = """
from cosmo_context import Context, PromptBuilder, PromptBuilderError

try:
    PromptBuilder(Context("task-123")).add("task").add("weather")
except PromptBuilderError as error:
    print(error)
"""


def test_example_context_neuron_is_installed_tested_used_in_a_prompt_and_uninstalled(
    checkout: Path, environment: MakeEnvironment, tmp_path: Path
) -> None:
    weather = checkout / "docs" / "examples" / "cosmo-context-weather"
    clean = environment(tmp_path / "venv")
    kit = ("./plugins/cosmo-llm", "./plugins/cosmo-testing", "./plugins/cosmo-context[testing]")
    clean.install_folders(".", *kit, str(weather), cwd=checkout)

    tested = clean.run("-m", "pytest", "-W", "error", "-p", "no:cacheprovider", weather, cwd=tmp_path)
    assert re.search(r"^=+ 26 passed in .* =+$", tested.stdout, re.MULTILINE)

    (program,) = _blocks(weather / "README.md", "python")
    (prompt,) = _blocks(weather / "README.md", "text")
    assert clean.run("-c", program, cwd=tmp_path).stdout == prompt

    clean.uninstall(weather.name)
    complaint = clean.run("-c", ADD_WEATHER, cwd=tmp_path).stdout
    assert "'weather'" in complaint
    for known in ("entity", "fact", "history", "knowledge", "skill", "system", "task", "todo", "workspace"):
        assert f"{known} (cosmo-context " in complaint


def _blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language on a page."""
    return re.findall(
        rf"^```{language}\b[^\n]*\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
