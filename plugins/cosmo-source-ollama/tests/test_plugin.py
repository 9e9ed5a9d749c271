"""The distribution: entry points, requirements, public names and README."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from asyncio.subprocess import PIPE
from importlib.metadata import entry_points, metadata, requires
from pathlib import Path

import cosmo_source_ollama
from cosmo_source_ollama.options import OllamaOptions
from cosmo_testing import ChatServer

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_the_entry_point_loads_the_source() -> None:
    (found,) = entry_points(group="cosmo.sources", name="ollama")
    assert found.load() is cosmo_source_ollama.ollama


def test_the_distribution_requires_only_the_core_cosmo_llm_httpx_and_msgspec() -> None:
    needed = {re.split(r"[<>=!~ ]", line, maxsplit=1)[0] for line in requires("cosmo-source-ollama") or []}
    assert needed == {"cosmo-core", "cosmo-llm", "httpx", "msgspec"}
    assert "cosmo-plugin" in metadata("cosmo-source-ollama")["Keywords"]


def test_the_version_of_the_plugin_interface_is_declared() -> None:
    assert cosmo_source_ollama.COSMO_API == 1


def test_every_public_name_exists() -> None:
    for name in cosmo_source_ollama.__all__:
        assert hasattr(cosmo_source_ollama, name)


def test_construction_is_offline() -> None:
    program = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise AssertionError(event)

sys.addaudithook(refuse)
from cosmo_core import Neuron
print(Neuron(source="ollama", model="llama3", endpoint="http://models.invalid"))
"""
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "models.invalid" in done.stdout


def test_the_readme_lists_every_option() -> None:
    table = README[README.index("## Options") : README.index("## Errors")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == OllamaOptions.names()


async def test_the_readmes_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    async with ChatServer() as server:
        program = example.replace("http://localhost:11434", server.url)
        assert program != example
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", program, stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(60):
            printed, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    assert printed.startswith(b"Hello, Cosmonapse!")
