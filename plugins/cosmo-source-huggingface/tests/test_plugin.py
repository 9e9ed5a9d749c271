"""The distribution: entry points, requirements, public names and README."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from importlib.metadata import entry_points, metadata, requires
from pathlib import Path

import pytest

import cosmo_source_huggingface
from cosmo_source_huggingface.options import HuggingFaceOptions
from cosmo_testing import ChatServer

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("name", ["huggingface", "hf"])
def test_the_entry_points_load_the_source(name: str) -> None:
    (found,) = entry_points(group="cosmo.sources", name=name)
    assert found.load() is cosmo_source_huggingface.huggingface


def test_the_distribution_requires_only_the_core_cosmo_llm_httpx_and_msgspec() -> None:
    needed = {
        re.split(r"[<>=!~ ]", line, maxsplit=1)[0] for line in requires("cosmo-source-huggingface") or []
    }
    assert needed == {"cosmo-core", "cosmo-llm", "httpx", "msgspec"}
    assert "cosmo-plugin" in metadata("cosmo-source-huggingface")["Keywords"]


def test_the_version_of_the_plugin_interface_is_declared() -> None:
    assert cosmo_source_huggingface.COSMO_API == 1


def test_every_public_name_exists() -> None:
    for name in cosmo_source_huggingface.__all__:
        assert hasattr(cosmo_source_huggingface, name)


def test_the_readme_lists_every_option() -> None:
    table = README[README.index("## Options") : README.index("## Errors")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == HuggingFaceOptions.names()


async def test_the_readmes_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "http://localhost:8080" in example
    async with ChatServer() as server:
        program = example.replace("http://localhost:8080", server.url)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(60):
            printed, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    assert printed.startswith(b"Hello, Cosmonapse!")
