"""The distribution: entry point, dependencies and the README."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from importlib.metadata import entry_points, metadata, requires
from pathlib import Path

import cosmo_source_mcp
from cosmo_llm import Failure
from cosmo_source_mcp import codes, limits
from cosmo_source_mcp.options import McpOptions
from cosmo_source_mcp.targets import PRESETS

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_entry_point_loads_the_source() -> None:
    (found,) = entry_points(group="cosmo.sources", name="mcp")
    assert found.load() is cosmo_source_mcp.mcp


def test_imports_are_declared_as_dependencies() -> None:
    needed = {re.split(r"[<>=!~ ]", line, maxsplit=1)[0] for line in requires("cosmo-source-mcp") or []}
    source = Path(cosmo_source_mcp.__file__).parent
    text = "\n".join(file.read_text("utf-8") for file in source.glob("*.py"))
    found = re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)
    imported = {name.replace("_", "-") for name in set(found) - sys.stdlib_module_names}
    assert imported - {"cosmo-source-mcp"} == needed
    assert "cosmo-plugin" in metadata("cosmo-source-mcp")["Keywords"]


def test_plugin_interface_version_is_declared() -> None:
    assert cosmo_source_mcp.COSMO_API == 1


def test_every_public_name_exists() -> None:
    for name in cosmo_source_mcp.__all__:
        assert hasattr(cosmo_source_mcp, name)


def test_readme_lists_every_option_preset_and_code() -> None:
    failure_codes = [value.code for value in vars(codes).values() if isinstance(value, Failure)]
    for name in (*McpOptions.names(), *PRESETS, *failure_codes):
        assert f"| `{name}` |" in README, name


def test_readme_states_the_limits() -> None:
    assert f"{limits.MAX_MESSAGE_BYTES >> 20} MiB" in README
    assert f"{limits.MAX_STRAY_LINES} in a row" in README
    assert f"{limits.MAX_PAGES} pages, {limits.MAX_LISTED:,} entries" in README
    assert f"{limits.MAX_SCHEMA_STEPS:,} steps and {limits.MAX_SCHEMA_DEPTH} levels" in README
    assert f"{limits.MAX_TOOL_ERROR_CHARS:,} characters" in README
    assert f"during one call | {limits.MAX_INPUT_ROUNDS} |" in README
    assert f"{limits.MAX_NOTE_CHARS:,} characters each; of more than {limits.MAX_WAITING_NOTES} " in README
    assert f"OAuth | {limits.MAX_AUTH_BYTES >> 20} MiB" in README
    assert f"{limits.GRACE_S:g} s" in README
    assert f"| `timeout` | {limits.DEFAULT_TIMEOUT_S:g} |" in README
    assert f"| `start_timeout` | {limits.DEFAULT_START_TIMEOUT_S:g} |" in README


async def test_readme_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", example), stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(60):
        printed, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    assert printed.split() == [b"42"]
