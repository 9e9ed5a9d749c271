"""An extension in a separate distribution is used by its name, and only while it is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import MakeEnvironment

# It makes an environment and builds distributions; the commands have their own time limits.
pytestmark = pytest.mark.timeout(900)

USE_NOTES = """
from cosmo_core import Dendrite, UnknownPluginError
from cosmo_synapse_memory import MemorySynapse

try:
    print(Dendrite(synapse=MemorySynapse()).extension("notes").name)
except UnknownPluginError as error:
    print(error)
"""


def test_example_extension_is_installed_tested_used_and_uninstalled(
    checkout: Path, environment: MakeEnvironment, tmp_path: Path
) -> None:
    notes = checkout / "docs" / "examples" / "cosmo-extension-notes"
    clean = environment(tmp_path / "venv")
    tools = ("pytest", "pytest-asyncio", "pytest-timeout")
    clean.install_folders(".", "./plugins/cosmo-synapse-memory", *tools, str(notes), cwd=checkout)

    tested = clean.run("-m", "pytest", "-W", "error", "-p", "no:cacheprovider", notes, cwd=tmp_path)
    assert re.search(r"^=+ 7 passed in .* =+$", tested.stdout, re.MULTILINE)

    (program,) = _blocks(notes / "README.md", "python")
    (printed,) = _blocks(notes / "README.md", "text")
    assert clean.run("-c", program, cwd=tmp_path).stdout == printed

    assert clean.run("-c", USE_NOTES, cwd=tmp_path).stdout == "notes\n"
    clean.uninstall(notes.name)
    complaint = clean.run("-c", USE_NOTES, cwd=tmp_path).stdout
    assert "no extension 'notes'; it has: 'auctions', 'memory', 'watching', 'workflow'" in complaint


def _blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language on a page."""
    return re.findall(
        rf"^```{language}\b[^\n]*\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
